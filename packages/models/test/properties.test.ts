import {
  add,
  broadcastTo,
  compile,
  concat,
  dimAdd,
  type Engine,
  expandDims,
  f32,
  full,
  gather,
  type Hook,
  type HostTensor,
  i32,
  iota,
  type Model,
  type ModelInput,
  ortEngine,
  type ParamTree,
  Rng,
  type Spec,
  slice,
  type Tensor,
} from "@lfm/core";
import { createPredictor, modelFromConfig } from "@lfm/models";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFixture, maxDifference } from "./golden-fixture.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const load = (name: string): Model => {
  const { config, weights } = goldenFixture(name);
  return modelFromConfig(config, weights);
};

const inputs: Record<string, Record<string, HostTensor>> = {
  gpt2: { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  llama: { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  qwen2: { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  mixtral: { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  qwen3: { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  phi3: { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  "gpt-neox": { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  gemma3: { tokens: i32([4, 9, 2, 90, 17], [1, 5]) },
  "bert-classifier": { tokens: i32([4, 9, 2, 90, 17], [1, 5]), segments: i32([0, 0, 1, 1, 1], [1, 5]) },
  "roberta-classifier": { tokens: i32([4, 9, 2, 50, 17], [1, 5]) },
  "distilbert-classifier": { tokens: i32([4, 9, 2, 50, 17], [1, 5]) },
  vit: { pixels: f32(new Rng(1).normalArray(3 * 24 * 24), [1, 3, 24, 24]) },
  dinov2: { pixels: f32(new Rng(1).normalArray(3 * 24 * 24), [1, 3, 24, 24]) },
  "resnet-basic": { pixels: f32(new Rng(1).normalArray(3 * 33 * 33), [1, 3, 33, 33]) },
  convnet: { pixels: f32(new Rng(2).normalArray(2 * 13 * 13), [1, 2, 13, 13]) },
  mlp: { features: f32(new Rng(3).normalArray(7), [1, 7]) },
};

async function run(
  model: Model,
  given: Record<string, HostTensor>,
  f: (params: ParamTree, input: ModelInput) => Tensor,
): Promise<HostTensor> {
  const specs = Object.fromEntries(Object.entries(given).map(([n, t]): [string, Spec] => [n, { dtype: t.dtype, shape: t.shape }]));
  const compiled = await compile(engine, specs, (input, params: ParamTree) => ({ y: f(params, input as ModelInput) }), {
    frozen: model.params,
  });
  const { y } = await compiled(given);
  await compiled.dispose();
  return y;
}

describe.each(Object.keys(inputs))("hooks of %s", (name) => {
  const model = load(name);
  const given = inputs[name]!;
  const logits = (hooks: readonly Hook[]): Promise<HostTensor> =>
    run(model, given, (params, input) => model.forward(params, input, { mode: "eval", hooks }).logits!);

  it("that do nothing change nothing, and every site is passed once", async () => {
    const seen: string[] = [];
    let sequences = 0;
    const idle: Hook = {
      matches: () => true,
      input: (x) => x,
      weight: (w) => w,
      output: (y, _x, site) => {
        seen.push(site.path);
        return y;
      },
      sequence: (s) => {
        sequences++;
        return s;
      },
      kv: (kv, site) => {
        seen.push(site.path);
        return kv;
      },
    };
    expect(maxDifference(await logits([idle]), await logits([]))).toBe(0);
    // Patches of a picture are a sequence too; a convolutional network has none.
    expect(sequences).toBe(model.info.input === "tokens" || ["vit", "dinov2"].includes(name) ? 1 : 0);
    expect(seen.sort()).toEqual(model.info.sites.map((s) => s.path).sort());
  });

  it("see the weight in the layout that the site declares", async () => {
    const wrong: string[] = [];
    await logits([
      {
        matches: (site) => site.weight !== undefined,
        weight: (w, site) => {
          const { layout, in: inner, out } = site.weight!;
          const want = layout === "out-in" ? [out, inner] : [inner, out];
          if (String(w.shape) !== String(want)) wrong.push(site.path);
          return w;
        },
      },
    ]);
    expect(wrong).toEqual([]);
  });
});

// Not Phi-3: its rotary positions depend on the longest sequence of a batch.
describe.each(["gpt2", "llama", "qwen2", "mixtral", "mistral", "qwen3", "gpt-neox", "gemma2", "gemma3", "bert-encoder"])(
  "padding of %s",
  (name) => {
    it("does not change what stands at real positions", async () => {
      const model = load(name);
      const predictor = await createPredictor(engine, model, "last", { batchSize: 4 });
      const sequence = fc.array(fc.integer({ min: 0, max: 96 }), { minLength: 1, maxLength: 12 });
      await fc.assert(
        fc.asyncProperty(fc.array(sequence, { minLength: 2, maxLength: 6 }), async (sequences) => {
          const together = await predictor.predict(sequences);
          for (const [i, s] of sequences.entries()) {
            const [alone] = await predictor.predict([s]);
            expect(together[i]!.shape).toEqual([s.length, 32]);
            expect(maxDifference(together[i]!, alone!)).toBeLessThan(2e-5);
          }
        }),
        { numRuns: 15, seed: 5 },
      );
      await predictor.dispose();
    });
  },
);

describe.each(["gpt2", "llama", "qwen2", "mixtral", "mistral", "qwen3", "phi3", "gpt-neox", "gemma2", "gemma3"])("%s", (name) => {
  it("with a cache gives what it gives without", async () => {
    const model = load(name);
    const tokens = inputs.llama!.tokens!;
    const whole = await run(model, { tokens }, (params, input) => model.forward(params, input, { mode: "eval" }).logits!);
    const steps = await run(model, { tokens }, (params, { tokens: all }) => {
      const part = (start: number, size: number): Tensor => slice(all!, 1, start, size);
      const want = { cache: true };
      const a = model.forward(params, { tokens: part(0, 2) }, { mode: "eval", want });
      const b = model.forward(params, { tokens: part(2, 1), cache: a.cache! }, { mode: "eval", want });
      const c = model.forward(params, { tokens: part(3, 2), cache: b.cache! }, { mode: "eval", want });
      return concat([a.logits!, b.logits!, c.logits!], 1);
    });
    expect(maxDifference(steps, whole)).toBeLessThan(2e-5);
  });

  it("next-token answers are the last row of the logits", async () => {
    const model = load(name);
    const sequences = [[1, 2, 3], [50], [9, 8, 7, 6, 5]];
    const next = await (await createPredictor(engine, model, "next")).predict(sequences);
    const all = await (await createPredictor(engine, model, "logits")).predict(sequences);
    for (const [i, t] of all.entries()) {
      const last = f32((t.data as Float32Array).slice(-97), [97]);
      expect(maxDifference(next[i]!, last)).toBeLessThan(2e-5);
    }
  });
});

describe.each(["gpt2", "llama", "mistral", "gpt-neox", "bert-encoder"])("a prompt before %s", (name) => {
  const model = load(name);
  const prompt = f32(new Rng(4).normalArray(3 * 32, 0.5), [3, 32]);
  const hook = (p: Tensor): Hook => ({
    matches: (site) => site.kind === "embedding",
    sequence: ({ embeddings, mask, positions, prefix }) => {
      const batch = embeddings.dim(0);
      return {
        embeddings: concat([broadcastTo(expandDims(p, 0), [batch, 3, 32]), embeddings], 1),
        mask: concat([full([batch, 3], 1), mask], 1),
        positions: concat([broadcastTo(expandDims(iota(3), 0), [batch, 3]), add(positions, 3)], 1),
        prefix: dimAdd(prefix, 3),
      };
    },
  });

  it("by a sequence hook is the same as given embeddings joined by hand", async () => {
    const given = { tokens: i32([4, 9, 2, 90, 17, 3], [2, 3]), mask: f32([1, 1, 1, 1, 1, 0], [2, 3]), prompt };
    const last = (f: (params: ParamTree, input: ModelInput & { prompt?: Tensor }) => Tensor): Promise<HostTensor> => run(model, given, f);
    const hooked = await last((params, input) => {
      const out = model.forward(params, { tokens: input.tokens!, mask: input.mask! }, { mode: "eval", hooks: [hook(input.prompt!)] });
      expect(out.prefix).toBe(3);
      return out.last!;
    });
    const table = model.info.sites.find((s) => s.kind === "embedding")!.weight!.name;
    const joined = await last((params, input) => {
      const words = gather(params[table]!, input.tokens!);
      const embeddings = concat([broadcastTo(expandDims(input.prompt!, 0), [2, 3, 32]), words], 1);
      return model.forward(params, { embeddings, mask: concat([full([2, 3], 1), input.mask!], 1) }, { mode: "eval" }).last!;
    });
    expect(hooked.shape).toEqual([2, 6, 32]);
    expect(maxDifference(hooked, joined)).toBeLessThan(2e-5);
  });
});
