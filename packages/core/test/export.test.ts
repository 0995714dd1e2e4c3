import { mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as ort from "onnxruntime-node";
import { afterAll, describe, expect, it } from "vitest";
import {
  adamw,
  add,
  compile,
  compileStep,
  exportOnnx,
  f32,
  gather,
  gelu,
  grad,
  i32,
  layerNorm,
  linear,
  mul,
  ortEngine,
  Rng,
  square,
  sum,
  sym,
  trace,
} from "../src/index.js";

const root = mkdtempSync(join(tmpdir(), "lfm-export-"));
afterAll(() => rmSync(root, { recursive: true }));

const rng = new Rng(9);
const normal = (...shape: number[]) => f32(rng.normalArray(shape.reduce((a, b) => a * b, 1)), shape);
const weights = { embed: normal(11, 8), up: normal(16, 8), bias: normal(16), scale: normal(8), shift: normal(8) };
const specs = { tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] } } as const;
type Forward = Parameters<
  typeof trace<typeof specs, { logits: ReturnType<typeof add>; tokens: ReturnType<typeof add> }, typeof weights>
>[1];
const forward: Forward = ({ tokens }, w) => {
  const x = layerNorm(gather(w.embed, tokens), w.scale, w.shift);
  return { logits: linear(gelu(x), w.up, w.bias), tokens: add(tokens, tokens) };
};

describe("exportOnnx", () => {
  it.each(["inline", "external"] as const)(
    "writes a model that ONNX Runtime reloads with equal outputs at any length (%s weights)",
    async (where) => {
      const path = join(root, `${where}.onnx`);
      const exported = await exportOnnx(trace(specs, forward, weights), path, { weights: where });
      expect(exported.inputs).toEqual(["tokens"]);
      expect(exported.outputs).toEqual(["logits", "tokens_out"]);
      expect(exported.dataFile).toBe(where === "external" ? `${path}.data` : undefined);
      if (exported.dataFile) expect(statSync(exported.dataFile).size).toBeGreaterThan(4096 * 4);

      const session = await ort.InferenceSession.create(path, { intraOpNumThreads: 1 });
      expect(session.inputNames).toEqual(exported.inputs);
      expect(session.inputMetadata[0]).toMatchObject({ name: "tokens", type: "int32", shape: ["batch", "seq"] });
      expect(session.outputMetadata[0]).toMatchObject({ name: "logits", shape: ["batch", "seq", 16] });
      const ours = await compile(await ortEngine({ threads: 1 }), specs, forward, { frozen: weights });
      for (const [batch, seq] of [
        [1, 3],
        [2, 5],
      ] as const) {
        const tokens = i32(
          Array.from({ length: batch * seq }, (_, i) => (i * 7) % 11),
          [batch, seq],
        );
        const got = await session.run({ tokens: new ort.Tensor("int32", tokens.data as Int32Array, [batch, seq]) });
        const expected = await ours({ tokens });
        expect(got.logits!.dims).toEqual([batch, seq, 16]);
        expect(got.logits!.data).toEqual(expected.logits.data);
        expect(got.tokens_out!.data).toEqual(expected.tokens.data);
      }
      await ours.dispose();
      await session.release();
    },
  );

  it("names lone tensors input and output, and gives the bytes without a path", async () => {
    const { bytes, inputs, outputs } = await exportOnnx(trace({ dtype: "f32", shape: [2] } as const, (x) => mul(x, 3)));
    expect([inputs, outputs]).toEqual([["input"], ["output"]]);
    const session = await ort.InferenceSession.create(bytes);
    const { output } = await session.run({ input: new ort.Tensor("float32", Float32Array.of(1, 2), [2]) });
    expect([...(output!.data as Float32Array)]).toEqual([3, 6]);
    await session.release();
  });

  it("exports a compiled training step: new state comes out beside the old", async () => {
    const optimizer = adamw();
    const w = { w: f32([1, 2]) };
    const step = await compileStep(await ortEngine({ threads: 1 }), {
      state: { params: w, ...optimizer.init(w) } as Record<string, typeof w>,
      inputs: { lr: { dtype: "f32", shape: [] }, step: { dtype: "f32", shape: [] } },
      step: ({ params, ...slots }, scalars) => {
        const next = optimizer.update(params!, grad(sum(square(params!.w)), params!), slots, scalars);
        return { state: { params: next.params, ...next.state } as never, outputs: {} };
      },
    });
    const { inputs, outputs } = await exportOnnx(step);
    expect(inputs).toEqual(["state/params/w", "state/m/w", "state/v/w", "inputs/lr", "inputs/step"]);
    expect(outputs).toEqual(["state/params/w_out", "state/m/w_out", "state/v/w_out"]);
    await step.dispose();
  });
});
