import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  compile,
  createRegistry,
  type Delta,
  deltaSize,
  type Engine,
  f32,
  i32,
  isLfmError,
  isPlain,
  type MethodContext,
  type Model,
  makeDelta,
  type ParamTree,
  parseConfig,
  plainWeights,
  Rng,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { loadDelta, saveDelta } from "@lfm/formats";
import { gpt2, initWeights, llama, mlp, vit } from "@lfm/models";
import { arrayClassificationTask, languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  bottleneck,
  lora,
  prompt,
  type TuningInputs,
  type TuningMethod,
  type TuningOutput,
  targetSites,
  tuningMethods,
} from "../src/index.js";
import { testContext } from "./test-context.js";

const config = {
  vocab_size: 23,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 32,
  attention_bias: true,
};
const model = llama(config, initWeights(llama(config).info, { seed: 3, embeddingStd: 0.5 }));
/** One block: the contract of every method is looked at on it. */
const shallow = llama({ ...config, num_hidden_layers: 1 });
const smallModel = { ...shallow, params: initWeights(shallow.info, { seed: 3, embeddingStd: 0.5 }) };
const task = languageModelTask("count up", (step) => ({
  tokens: i32(
    Array.from({ length: 12 }, (_, i) => (i + step) % 23),
    [2, 6],
  ),
  weights: f32(new Float32Array(12).fill(1), [2, 6]),
}));
const inputs = (of = model): TuningInputs => ({ model: { ...of, params: { ...of.params } }, task, parent: "0".repeat(64) });
const sight = {
  image_size: 4,
  patch_size: 2,
  num_channels: 1,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  architectures: ["ViTForImageClassification"],
  num_labels: 2,
};
const seeing = vit(sight, initWeights(vit(sight).info, { seed: 3 }));
const pixels = f32(new Rng(5).normalArray(32), [2, 1, 4, 4]);
const seen = arrayClassificationTask("left or right", "pixels", [1, 4, 4], () => ({ x: pixels, labels: i32([0, 1]) }));
/** Those that train by gradients; searches are held to the contract beside their own files. */
const trained = tuningMethods.filter((m): m is TuningMethod => "start" in m);
/** What a method learns from in its smallest run: those of images see, the others read; what composes has two members. */
const inputsFor = (id: string): TuningInputs => {
  if (id === "vpt") return { ...inputs(), model: { ...seeing, params: { ...seeing.params } }, task: seen };
  const given = inputs(smallModel);
  return id === "adapter-fusion" ? { ...given, members: { a: adapter(1), b: adapter(2) } } : given;
};
/** Adapters of width 4 behind the MLP, as drawn. */
const adapter = (seed: number): Delta => {
  const c = parseConfig(bottleneck, { reductionFactor: 2 }, "pfeiffer");
  return makeDelta(bottleneck, c, bottleneck.start(inputs(smallModel), c, { ...context, rng: new Rng(seed) }).learned);
};
/** Options of the smallest run: what stands in a model of width 8, on the layers of one block. */
const smallest = (id: string): Readonly<Record<string, unknown>> => {
  if (id === "compacter") return { reductionFactor: 2 };
  const options = tuningMethods.find((m) => m.id === id)?.config.shape ?? {};
  return "layersToTransform" in options ? { layersToTransform: [0] } : {};
};
const folder = mkdtempSync(join(tmpdir(), "lfm-tuning-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});
afterAll(() => rmSync(folder, { recursive: true }));

async function logits(m: Model): Promise<Float32Array> {
  const x = m.info.input === "pixels" ? pixels : i32([1, 2, 3, 4, 5], [1, 5]);
  const f = await compile(
    engine,
    { x: { dtype: x.dtype, shape: x.shape } },
    (i, params: ParamTree) => ({ y: m.forward(params, { [m.info.input]: i.x }, { mode: "eval" }).logits! }),
    { frozen: m.params },
  );
  const { y } = await f({ x });
  await f.dispose();
  return (y.data as Float32Array).slice();
}
const reloaded = async (delta: Delta, name: string): Promise<Delta> => {
  await saveDelta(join(folder, name), delta);
  return loadDelta(join(folder, name), createRegistry(tuningMethods), { parentHash: "0".repeat(64) });
};

describe("the contract of methods", () => {
  it.each(trained.map((m) => [m.id, m] as const))("%s", async (id, method) => {
    await conformMethod<TuningInputs, TuningOutput, typeof method.config>(method, {
      engine,
      inputs: () => inputsFor(id),
      config: { steps: 3, lr: 0.05, ...smallest(id) },
      observe: ({ delta }) => ({ ...delta, hooks: undefined, weightHooks: undefined }),
      answers: { of: (output) => logits(output.model), base: (given) => logits(given.model) },
      reload: async (output, { model: base }) => {
        const delta = await reloaded(output.delta, id);
        return { ...output, delta, model: withDeltas(base, [delta]) };
      },
    });
  });
});

describe("deltas", () => {
  it.each(trained.map((m) => [m.id, m] as const))(
    "%s: multiplied out, the plain model answers as the base with the delta on it; what is more than weights is refused",
    async (id, method) => {
      const given = inputsFor(id);
      const { model } = given;
      const { delta, model: tuned } = await runMethod(method, given, { steps: 2, lr: 0.05, ...smallest(id) }, context);
      if (!isPlain(model, delta)) {
        const refused = await plainWeights(engine, model, [delta]).catch((e: unknown) => e);
        expect(isLfmError(refused, "CAPABILITY_MISSING")).toBe(true);
        return;
      }
      const plain = { ...model, params: { ...model.params, ...(await plainWeights(engine, model, [delta])) } };
      const [a, b] = [await logits(plain), await logits(tuned)];
      expect(Math.max(...a.map((v, i) => Math.abs(v - b[i]!)))).toBeLessThan(1e-5);
    },
  );

  it("refuse another parent", async () => {
    const { delta } = await runMethod(lora, inputs(), { steps: 1 }, context);
    await saveDelta(join(folder, "other"), delta);
    const error = await loadDelta(join(folder, "other"), createRegistry(tuningMethods), { parentHash: "1".repeat(64) }).catch(
      (e: unknown) => e,
    );
    expect(isLfmError(error, "PARENT_MISMATCH") && error.hint).toBeTruthy();
  });

  it("stack: a second one trains on top of the first, which stays as it was", async () => {
    const first = await runMethod(lora, inputs(), { steps: 3, lr: 0.05 }, context);
    const second = await runMethod(prompt, { ...inputs(), model: first.model }, { steps: 3, numVirtualTokens: 2 }, context);
    const third = await runMethod(lora, { ...inputs(), model: second.model }, { steps: 3, lr: 0.05 }, context);
    expect(await logits(withDeltas(model, [first.delta, second.delta, third.delta]))).toEqual(await logits(third.model));
    expect(await logits(withDeltas(model, [first.delta]))).toEqual(await logits(first.model));
  });
});

describe("what learns", () => {
  it("a fresh LoRA changes nothing", async () => {
    const { delta } = await runMethod(lora, inputs(), { steps: 1, lr: 1e-30 }, context);
    expect(await logits(withDeltas(model, [delta]))).toEqual(await logits(model));
  });

  it("is counted as the papers count it, on GPT-2 small without any weights", () => {
    const small = gpt2({ vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 });
    // PEFT: LoRA r 8 on c_attn has 294,912 parameters: 12·8·(768 + 2304).
    const count = targetSites(small, ["c_attn"]).reduce((n, s) => n + 8 * (s.weight!.in + s.weight!.out), 0);
    expect(count).toBe(294_912);
  });

  it("bottleneck: Houlsby twice as much as Pfeiffer, biases included", async () => {
    const size = async (preset: string): Promise<number> =>
      deltaSize((await runMethod(bottleneck, inputs(), { steps: 1, reductionFactor: 2 }, context, preset)).delta);
    // Two blocks, width 8, bottleneck 4: 2·(4·8 + 4 + 8·4 + 8) = 152 for one place in each.
    expect([await size("pfeiffer"), await size("houlsby")]).toEqual([152, 304]);
  });

  it("targets by path, suffix, role; an unknown one is refused with the nearest name", () => {
    expect(targetSites(model, ["q_proj"]).map((s) => s.path)).toEqual([
      "model.layers.0.self_attn.q_proj",
      "model.layers.1.self_attn.q_proj",
    ]);
    expect(targetSites(model, ["v", "model.layers.1.mlp.up_proj"]).length).toBe(3);
    expect(targetSites(model, ["all-linear"]).length).toBe(14);
    try {
      targetSites(model, ["q_porj"]);
      expect.unreachable();
    } catch (error) {
      expect(isLfmError(error, "CONFIG_INVALID") && error.hint).toContain("q_proj");
    }
  });

  it("a head beside the adapter, where it is asked for", async () => {
    const small = mlp({ input_size: 3, hidden_sizes: [4], output_size: 2 });
    const base: Model = { ...small, params: initWeights(small.info, { seed: 1 }) };
    const classes = arrayClassificationTask("sign", "features", [3], () => ({
      x: f32([1, 2, 3, -1, -2, -3], [2, 3]),
      labels: i32([0, 1]),
    }));
    const both = { model: base, task: classes, alsoTrain: ["fc2.weight", "fc2.bias"] };
    const { delta } = await runMethod(lora, both, { steps: 3, r: 1, targetModules: ["fc1"] }, context);
    expect(Object.keys(delta.tensors).sort()).toEqual(["fc1.lora_A.weight", "fc1.lora_B.weight", "fc2.bias", "fc2.weight"]);
    const refused = await runMethod(prompt, both, { steps: 1 }, context).catch((e: unknown) => e);
    expect(isLfmError(refused, "CAPABILITY_MISSING")).toBe(true);
  });
});
