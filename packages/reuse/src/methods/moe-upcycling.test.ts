import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  adam,
  type Engine,
  f32,
  type HostTensor,
  isLfmError,
  loadWeight,
  type MethodContext,
  type Model,
  needs,
  ortEngine,
  Rng,
  runMethod,
  trainableParams,
  type Weights,
} from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import { gpt2, initWeights, modelFromConfig } from "@lfm/models";
import { fit, languageModelTask, modelTraining } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { answers, base, tokens, tuned } from "../../test/llama-setting.js";
import { distance } from "../../test/mlp-setting.js";
import { type MoeUpcyclingInputs, type MoeUpcyclingOutput, moeUpcycling } from "./moe-upcycling.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
});
const folder = mkdtempSync(join(tmpdir(), "lfm-upcycling-"));
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await engine.dispose();
});

const built = ({ config, params }: MoeUpcyclingOutput): Model => modelFromConfig(config, params);
const experts = { a: tuned(2), b: tuned(3), c: tuned(4) };
const prompts = { a: { positive: [[1, 2, 3]] }, b: { positive: [[7], [9, 10]], negative: [[1, 2, 3]] }, c: { positive: [[20, 4]] } };
const gate = "model.layers.0.block_sparse_moe.gate.weight";
const rowOf = (out: MoeUpcyclingOutput, name: string, row: number): number[] =>
  Array.from((out.params[name]!.data as Float32Array).subarray(8 * row, 8 * row + 8));
const table = (base.params["model.embed_tokens.weight"] as HostTensor).data as Float32Array;
const unit = (v: number[]): number[] => v.map((x) => x / Math.hypot(...v));
const sumOf = (ids: readonly number[]): number[] => Array.from({ length: 8 }, (_, i) => ids.reduce((s, id) => s + table[8 * id + i]!, 0));
const close = (got: readonly number[], want: readonly number[]): void => {
  for (const [i, v] of want.entries()) expect(got[i]).toBeCloseTo(v, 5);
};

describe("MoE upcycling", () => {
  it("of the base alone is the base, whatever the gate says", async () => {
    const out = await runMethod(
      moeUpcycling,
      { model: base, experts: { a: base.params, b: base.params, c: base.params } },
      { gate: "random" },
      context,
    );
    expect(distance(await answers(engine, built(out), tokens(0)), await answers(engine, base, tokens(0)))).toBeLessThan(1e-5);
  });

  it("one expert is the base with that expert's MLPs", async () => {
    const mlps = tuned(2, (name) => name.includes(".mlp."));
    const out = await runMethod(moeUpcycling, { model: base, experts: { a: experts.a } }, { gate: "random", expertsPerToken: 1 }, context);
    expect(
      distance(await answers(engine, built(out), tokens(1)), await answers(engine, { ...base, params: mlps }, tokens(1))),
    ).toBeLessThan(1e-5);
  });

  it("a gate from embeddings, hand-worked: summed over tokens, averaged over prompts, less the negative ones", async () => {
    const out = await runMethod(moeUpcycling, { model: base, experts, prompts }, { gate: "cheap-embed" }, context);
    close(rowOf(out, gate, 0), unit(sumOf([1, 2, 3])));
    const [one, two, off] = [sumOf([7]), sumOf([9, 10]), sumOf([1, 2, 3])];
    close(rowOf(out, gate, 1), unit(one.map((v, i) => (v + two[i]!) / 2 - off[i]!)));
  });

  it("a gate from hidden states: what flows into a layer at the last token", async () => {
    const out = await runMethod(moeUpcycling, { model: base, experts, prompts }, {}, context);
    // Into the first layer flow the embeddings themselves.
    close(rowOf(out, gate, 0), unit(sumOf([3])));
    const average = await runMethod(moeUpcycling, { model: base, experts, prompts }, { gate: "hidden-avg" }, context);
    close(rowOf(average, gate, 2), unit(sumOf([20, 4])));
    const later = rowOf(out, "model.layers.1.block_sparse_moe.gate.weight", 0);
    expect(Math.hypot(...later)).toBeCloseTo(1, 5);
    expect(distance(f32(later), f32(rowOf(out, gate, 0)))).toBeGreaterThan(1e-2);
  });

  it("trains: the loss falls, and gates and experts learn", async () => {
    const model = built(await runMethod(moeUpcycling, { model: base, experts, prompts }, {}, context));
    const task = languageModelTask("same again", () => ({ tokens: tokens(0), weights: f32(new Float32Array(15).fill(1), [3, 5]) }));
    const start = trainableParams(model);
    const { params, curves } = await fit({
      engine,
      ...modelTraining(model, task, { learned: start }),
      optimizer: adam(),
      lr: 0.02,
      steps: 30,
      rng: new Rng(1),
    });
    const losses = curves.loss!.map(([, v]) => v);
    expect(losses.at(-1)!).toBeLessThan(losses[0]! / 2);
    for (const name of [gate, "model.layers.1.block_sparse_moe.experts.0.w1.weight"])
      expect(distance(params[name]!, start[name]!)).toBeGreaterThan(1e-3);
  });

  it("refuses other architectures, too few experts, experts without prompts and ones that lack a layer", async () => {
    const code = async (inputs: MoeUpcyclingInputs, config = {}): Promise<string> =>
      runMethod(moeUpcycling, inputs, config, context).then(
        () => "finished",
        (e: unknown) => (isLfmError(e) ? e.code : String(e)),
      );
    const planned = gpt2({ vocab_size: 11, n_positions: 8, n_embd: 4, n_layer: 1, n_head: 1 });
    const other = { ...planned, params: initWeights(planned.info, { seed: 1 }) };
    expect(await code({ model: other, experts: { a: other.params, b: other.params } })).toBe("CAPABILITY_MISSING");
    expect(await code({ model: base, experts: { a: experts.a } })).toBe("CONFIG_INVALID");
    expect(await code({ model: base, experts })).toBe("CONFIG_INVALID");
    const { "model.layers.1.mlp.up_proj.weight": _gone, ...short } = experts.b;
    expect(await code({ model: base, experts: { a: experts.a, b: short as Weights } }, { gate: "random" })).toBe("PARAM_NOT_FOUND");
  });

  it("keeps the contract of methods", async () => {
    await conformMethod(moeUpcycling, {
      engine,
      inputs: (): MoeUpcyclingInputs => ({ model: base, experts, prompts }),
      observe: (out: MoeUpcyclingOutput) => out,
      reload: async (out) => {
        const path = join(folder, "model.safetensors");
        await writeSafetensors(path, out.params);
        const params = Object.fromEntries(Object.entries(readSafetensors(path).tensors).map(([name, t]) => [name, loadWeight(t)]));
        return { params, config: JSON.parse(JSON.stringify(out.config)) as MoeUpcyclingOutput["config"] };
      },
    });
  });
});
