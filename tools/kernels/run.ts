/**
 * `npm run kernels`: compiles assembly/kernels.ts of packages/reuse and packages/retrieval with AssemblyScript and writes the source files that carry
 * the code, which are committed: users need no compiler. A test compiles again and compares.
 */
import { writeFileSync } from "node:fs";
import { carrierOf, compileKernels, kernelPackages, kernelsModule } from "./compile.js";

for (const name of Object.keys(kernelPackages) as (keyof typeof kernelPackages)[]) {
  const wasm = await compileKernels(name);
  writeFileSync(carrierOf(name), kernelsModule(wasm));
  console.log(`${name}: ${wasm.length} bytes of WebAssembly`);
}
