import {
  compile,
  type Engine,
  f32,
  type HostTensor,
  isLfmError,
  type MethodContext,
  type Model,
  needs,
  ortEngine,
  Rng,
  runMethod,
} from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { gpt2, mlp } from "@lfm/models";
import { beforeAll, expect, it } from "vitest";
import { answersOf, answersOnFirst, randomParams, smallModels, someInput, withParams } from "../../test/small-models.js";
import { deltaThroughBytes, throughBytes } from "../../test/through-bytes.js";
import { permutationSpec } from "../alignment/infer-spec.js";
import type { AlignmentInputs } from "../alignment/inputs.js";
import { permuteWeights } from "../alignment/permutation-spec.js";
import { randomPermutations } from "../alignment/random-permutations.js";
import { type ZipitOutput, zipit } from "./zipit.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(3), access: needs, log: () => {}, progress: () => {} };
});
const largest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));
const trained = (model: Model, seed: number): Model => withParams(model, randomParams(model, seed));
const shuffled = (model: Model, seed: number): Model => {
  const spec = permutationSpec(model);
  return withParams(model, permuteWeights(spec, randomPermutations(spec, new Rng(seed)), model.params));
};

it("keeps the contract of methods, whole and in part", async () => {
  const model = smallModels.mlp!();
  const inputs = (): AlignmentInputs => ({
    models: { a: trained(model, 1), b: trained(model, 2) },
    data: [1, 2].map((s) => someInput(model, s, 16)),
  });
  await conformMethod(zipit, {
    engine,
    inputs,
    observe: ({ delta, groups }: ZipitOutput) => ({ delta, groups }),
    answers: answersOnFirst(engine),
    reload: async (out: ZipitOutput) => ({ ...out, delta: await deltaThroughBytes(zipit, out.delta!) }),
  });
  await conformMethod(zipit, {
    engine,
    inputs,
    config: { layers: 1 },
    observe: ({ model, groups }: ZipitOutput) => ({ params: model.params, groups }),
    reload: async (out: ZipitOutput) => ({ ...out, model: withParams(out.model, await throughBytes(out.model.params)) }),
  });
});

it("hand-worked: units that answer alike are one, whichever model they are of", async () => {
  // a: relu(x) and relu(−x); b: relu(−2x) and relu(4x). Zipped: a₀ with b₁, a₁ with b₀.
  const net = (first: number[], second: number[]): Model =>
    mlp(
      { input_size: 1, hidden_sizes: [2], output_size: 1 },
      { "fc1.weight": f32(first, [2, 1]), "fc1.bias": f32([0, 0]), "fc2.weight": f32(second, [1, 2]), "fc2.bias": f32([0.5]) },
    );
  const data = [{ features: f32([-2, -1, 1, 2, 3], [5, 1]) }];
  const out = await runMethod(zipit, { models: { a: net([1, -1], [3, 5]), b: net([-2, 4], [7, 9]) }, data }, {}, context);
  expect(out.groups.fc1).toEqual(Int32Array.of(0, 1, 1, 0));
  // Makers are means: (1 + 4)/2, (−1 − 2)/2. Readers are copies, averaged over models: (3 + 9)/2, (5 + 7)/2.
  expect(out.delta!.tensors["fc1.weight"]!.data).toEqual(Float32Array.of(2.5, -1.5));
  expect(out.delta!.tensors["fc2.weight"]!.data).toEqual(Float32Array.of(6, 6));
  expect(out.delta!.tensors["fc2.bias"]!.data).toEqual(Float32Array.of(0.5));
});

it.each(["mlp", "convnet"])("%s and its shuffled copy zip to the model itself", async (name) => {
  const model = trained(smallModels[name]!(), 1);
  const data = [1, 2, 3].map((s) => someInput(model, s, 16));
  const params = (await runMethod(zipit, { models: { a: model, b: shuffled(model, 5) }, data }, { beta: 0, alpha: 1 }, context)).delta!
    .tensors;
  for (const [k, p] of Object.entries(model.info.params)) {
    if (!p.trainable) continue;
    const [x, y] = [params[k]!, model.params[k] as HostTensor].map((t) => Array.from(t.data as Float32Array));
    // Groups stand in the order of the first model's units, so the weights are the same, not only the function.
    expect(largest(x!, y!)).toBeLessThan(1e-6);
  }
});

it("within a model: a net whose units are pairs of copies zips with another of its kind to both functions side by side", async () => {
  // Each model needs half of its units only; β = 1 lets it merge its own pairs, and no unit of one model is like one of the other.
  const pairs = (seed: number): Model => {
    const half = randomParams(mlp({ input_size: 6, hidden_sizes: [4], output_size: 3 }), seed);
    const rows = (name: string, width: number): number[] => {
      const data = Array.from(half[name]!.data as Float32Array);
      return [...data, ...data].slice(0, 2 * 4 * width);
    };
    const second = Array.from({ length: 3 * 8 }, (_, k) => Number(half["fc2.weight"]!.data[Math.floor(k / 8) * 4 + (k % 4)]) / 2);
    return mlp(
      { input_size: 6, hidden_sizes: [8], output_size: 3 },
      {
        "fc1.weight": f32(rows("fc1.weight", 6), [8, 6]),
        "fc1.bias": f32(rows("fc1.bias", 1)),
        "fc2.weight": f32(second, [3, 8]),
        "fc2.bias": half["fc2.bias"]!,
      },
    );
  };
  const models = { a: pairs(1), b: pairs(2) };
  const data = [1, 2, 3].map((s) => someInput(models.a, s, 32));
  const input = someInput(models.a, 9);
  const both = await runMethod(zipit, { models, data }, { heads: "separate", beta: 1 }, context);
  const answers = await answersOf(engine, both.model, input);
  const each = [await answersOf(engine, models.a, input), await answersOf(engine, models.b, input)];
  const wanted = Array.from({ length: 5 }, (_, i) => each.flatMap((e) => e.slice(3 * i, 3 * i + 3))).flat();
  expect(largest(answers, wanted)).toBeLessThan(1e-5);
  // Across models only, half of what each computes is lost.
  const across = await runMethod(zipit, { models, data }, { heads: "separate", beta: 0 }, context);
  expect(largest(await answersOf(engine, across.model, input), wanted)).toBeGreaterThan(0.1);
});

it("zipped in part: one trunk, a head each, and the trunk runs once", async () => {
  const model = smallModels.mlp!();
  const models = { a: trained(model, 1), b: trained(model, 2) };
  const data = [1, 2].map((s) => someInput(model, s, 16));
  const out = await runMethod(zipit, { models, data }, { layers: 1 }, context);
  expect(Object.keys(out.groups)).toEqual(["fc1"]);
  expect(out.delta).toBeUndefined();
  expect(Object.keys(out.model.params).sort()).toEqual(
    [
      "fc1.bias",
      "fc1.weight",
      ...["a", "b"].flatMap((h) => ["fc2", "fc3"].flatMap((l) => [`heads.${h}.${l}.bias`, `heads.${h}.${l}.weight`])),
    ].sort(),
  );
  expect(out.model.info.classes).toBe(8);
  // Layers after the trunk are those of each model; the first of them reads zipped units.
  expect((out.model.params["heads.b.fc3.weight"] as HostTensor).data).toEqual((models.b.params["fc3.weight"] as HostTensor).data);
  const input = someInput(model, 9);
  const each = [await answersOf(engine, out.heads.a!, input), await answersOf(engine, out.heads.b!, input)];
  const wanted = Array.from({ length: 5 }, (_, i) => each.flatMap((e) => e.slice(4 * i, 4 * i + 4))).flat();
  expect(largest(await answersOf(engine, out.model, input), wanted)).toBeLessThan(1e-6);
  const products = async (m: Model): Promise<number> => {
    const run = await compile(
      engine,
      { x: { dtype: "f32", shape: [5, 6] } },
      ({ x }, p) => ({ y: m.forward(p as never, { features: x }, { mode: "eval" }).logits! }),
      { frozen: m.params },
    );
    const count = run.graph.nodes.filter((n) => n.op.name === "gemm").length;
    await run.dispose();
    return count;
  };
  expect(await products(out.model)).toBe(5);
});

it("three models zip: with copies among them, to the model itself", async () => {
  const model = trained(smallModels.mlp!(), 1);
  const models = { a: model, b: shuffled(model, 5), c: shuffled(model, 6) };
  const data = [1, 2, 3].map((s) => someInput(model, s, 16));
  const { model: merged } = await runMethod(zipit, { models, data }, { beta: 0, alpha: 1 }, context);
  const input = someInput(model, 9);
  expect(largest(await answersOf(engine, merged, input), await answersOf(engine, model, input))).toBeLessThan(1e-5);
});

it("models of unequal widths zip to the first one's", async () => {
  const [a, b] = [
    mlp({ input_size: 6, hidden_sizes: [9, 7], output_size: 4 }),
    mlp({ input_size: 6, hidden_sizes: [12, 5], output_size: 4 }),
  ];
  const models = { a: trained(a, 1), b: trained(b, 2) };
  const data = [1, 2].map((s) => someInput(a, s, 16));
  const params = (await runMethod(zipit, { models, data }, { beta: 1 }, context)).delta!.tensors;
  expect(params["fc2.weight"]!.shape).toEqual([7, 9]);
});

it("a transformer's MLPs are zipped over a shared residual stream; heads of its own it cannot have", async () => {
  const model = gpt2({ vocab_size: 17, n_positions: 12, n_embd: 12, n_layer: 1, n_head: 3, n_inner: 16 });
  const models = { a: trained(model, 1), b: trained(model, 1) };
  const data = [1, 2, 3].map((s) => someInput(model, s, 16));
  const input = someInput(model, 9);
  const out = await runMethod(zipit, { models, data }, { beta: 0 }, context);
  expect(largest(await answersOf(engine, out.model, input), await answersOf(engine, models.a, input))).toBeLessThan(1e-5);
  const error = await runMethod(zipit, { models, data }, { heads: "separate" }, context).catch((e: unknown) => e);
  expect(isLfmError(error, "CAPABILITY_MISSING")).toBe(true);
});
