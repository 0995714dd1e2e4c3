import { describe, expect, it } from "vitest";
import { ortEngine } from "../engines/ort.js";
import { referenceEngine } from "../engines/reference.js";
import { tfjsEngine } from "../engines/tfjs.js";
import { isLfmError } from "../errors.js";
import { checkGradients, deviation, isDifferentiable, runSample } from "../testing/gradient-check.js";
import { opSamples } from "../testing/op-samples.js";
import { isFloat } from "./elementwise.js";
import { opTable } from "./table.js";

const ops = Object.values(opTable).flat();
/** Their derivative is defined, not the limit of differences; quantizedMatmul's is checked in quantized.test.ts. */
const stepwise = ["floor", "ceil", "round", "sign", "stopGradient", "quantizedMatmul"];
const differentiable = ops.filter(isDifferentiable);

describe("op table", () => {
  it("has about 70 primitives, each with a sample", () => {
    expect(ops.length).toBeGreaterThanOrEqual(60);
    expect(ops.map((op) => op.name).filter((name) => !opSamples[name])).toEqual([]);
    expect(new Set(ops.map((op) => op.name)).size).toBe(ops.length);
  });

  describe("derivatives against finite differences", () => {
    for (const op of differentiable) {
      it(op.name, async () => {
        for (const sample of opSamples[op.name]!) {
          const check = await checkGradients(sample);
          if (stepwise.includes(op.name)) {
            expect(check.first, "another than that of the steps, by definition").toBeGreaterThanOrEqual(0);
          } else {
            expect(check.first, "first derivative").toBeLessThan(1e-6);
            expect(check.second, "second derivative").toBeLessThan(1e-5);
          }
        }
      });
    }
  });

  it("refuses the gradient of ops that declare to have none", async () => {
    for (const op of ops.filter((o) => o.notDifferentiable)) {
      const error = await runSample(referenceEngine(), opSamples[op.name]![0]!, true).catch((e: unknown) => e);
      if (opSamples[op.name]![0]!.inputs.some((t) => isFloat(t.dtype))) expect(isLfmError(error, "NOT_DIFFERENTIABLE"), op.name).toBe(true);
    }
  });

  describe.each([
    ["ort", 1, () => ortEngine()],
    ["ort", 2, () => ortEngine()],
    ["tfjs", undefined, () => tfjsEngine({ backend: "tfjs" })],
  ] as const)("%s equals reference (threads: %s)", (name, threads, open) => {
    for (const op of ops) {
      it(op.name, async () => {
        const engine = await open();
        for (const sample of opSamples[op.name]!) {
          const derivatives = differentiable.includes(op);
          const [expected, got] = [
            await runSample(referenceEngine(), sample, derivatives),
            await runSample(engine, sample, derivatives, threads),
          ];
          expected.forEach((t, i) => {
            expect(got[i]!.shape).toEqual(t.shape);
            expect(got[i]!.dtype).toBe(t.dtype);
            expect(deviation(got[i]!.data as Float32Array, t.data as Float32Array), `result ${i}`).toBeLessThan(
              op.tolerance?.[name]?.relative ?? 1e-5,
            );
          });
        }
        await engine.dispose();
      });
    }
  });
});
