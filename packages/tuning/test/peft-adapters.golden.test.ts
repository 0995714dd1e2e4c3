import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  compileModel,
  type Delta,
  type Engine,
  type HostTensor,
  isLfmError,
  loadWeight,
  type Model,
  ortEngine,
  plainWeights,
  sym,
  widenToF32,
  withDeltas,
} from "@lfm/core";
import { readPeftAdapter, readSafetensors } from "@lfm/formats";
import { loadModel, modelFromConfig, withClassifier } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { fromPeft } from "../src/index.js";

const fixtures = join(import.meta.dirname, "../../reuse/test/golden/adapters");
const { cases, tolerance } = JSON.parse(readFileSync(join(fixtures, "golden.json"), "utf8")) as {
  readonly tolerance: number;
  readonly cases: Readonly<Record<string, { readonly base: string; readonly adapter: string; readonly rows: number }>>;
};
const golden = readSafetensors(join(fixtures, "golden.safetensors")).tensors;
const resized = Object.keys(cases).filter((name) => cases[name]!.rows !== cases.tokens!.rows);
let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const values = (t: HostTensor): readonly number[] => Array.from(widenToF32(t).data, Number);
const apart = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));

async function logits(model: Model, name: string): Promise<readonly number[]> {
  const f = await compileModel(engine, model, { tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] } }, (input, params, at) => ({
    logits: at.forward(params, input, { mode: "eval" }).logits!,
  }));
  try {
    return values((await f({ tokens: loadWeight(golden[`${name}/in/tokens`]!) })).logits);
  } finally {
    await f.dispose();
  }
}

async function opened(name: string): Promise<{ readonly base: Model; readonly delta: Delta }> {
  const { base, adapter } = cases[name]!;
  const { model } = await loadModel(join(fixtures, base));
  return { base: model, delta: fromPeft(join(fixtures, adapter), model) };
}

describe("adapters of PEFT as deltas", () => {
  it.each(Object.keys(cases).filter((name) => !resized.includes(name)))(
    "%s: logits are those of PEFT, and nothing of the file is lost",
    async (name) => {
      const { base, delta } = await opened(name);
      const theirs = values(loadWeight(golden[`${name}/out/logits`]!));
      expect(apart(await logits(withDeltas(base, [delta]), name), theirs)).toBeLessThan(tolerance);
      expect(apart(await logits(base, name), theirs), "the adapter does something").toBeGreaterThan(1e-3);
    },
  );

  it.each(["embedding-and-head", "dora", "dora-gpt2", "tokens", "bias-of-b", "biases"])(
    "%s: multiplied out, weights are PEFT's",
    async (name) => {
      const { base, delta } = await opened(name);
      const plain = await plainWeights(engine, base, [delta]);
      for (const [key, t] of Object.entries(golden)) {
        const parameter = key.startsWith(`${name}/out/`) ? key.slice(name.length + 5) : "logits";
        if (parameter === "logits") continue;
        expect(apart(values(plain[parameter] ?? loadWeight(base.params[parameter]!)), values(loadWeight(t))), parameter).toBeLessThan(
          tolerance,
        );
      }
    },
  );

  it("an embedding that is the output layer is not multiplied out: two matrices would be one", async () => {
    const { base, delta } = await opened("conv1d");
    const error: unknown = await plainWeights(engine, base, [delta]).catch((e: unknown) => e);
    expect(isLfmError(error, "CAPABILITY_MISSING"), String(error)).toBe(true);
  });

  it.each(resized)("%s: an adapter of more tokens is refused with the way to a model of that size", async (name) => {
    const error: unknown = await opened(name).catch((e: unknown) => e);
    expect(isLfmError(error, "SHAPE_MISMATCH"), String(error)).toBe(true);
    expect((error as { hint?: string }).hint).toContain("lfm merge passthrough");
  });

  it.each(["names-left", "biases", "bias-of-b"])("%s: an adapter for classes lies on the encoder alone, its head with it", async (name) => {
    const folder = readSafetensors(join(fixtures, "bert/model.safetensors")).tensors;
    const { id2label: _, ...config } = JSON.parse(readFileSync(join(fixtures, "bert/config.json"), "utf8")) as Record<string, unknown>;
    const bare = Object.entries(folder).flatMap(([key, t]) => (key.startsWith("bert.") ? [[key.slice(5), t] as const] : []));
    const encoder = modelFromConfig({ ...config, architectures: ["BertModel"] }, Object.fromEntries(bare));
    const adapter = join(fixtures, cases[name]!.adapter);
    const delta = fromPeft(adapter, encoder);
    expect(delta.tensors["classifier.weight"]).toEqual(readPeftAdapter(adapter).tensors["classifier.weight"]);
    const ours = await logits(withDeltas(withClassifier(encoder, 3, 0), [delta]), name);
    expect(apart(ours, values(loadWeight(golden[`${name}/out/logits`]!)))).toBeLessThan(tolerance);
  });
});
