import { expect, it } from "vitest";
import { kernelsWasm } from "../../packages/reuse/src/merging/kernels-wasm.js";
import { compileKernels } from "./compile.js";

it("the committed kernels are those that the source compiles to", async () => {
  expect(Buffer.from(await compileKernels()).toString("base64") === kernelsWasm).toBe(true);
});
