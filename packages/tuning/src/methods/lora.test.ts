import { readFileSync } from "node:fs";
import { join } from "node:path";
import {
  type Engine,
  f32,
  grad,
  type HostTensor,
  i32,
  isLfmError,
  loadWeight,
  type MethodContext,
  type Model,
  makeDelta,
  parseConfig,
  placeholder,
  plainWeights,
  Rng,
  runMethod,
  square,
  sum,
  type Tensor,
  withDeltas,
} from "@lfm/core";
import { readSafetensors, readWeights } from "@lfm/formats";
import { createPredictor, initWeights, llama, mlp, modelFromConfig } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import { goldenModel, worst } from "../../test/golden-case.js";
import { expectPeftRun, expectPeftSteps, learnedOf } from "../../test/peft-steps.js";
import { testContext } from "../../test/test-context.js";
import { initialName, initLora, loraHooks, loraNames } from "../lora-hooks.js";
import { halves } from "../pissa.js";
import { targetSites } from "../target-sites.js";
import { lora } from "./lora.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});

const golden = join(import.meta.dirname, "../../test/golden");

describe.each([
  ["llama", ["embed_tokens", "q_proj", "down_proj"]],
  ["gpt2", ["wte", "c_attn", "mlp.c_proj"]],
] as const)("five AdamW steps of DoRA on the small %s, the embedding too", (kind, targetModules) => {
  const { tensors } = readSafetensors(join(golden, `${kind}-dora/golden.safetensors`));
  const batches = readSafetensors(join(golden, `${kind}/golden.safetensors`)).tensors;
  const { losses } = JSON.parse(readFileSync(join(golden, `${kind}-dora/golden.json`), "utf8")) as { losses: { dora: number[] } };
  const {
    lr,
    weightDecay,
    lora: sizes,
  } = JSON.parse(readFileSync(join(golden, `${kind}/golden.json`), "utf8")) as {
    readonly lr: number;
    readonly weightDecay: number;
    readonly lora: { readonly r: number; readonly loraAlpha: number };
  };
  const modelFolder = join(import.meta.dirname, "../../../models/test/golden", kind);
  const model: Model = modelFromConfig(
    JSON.parse(readFileSync(join(modelFolder, "config.json"), "utf8")) as Record<string, unknown>,
    readWeights(join(modelFolder, "model.safetensors")).weights,
  );
  const all = (prefix: string): Record<string, HostTensor> =>
    Object.fromEntries(
      Object.entries(tensors).flatMap(([name, t]) => (name.startsWith(prefix) ? [[name.slice(prefix.length), loadWeight(t)]] : [])),
    );

  it("follows PEFT: losses, A, B and magnitudes; starts from its shapes and norms", async () => {
    const options = { ...sizes, targetModules: [...targetModules], useDora: true, steps: 5, lr, weightDecay, modelDropout: false };
    const task = languageModelTask("golden", (step) => ({
      tokens: loadWeight(batches[`batch.${step}/in/tokens`]!),
      weights: loadWeight(batches[`batch.${step}/in/weights`]!),
    }));
    const from = makeDelta(lora, parseConfig(lora, options), all("dora/in/"));
    const { delta, curves } = await runMethod(lora, { model, task, from }, options, context);
    curves.loss!.forEach(([, loss], i) => {
      expect(Math.abs(loss - losses.dora[i]!)).toBeLessThan(1e-4);
    });
    const end = all("dora/out/");
    expect(Object.keys(delta.tensors).sort()).toEqual(Object.keys(end).sort());
    for (const [name, t] of Object.entries(end)) expect(worst(delta.tensors[name]!, t), name).toBeLessThan(1e-4);
  });

  it("changes nothing before the first step, and is plain weights afterwards", async () => {
    const options = { ...sizes, targetModules: [...targetModules], useDora: true, steps: 1, lr: 1e-9, modelDropout: false };
    const task = languageModelTask("golden", () => ({
      tokens: loadWeight(batches["batch.0/in/tokens"]!),
      weights: loadWeight(batches["batch.0/in/weights"]!),
    }));
    const { delta } = await runMethod(lora, { model, task }, options, context);
    expect(Object.fromEntries(Object.entries(delta.tensors).map(([name, t]) => [name, t.shape]))).toEqual(
      Object.fromEntries(Object.entries(all("dora/in/")).map(([name, t]) => [name, t.shape])),
    );
    const layers = { ...options, targetModules: targetModules.slice(1) };
    const own = makeDelta(lora, parseConfig(lora, layers), withoutEmbedding(all("dora/out/")));
    const plain = { ...model, params: { ...model.params, ...(await plainWeights(engine, model, [own])) } };
    const answers = async (m: Model): Promise<readonly HostTensor[]> => {
      const predictor = await createPredictor(engine, m, "logits");
      const rows = await predictor.predict([[5, 9, 2, 7]]);
      await predictor.dispose();
      return rows;
    };
    const [base, fresh, trained, out] = [
      await answers(model),
      await answers(withDeltas(model, [delta])),
      await answers(withDeltas(model, [own])),
      await answers(plain),
    ];
    base.forEach((row, i) => {
      expect(worst(row, fresh[i]!)).toBeLessThan(1e-4);
      expect(worst(out[i]!, trained[i]!)).toBeLessThan(1e-4);
      expect(worst(row, trained[i]!)).toBeGreaterThan(1e-2);
    });
  });
});

/** A table that is the output layer too is no plain weight by itself. */
function withoutEmbedding(tensors: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  return Object.fromEntries(Object.entries(tensors).filter(([name]) => !/\.(wte|embed_tokens)\./.test(name)));
}

describe("bounds", () => {
  const sizes = { vocab_size: 23, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2 };
  const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3 }));

  it("a rank that no layer can have is refused before anything is made", () => {
    const start = performance.now();
    let error: unknown;
    try {
      initLora(targetSites(model, ["all-linear"]), 1_000_000, new Rng(0));
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "CONFIG_INVALID"), String(error)).toBe(true);
    expect(performance.now() - start).toBeLessThan(1000);
  });

  it("an embedding is a target by its name, and no linear layer among all of them", () => {
    const sites = targetSites(model, ["embed_tokens"], ["embeddings"]);
    expect(sites.map((s) => s.path)).toEqual(["model.embed_tokens"]);
    expect(targetSites(model, ["all-linear"], ["embeddings"])).toEqual(targetSites(model, ["all-linear"]));
    const fresh = initLora(sites, 2, new Rng(0));
    const { a, b } = loraNames(sites[0]!);
    expect(fresh[a]).toEqual(f32(new Float32Array(2 * 23), [2, 23]));
    expect(fresh[b]!.shape).toEqual([8, 2]);
  });
});

describe("LoRA's options and variants as PEFT", () => {
  it.each(["lora-patterns", "lora-layers", "lora-vit", "lora-resnet", "lora-tokens", "lora-tokens-gpt2"])(
    "five steps, logits and files: %s",
    async (name) => {
      await expectPeftSteps(lora, name);
    },
  );

  it.each([
    ["a row beyond the table", { trainableTokenIndices: [3, 23] }, "row 23 is none of the 23"],
    ["a row named twice", { trainableTokenIndices: [3, 3] }, "named twice"],
    ["a table that has a LoRA", { trainableTokenIndices: [3], targetModules: ["embed_tokens", "q"] }, "has a LoRA as well"],
    ["PiSSA", { trainableTokenIndices: [3], initLoraWeights: "pissa" as const }, "trains no rows"],
  ])("rows of tokens beside a LoRA: refuses %s", (_name, options, says) => {
    const sizes = { vocab_size: 23, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 1, num_attention_heads: 2 };
    const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3 }));
    const task = languageModelTask("none", () => ({ tokens: i32([1], [1, 1]), weights: f32([1], [1, 1]) }));
    expect(() => lora.start({ model, task }, parseConfig(lora, { r: 2, ...options }), context)).toThrow(says);
  });

  it("LoRA+: B four times as fast as A, embeddings at a rate of their own", async () => {
    await expectPeftSteps(lora, "lora-plus", { loraplusLrRatio: 4, loraplusLrEmbedding: 0.002 });
  });

  it.each([
    ["pissa-llama", { loraAlpha: 6, targetModules: ["q_proj", "v_proj", "down_proj"] }, 12],
    ["pissa-gpt2", { useRslora: true, targetModules: ["c_attn", "mlp.c_proj"] }, 8 * Math.SQRT2],
  ] satisfies readonly (readonly [string, z.input<typeof lora.config>, number])[])(
    "PiSSA: losses and logits of %s; the result is a plain LoRA of twice the rank, which can be gone on from",
    async (name, given, alpha) => {
      const options: z.input<typeof lora.config> = { ...given, r: 3, initLoraWeights: "pissa" };
      const delta = await expectPeftRun(lora, name, options);
      expect(delta.config).toMatchObject({ r: 6, loraAlpha: alpha, initLoraWeights: "default" });
      expect(Object.keys(delta.tensors).every((tensor) => /\.lora_[AB]\.weight$/.test(tensor))).toBe(true);
      const apart = halves(delta.tensors);
      const model = goldenModel(name.slice(6));
      const fresh = learnedOf(lora, model, options);
      // What is taken off is what the weight's singular values gave.
      for (const [tensor, t] of Object.entries(fresh)) expect(worst(apart[initialName(tensor)]!, t), tensor).toBeLessThan(1e-6);
    },
  );
});

describe("choosing layers", () => {
  const sizes = { vocab_size: 23, hidden_size: 8, intermediate_size: 12, num_hidden_layers: 3, num_attention_heads: 2 };
  const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3 }));
  const layers = (options: object): readonly string[] =>
    Object.keys(learnedOf(lora, model, options)).flatMap((name) =>
      name.endsWith("lora_A.weight") ? [name.replace(/^model\.layers\.|\.lora_A.*$/g, "")] : [],
    );

  it("leaves out layers and blocks that it is told to, and refuses what is not there", () => {
    expect(layers({ targetModules: ["q", "v"], excludeModules: ["v_proj"], layersToTransform: [0, 2] })).toEqual([
      "0.self_attn.q_proj",
      "2.self_attn.q_proj",
    ]);
    expect(() => layers({ excludeModules: ["v_porj"] })).toThrow(/no linear layer is called "v_porj"/);
    expect(() => layers({ layersToTransform: [3] })).toThrow(/has no block 3/);
    expect(() => layers({ targetModules: ["q"], excludeModules: ["q"] })).toThrow(/no layer is left/);
  });

  it("gives layers ranks of their own, by the end of their path or an expression", () => {
    const ranks = learnedOf(lora, model, {
      r: 4,
      targetModules: ["q"],
      rankPattern: { "layers.1.self_attn.q_proj": 2, "layers\\.[02].*": 3 },
    });
    expect([0, 1, 2].map((i) => ranks[`model.layers.${i}.self_attn.q_proj.lora_A.weight`]!.shape[0])).toEqual([3, 2, 3]);
  });

  it("has no magnitudes for convolutions, and no singular values for embeddings", () => {
    expect(() => learnedOf(lora, goldenModel("vit"), { useDora: true, targetModules: ["projection"] })).toThrow(/is a convolution/);
    expect(() => learnedOf(lora, model, { initLoraWeights: "pissa", targetModules: ["embed_tokens"] })).toThrow(/no linear layer/);
    expect(() => learnedOf(lora, model, { initLoraWeights: "pissa", targetModules: ["q"], r: 9 })).toThrow(/no 9 singular values/);
  });
});

it("DoRA's norms never form B·A: no product in its step is as large as a weight", () => {
  const net = mlp({ input_size: 31, hidden_sizes: [], output_size: 37 });
  const spec = { x: placeholder("x", "f32", [5, 31]), w: placeholder("w", "f32", [37, 31]) };
  const tensors = { "fc1.lora_A.weight": [3, 31], "fc1.lora_B.weight": [37, 3], "fc1.lora_magnitude_vector": [37] } as const;
  const learned = Object.fromEntries(Object.entries(tensors).map(([name, shape]) => [name, placeholder(name, "f32", shape)]));
  const hooks = loraHooks(learned, { r: 3, loraAlpha: 3, useRslora: false, loraDropout: 0 });
  const y = net.forward({ "fc1.weight": spec.w, "fc1.bias": placeholder("b", "f32", [37]) }, { features: spec.x }, { mode: "train", hooks })
    .logits!;
  const products = new Set<string>();
  const seen = new Set<unknown>();
  const visit = (t: Tensor): void => {
    const { node } = t;
    if (seen.has(node)) return;
    seen.add(node);
    if (node.op.name === "matmul") for (const out of node.outputs) products.add(out.shape.join("×"));
    for (const input of node.inputs) visit(input);
  };
  for (const t of [y, ...Object.values(grad(sum(square(y)), learned))]) visit(t);
  expect(products.size).toBeGreaterThan(3);
  expect([...products].filter((shape) => shape === "37×31" || shape === "31×37")).toEqual([]);
});
