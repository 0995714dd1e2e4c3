import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import asc from "assemblyscript/asc";

const packages = join(import.meta.dirname, "../../packages");

/** Packages whose assembly/kernels.ts is compiled, and the source file that carries the code. */
export const kernelPackages = {
  reuse: "src/merging/kernels-wasm.ts",
  retrieval: "src/vectors/kernels-wasm.ts",
} as const;

/** Where the code of a package is kept. */
export function carrierOf(name: keyof typeof kernelPackages): string {
  return join(packages, name, kernelPackages[name]);
}

/** Compiles kernels.ts of a package. @throws {Error} with the compiler's messages */
export async function compileKernels(name: keyof typeof kernelPackages): Promise<Uint8Array> {
  const sources = join(packages, name, "assembly");
  let wasm: Uint8Array | undefined;
  const { error, stderr } = await asc.main(
    ["kernels.ts", "-O3", "--noAssert", "--runtime", "stub", "--enable", "simd", "--outFile", "kernels.wasm"],
    {
      readFile: (name) => (existsSync(join(sources, name)) ? readFileSync(join(sources, name), "utf8") : null),
      writeFile: (name, contents) => {
        if (name === "kernels.wasm") wasm = contents as Uint8Array;
      },
      listFiles: () => [],
    },
  );
  if (error || !wasm) throw new Error(`${error?.message ?? "no output"}\n${stderr.toString()}`);
  return wasm;
}

/** The source file that carries the compiled code. */
export function kernelsModule(wasm: Uint8Array): string {
  const lines = Buffer.from(wasm)
    .toString("base64")
    .match(/.{1,120}/g)!;
  return `/** Compiled from assembly/kernels.ts by \`npm run kernels\`: do not edit. */\nexport const kernelsWasm =\n${lines.map((l) => `  "${l}"`).join(" +\n")};\n`;
}
