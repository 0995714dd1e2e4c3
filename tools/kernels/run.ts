/**
 * `npm run kernels`: compiles packages/reuse/assembly/kernels.ts with AssemblyScript and writes packages/reuse/src/merging/kernels-wasm.ts, which
 * is committed: users need no compiler. A test compiles again and compares.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { compileKernels, kernelsModule } from "./compile.js";

const wasm = await compileKernels();
writeFileSync(join(import.meta.dirname, "../../packages/reuse/src/merging/kernels-wasm.ts"), kernelsModule(wasm));
console.log(`${wasm.length} bytes of WebAssembly`);
