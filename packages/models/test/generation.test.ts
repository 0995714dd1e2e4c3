import {
  add,
  broadcastTo,
  concat,
  type Delta,
  dimAdd,
  type Engine,
  expandDims,
  f32,
  full,
  type Hook,
  iota,
  type Model,
  makeDelta,
  ortEngine,
  type ParamTree,
  Rng,
  referenceEngine,
  withDeltas,
} from "@lfm/core";
import { createGenerator, createPredictor, initWeights, llama, mlp, modelFromConfig } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFixture } from "./golden-fixture.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const names = ["gpt2", "llama", "llama-tied", "qwen2", "mixtral", "mistral", "qwen3", "phi3", "gpt-neox", "gemma2", "gemma3"];
const golden = (name: string): Model => {
  const { config, weights } = goldenFixture(name);
  return modelFromConfig(config, weights);
};

/** A model whose greedy answers do not fall into a loop at once. */
const restless = (): Model => golden("llama");

describe.each(names)("%s against transformers' greedy generation", (name) => {
  const fixture = goldenFixture(name);
  const wanted = (c: string): number[][] => rows(fixture.get(`${c}/out/tokens`));

  it("continues one prompt", async () => {
    const generator = await createGenerator(engine, golden(name));
    const prompt = rows(fixture.get("greedy/in/tokens"))[0]!;
    const { tokens, finish } = await generator.generate(prompt, { maxNewTokens: 20 });
    expect(tokens).toEqual(wanted("greedy")[0]);
    expect(finish).toBe("length");
    await generator.dispose();
  });

  it("continues prompts of unequal length together", async () => {
    const generator = await createGenerator(engine, golden(name));
    const mask = rows(fixture.get("ragged/in/mask"));
    const prompts = rows(fixture.get("ragged/in/tokens")).map((r, b) => r.filter((_, j) => mask[b]![j] === 1));
    const results = await generator.generateBatch(prompts, { maxNewTokens: 20 });
    expect(results.map((r) => r.tokens)).toEqual(wanted("ragged"));
    await generator.dispose();
  });
});

describe("generation", () => {
  it.each(["llama", "mistral", "gemma2"])("of %s with a cache equals without, also when the buffers of the cache move", async (name) => {
    const model = golden(name);
    const generator = await createGenerator(engine, { ...model, info: { ...model.info, maxLength: 1000 } });
    const predictor = await createPredictor(engine, model, "logits");
    const { tokens } = await generator.generate([5, 6], { maxNewTokens: 80 });
    const all = [5, 6, ...tokens];
    const [logits] = await predictor.predict([all]);
    for (let t = 1; t < all.length - 1; t++) expect(argmax(logits!.data as Float32Array, t, 97)).toBe(all[t + 1]);
    expect(new Set(tokens).size).toBeGreaterThan(10);
  });

  it("runs on the reference engine", async () => {
    const fixture = goldenFixture("llama");
    const generator = await createGenerator(referenceEngine(), golden("llama"));
    const { tokens } = await generator.generate(rows(fixture.get("greedy/in/tokens"))[0]!, { maxNewTokens: 4 });
    expect(tokens).toEqual(rows(fixture.get("greedy/out/tokens"))[0]!.slice(0, 4));
  });

  it("ends at end-of-text tokens and stop sequences, without them", async () => {
    const generator = await createGenerator(engine, restless());
    const prompt = rows(goldenFixture("llama").get("greedy/in/tokens"))[0]!;
    const { tokens } = await generator.generate(prompt, { maxNewTokens: 20 });
    expect(await generator.generate(prompt, { maxNewTokens: 20, eos: tokens[5]! })).toEqual({ tokens: tokens.slice(0, 5), finish: "eos" });
    const stopped = await generator.generate(prompt, { maxNewTokens: 20, stop: [[96, 96], tokens.slice(6, 9)] });
    expect(stopped).toEqual({ tokens: tokens.slice(0, 6), finish: "stop" });
    expect((await generator.generate(prompt, { maxNewTokens: 20, stop: [tokens[3]!] })).tokens).toEqual(tokens.slice(0, 3));
    expect((await generator.generate(prompt, { maxNewTokens: 0 })).tokens).toEqual([]);
    await generator.dispose();
  });

  it("streams tokens and stops on a signal", async () => {
    const generator = await createGenerator(engine, restless());
    const seen: number[] = [];
    const { tokens } = await generator.generate([3, 1], { maxNewTokens: 9, onToken: (t) => seen.push(t) });
    expect(seen).toEqual(tokens);
    const stop = new AbortController();
    const count = { tokens: 0 };
    const aborted = generator.generate([3, 1], {
      maxNewTokens: 60,
      signal: stop.signal,
      onToken: () => {
        if (++count.tokens === 3) stop.abort();
      },
    });
    await expect(aborted).rejects.toMatchObject({ code: "ABORTED" });
    expect(count.tokens).toBe(3);
    await generator.dispose();
  });

  it("samples by seed, the same in a batch of any size, and within top-k and top-p", async () => {
    const generator = await createGenerator(engine, restless());
    const options = { maxNewTokens: 12, temperature: 1.5 };
    const draw = (seed: number) => generator.generateBatch([[1, 2], [7]], { ...options, rng: new Rng(seed) });
    expect(await draw(1)).toEqual(await draw(1));
    expect(await draw(1)).not.toEqual(await draw(2));
    const [alone] = await generator.generateBatch([[1, 2]], { ...options, rng: new Rng(1) });
    expect(alone).toEqual((await draw(1))[0]);
    const greedy = (await generator.generate([1, 2], { maxNewTokens: 12 })).tokens;
    expect((await generator.generate([1, 2], { maxNewTokens: 12, topK: 1 })).tokens).toEqual(greedy);
    expect((await generator.generate([1, 2], { maxNewTokens: 12, topP: 1e-6 })).tokens).toEqual(greedy);
    await generator.dispose();
  });

  it("stops at the model's longest sequence and refuses longer prompts", async () => {
    const model = llama({
      vocab_size: 11,
      hidden_size: 8,
      intermediate_size: 8,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      max_position_embeddings: 6,
    });
    const generator = await createGenerator(engine, { ...model, params: initWeights(model.info, { seed: 1 }) });
    expect(await generator.generate([1, 2, 3], { maxNewTokens: 20 })).toMatchObject({ finish: "length", tokens: { length: 4 } });
    await expect(generator.generate([1, 2, 3, 4, 5, 6, 7], { maxNewTokens: 1 })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(generator.generate([], { maxNewTokens: 1 })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(generator.generate([11], { maxNewTokens: 1 })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
    await expect(generator.generate([1], { maxNewTokens: 1, topP: 0 })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await generator.dispose();
  });

  it("lets others go on where one sequence has reached the model's length", async () => {
    const generator = await createGenerator(engine, golden("gpt2"));
    const long = Array.from({ length: 60 }, (_, i) => i);
    const [first, second] = await generator.generateBatch([long, [7, 9]], { maxNewTokens: 30 });
    expect(first).toMatchObject({ finish: "length", tokens: { length: 5 } });
    expect(second!.tokens).toEqual((await generator.generate([7, 9], { maxNewTokens: 30 })).tokens);
    expect(second!.tokens).toHaveLength(30);
    await generator.dispose();
  });

  it("refuses a model that predicts no tokens", async () => {
    await expect(createGenerator(engine, mlp({ input_size: 2, hidden_sizes: [], output_size: 2 }))).rejects.toMatchObject({
      code: "CAPABILITY_MISSING",
    });
  });
});

describe.each(["gpt2", "llama"])("%s with learned inputs", (name) => {
  const rng = new Rng(9);
  const width = 32;
  const prompt: Delta = delta({ p: f32(rng.normalArray(3 * width, 0.5), [3, width]) }, ({ p }) => promptHook(p!));
  const heads = name === "llama" ? 2 : 4;
  const shape = [heads, 2, 8];
  const prefix: Delta = delta({ k: f32(rng.normalArray(heads * 16), shape), v: f32(rng.normalArray(heads * 16), shape) }, ({ k, v }) =>
    prefixHook(k!, v!),
  );

  it.each([
    ["prompt", prompt],
    ["prefix", prefix],
  ] as const)("a %s counts once, in the first step and in every later one", async (_kind, d) => {
    const model = withDeltas(golden(name), [d]);
    const generator = await createGenerator(engine, model);
    const predictor = await createPredictor(engine, model, "logits");
    const prompts = [[4, 8, 15, 16], [23]];
    const results = await generator.generateBatch(prompts, { maxNewTokens: 12 });
    const plain = await createGenerator(engine, golden(name));
    expect(results).not.toEqual(await plain.generateBatch(prompts, { maxNewTokens: 12 }));
    for (const [i, { tokens }] of results.entries()) {
      const all = [...prompts[i]!, ...tokens];
      const [logits] = await predictor.predict([all]);
      const from = prompts[i]!.length - 1;
      expect(Array.from({ length: tokens.length }, (_, t) => argmax(logits!.data as Float32Array, from + t, 97))).toEqual(tokens);
    }
    await generator.dispose();
  });
});

function delta(tensors: Delta["tensors"], hook: (t: ParamTree) => Hook): Delta {
  return makeDelta({ id: "test", paradigm: "tuning", delta: { hooks: (_config, t) => [hook(t)] } }, {}, tensors);
}

/** Vectors p f32[n, hidden] in front of the tokens. */
function promptHook(p: ParamTree[string]): Hook {
  const n = p.dim(0) as number;
  return {
    matches: (site) => site.kind === "embedding",
    sequence: ({ embeddings, mask, positions, prefix }) => {
      const batch = embeddings.dim(0);
      return {
        embeddings: concat([broadcastTo(expandDims(p, 0), [batch, n, p.dim(1)]), embeddings], 1),
        mask: concat([full([batch, n], 1), mask], 1),
        positions: concat([broadcastTo(expandDims(iota(n), 0), [batch, n]), add(positions, n)], 1),
        prefix: dimAdd(prefix, n),
      };
    },
  };
}

/** Keys and values f32[kvHeads, n, headDim] in front of those of every layer. */
function prefixHook(k: ParamTree[string], v: ParamTree[string]): Hook {
  const n = k.dim(1);
  return {
    matches: (site) => site.kind === "kv",
    kv: ({ key, value, mask }) => {
      const batch = key.dim(0);
      const front = (t: ParamTree[string]) => broadcastTo(expandDims(t, 0), [batch, ...t.shape]);
      return { key: concat([front(k), key], 2), value: concat([front(v), value], 2), mask: concat([full([batch, n], 1), mask!], 1) };
    },
  };
}

describe("a model whose numbers are none", () => {
  it.each([
    ["greedy", {}],
    ["sampling", { temperature: 1 }],
    ["beams", { beams: 2 }],
  ])("ends with an error instead of the first token for ever: %s", async (_, options) => {
    const model = golden("llama");
    const norm = "model.norm.weight";
    const shape = model.info.params[norm]!.shape;
    const broken = { ...model, params: { ...model.params, [norm]: f32(new Float32Array(shape[0]!).fill(Number.NaN), shape) } };
    const generator = await createGenerator(engine, broken);
    await expect(generator.generate([1, 2], { maxNewTokens: 5, ...options })).rejects.toMatchObject({ code: "NUMERIC_DIVERGED" });
    await generator.dispose();
  });
});

function rows(t: { readonly shape: readonly number[]; readonly data: ArrayLike<number | bigint> }): number[][] {
  const [n, m] = t.shape as [number, number];
  return Array.from({ length: n }, (_, i) => Array.from({ length: m }, (_, j) => Number(t.data[i * m + j])));
}

function argmax(data: Float32Array, row: number, width: number): number {
  const values = data.subarray(row * width, (row + 1) * width);
  return values.indexOf(Math.max(...values));
}
