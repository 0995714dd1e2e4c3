import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { carrierOf, compileKernels, kernelPackages, kernelsModule } from "./compile.js";

it.each(Object.keys(kernelPackages) as (keyof typeof kernelPackages)[])(
  "the committed kernels of %s are those that the source compiles to",
  async (name) => {
    expect(kernelsModule(await compileKernels(name)) === readFileSync(carrierOf(name), "utf8")).toBe(true);
  },
);
