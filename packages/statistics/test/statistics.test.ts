import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Checkpoint,
  type CheckpointState,
  cast,
  concat,
  constant,
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
  isLfmError,
  less,
  loadWeight,
  type Model,
  referenceEngine,
  sym,
  type Tensor,
  type Weight,
} from "@lfm/core";
import { writeSafetensors } from "@lfm/formats";
import { gpt2, initWeights, llama, mlp } from "@lfm/models";
import { afterAll, describe, expect, it } from "vitest";
import {
  type CollectOptions,
  collectFisher,
  collectGrams,
  gramSites,
  loadStats,
  saveStats,
  type TaskProbe,
  tokenCorpus,
  verifyStats,
} from "../src/index.js";

const engine = referenceEngine();
const folder = mkdtempSync(join(tmpdir(), "lfm-statistics-"));
afterAll(() => rmSync(folder, { recursive: true }));
const few = tokenCorpus("few", { tokens: i32([1, 2, 3, 4, 5, 6], [2, 3]), mask: f32(new Float32Array(6).fill(1), [2, 3]) });
const small = { hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2, max_position_embeddings: 32 };
const planned = llama({ ...small, vocab_size: 23 });
const base: Model = { ...planned, params: initWeights(planned.info, { seed: 1, embeddingStd: 0.5 }) };
const collect = {
  fisher: (...[e, m, probe, o]: [Engine, Model, TaskProbe, CollectOptions]) => collectFisher(e, m, probe, o),
  gram: (...[e, m, probe, o]: [Engine, Model, TaskProbe, CollectOptions]) => collectGrams(e, m, probe, o),
};
/** Every entry to within a share of the tensor's largest. */
const close = (got: Readonly<Record<string, Weight>>, wanted: Readonly<Record<string, Weight>>, tolerance: number): void => {
  expect(Object.keys(got)).toEqual(Object.keys(wanted));
  for (const [name, t] of Object.entries(wanted)) {
    const [x, y] = [loadWeight(got[name]!).data as Float32Array, loadWeight(t).data as Float32Array];
    const size = y.reduce((m, v) => Math.max(m, Math.abs(v)), 0);
    expect(
      x.reduce((m, v, i) => Math.max(m, Math.abs(v - y[i]!)), 0),
      name,
    ).toBeLessThan(tolerance * size);
  }
};
const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "finished",
    (e: unknown) => (isLfmError(e) ? e.code : String(e)),
  );
const flat = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
const model = { ...flat, params: { "fc1.weight": f32([0, 0, 0, 0], [2, 2]), "fc1.bias": f32([0, 0]) } };
const rows = (x: readonly number[]): TaskProbe => ({
  name: "rows",
  batch: { x: { dtype: "f32", shape: [sym("batch"), 2] } },
  batches: () => ({ x: f32(x, [x.length / 2, 2]) }),
  input: (batch) => ({ features: batch.x! }),
  scored: ({ logits }) => ({ logits: logits! }),
});

describe("statistics of a model", () => {
  it("squared gradients, hand-worked: p = ½, ∂ log p₀ = ±½x, so E = ¼x²", async () => {
    const { tensors } = await collectFisher(engine, model, rows([1, 2, 3, 0]), { samples: 2 });
    const mean = [(1 + 9) / 8, 4 / 8];
    const got = Array.from((tensors["fc1.weight"] as HostTensor).data as Float32Array);
    for (const [i, v] of [...mean, ...mean].entries()) expect(got[i]).toBeCloseTo(v, 6);
    expect(Array.from((tensors["fc1.bias"] as HostTensor).data as Float32Array)).toEqual([0.25, 0.25]);
  });

  it("several rows of logits in an example are one weighted log p: ∂(log p₀ + ½ log p₁) = ±¼x", async () => {
    const twice: TaskProbe = {
      ...rows([1, 2, 3, 0]),
      scored: ({ logits }) => ({
        logits: gather(logits!, constant(i32([0, 0])), 0),
        targets: constant(i32([0, 1])),
        weights: constant(f32([1, 0.5])),
      }),
    };
    const { tensors } = await collectFisher(engine, model, twice, { samples: 2, estimator: "empirical" });
    const mean = [(1 + 9) / 32, 4 / 32];
    const got = Array.from((tensors["fc1.weight"] as HostTensor).data as Float32Array);
    for (const [i, v] of [...mean, ...mean].entries()) expect(got[i]).toBeCloseTo(v, 6);
    expect(await code(collectFisher(engine, model, twice, { samples: 2 }))).toBe("CONFIG_INVALID");
  });

  it("Gram matrices, hand-worked, and no more examples than were asked for", async () => {
    // (1, 2) and (3, 0): [[10, 2], [2, 4]] / 2; the third row is not read.
    const found = await collectGrams(engine, model, rows([1, 2, 3, 0, 9, 9]), { samples: 2 });
    expect(Array.from((found.tensors["fc1.weight"] as HostTensor).data as Float32Array)).toEqual([5, 1, 1, 2]);
    expect([found.samples, found.rows]).toEqual([2, { "fc1.weight": 2 }]);
  });

  it("batches are summed: any number of rows at a time gives the same", async () => {
    const tokens = i32(
      Array.from({ length: 60 }, (_, i) => (i * i) % 23),
      [12, 5],
    );
    const mask = f32(
      Array.from({ length: 60 }, (_, i) => (i % 5 <= Math.floor(i / 5) % 5 ? 1 : 0)),
      [12, 5],
    );
    const of = (many: number) => collectGrams(engine, base, tokenCorpus("texts", { tokens, mask }, many), { samples: 12 });
    const [one, five, all] = [await of(1), await of(5), await of(12)];
    for (const other of [five, all]) close(other.tensors, one.tensors, 1e-5);
    expect(one.rows["model.layers.0.mlp.down_proj.weight"]).toBe(Array.from(mask.data, Number).reduce((s, m) => s + m, 0));
  });

  const cutAt3 = { tokens: i32([1, 2, 3, 4, 5, 6], [2, 3]), mask: f32(new Float32Array(6).fill(1), [2, 3]) };
  const padded = { tokens: i32([1, 2, 3, 9, 9, 4, 5, 6, 7, 7], [2, 5]), mask: f32([1, 1, 1, 0, 0, 1, 1, 1, 0, 0], [2, 5]) };

  it("padding does not count, whether the mask says so or the probe", async () => {
    const wanted = await collectGrams(engine, base, tokenCorpus("short", cutAt3), { samples: 2 });
    const masked = await collectGrams(engine, base, tokenCorpus("padded", padded), { samples: 2 });
    const own = {
      ...tokenCorpus("padded", { ...padded, mask: f32(new Float32Array(10).fill(1), [2, 5]) }),
      counted: ({ tokens }: Readonly<Record<string, Tensor>>) => expandDims(cast(less(iota(tokens!.dim(1)), 3), "f32"), 0),
    };
    for (const found of [masked, await collectGrams(engine, base, own, { samples: 2 })]) {
      close(found.tensors, wanted.tensors, 1e-4);
      expect(found.rows).toEqual(wanted.rows);
    }
  });

  it("neither does what prompts put in front", async () => {
    const prompt: Hook = {
      matches: (site) => site.kind === "embedding" && site.path.endsWith("embed_tokens"),
      sequence: ({ embeddings, mask, positions, prefix }) => {
        const batch = embeddings.dim(0);
        return {
          embeddings: concat([full([batch, 2, embeddings.dim(2)], 0.3), embeddings], 1),
          mask: concat([full([batch, 2], 1), mask], 1),
          positions: concat([full([batch, 2], 0, "i32"), positions], 1),
          prefix: dimAdd(prefix, 2),
        };
      },
    };
    const prompted: Model = {
      ...base,
      forward: (params, input, context) => base.forward(params, input, { ...context, hooks: [prompt, ...(context.hooks ?? [])] }),
    };
    const of = (texts: typeof padded) => collectGrams(engine, prompted, tokenCorpus("texts", texts), { samples: 2 });
    const [short, long] = [await of(cutAt3), await of(padded)];
    close(long.tensors, short.tensors, 1e-4);
    expect(long.rows["model.layers.1.mlp.down_proj.weight"]).toBe(6);
  });

  it("measures the sites that are named, and no others", async () => {
    const sites = gramSites(base).filter((s) => s.layer === 1 && s.role === "out");
    const some = await collectGrams(engine, base, few, { samples: 2, sites });
    expect(Object.keys(some.tensors)).toEqual(["model.layers.1.mlp.down_proj.weight"]);
    const all = await collectGrams(engine, base, few, { samples: 2 });
    close(some.tensors, { [Object.keys(some.tensors)[0]!]: all.tensors["model.layers.1.mlp.down_proj.weight"]! }, 1e-6);
  });

  it("leaves out the head that is the embedding, and knows how weights lie", async () => {
    const planned = gpt2({ vocab_size: 11, n_positions: 8, n_embd: 4, n_layer: 1, n_head: 1 });
    expect(gramSites(planned).map((s) => s.path)).not.toContain("lm_head");
    const found = await collectGrams(engine, { ...planned, params: initWeights(planned.info, { seed: 1 }) }, few, { samples: 2 });
    expect(found.layouts["transformer.h.0.mlp.c_proj.weight"]).toBe("in-out");
    expect(found.tensors["transformer.h.0.mlp.c_proj.weight"]!.shape).toEqual([16, 16]);
  });

  it("Gram matrices stop at the first doubling that moves none of them by more than asked, and not before any token counts", async () => {
    const rows = (token: (i: number, j: number) => number, counts = (_i: number): number => 1): ReturnType<typeof tokenCorpus> => {
      const tokens = Int32Array.from({ length: 64 * 3 }, (_, at) => token(Math.floor(at / 3), at % 3));
      const mask = Float32Array.from({ length: 64 * 3 }, (_, at) => counts(Math.floor(at / 3)));
      return tokenCorpus("rows", { tokens: i32(tokens, [64, 3]), mask: f32(mask, [64, 3]) }, 8);
    };
    const sites = gramSites(base).filter((s) => s.layer === 1 && s.role === "out");
    const take = (corpus: ReturnType<typeof tokenCorpus>, options: object): ReturnType<typeof collectGrams> =>
      collectGrams(engine, base, corpus, { sites, samples: 64, ...options });
    const alike = rows((_, j) => 1 + j);
    const settled = await take(alike, { tolerance: 1e-6 });
    expect(settled.samples).toBe(32);
    expect(settled.tensors).toEqual((await take(alike, { samples: 32 })).tensors);
    const varied = rows((i, j) => (7 * i * i + 3 * j + i) % 23);
    expect((await take(varied, { tolerance: 1e-6 })).samples).toBe(64);
    expect((await take(varied, { tolerance: 10 })).samples).toBe(32);
    // Of 64 rows the first 24 hold no token: there is something to compare from 32 on.
    const late = rows(
      (_, j) => 1 + j,
      (i) => (i < 24 ? 0 : 1),
    );
    expect((await take(late, { tolerance: 1e-6 })).samples).toBe(64);
  });

  it("Gram matrices that were stopped go on to the same bytes, and settle where they would have", async () => {
    const tokens = Int32Array.from({ length: 64 * 3 }, (_, at) => (5 * at * at + at) % 7);
    const corpus = tokenCorpus("rows", { tokens: i32(tokens, [64, 3]), mask: f32(new Float32Array(64 * 3).fill(1), [64, 3]) }, 8);
    const sites = gramSites(base).filter((s) => s.role === "out");
    for (const options of [{}, { tolerance: 0.3 }]) {
      const whole = await collectGrams(engine, base, corpus, { sites, samples: 64, ...options });
      let state: CheckpointState | undefined;
      const checkpoint: Checkpoint = {
        load: async () => state,
        save: async (s) => {
          state = s;
        },
      };
      const stop = new AbortController();
      const stopAt = ({ done }: { done: number }): void => (done >= 24 ? stop.abort() : undefined);
      const stopped = collectGrams(engine, base, corpus, {
        sites,
        samples: 64,
        ...options,
        checkpoint,
        signal: stop.signal,
        progress: stopAt,
      });
      expect(isLfmError(await stopped.catch((e: unknown) => e), "ABORTED")).toBe(true);
      expect(state!.step).toBe(3);
      const read: number[] = [];
      const rest: typeof corpus = {
        ...corpus,
        batches: (step) => {
          read.push(step);
          return corpus.batches(step);
        },
      };
      const resumed = await collectGrams(engine, base, rest, { sites, samples: 64, ...options, checkpoint });
      expect(resumed).toEqual(whole);
      expect(read[0]).toBe(3);
    }
    const other: Checkpoint = { load: async () => ({ step: 1, tensors: {} }), save: async () => {} };
    const foreign = await collectGrams(engine, base, corpus, { sites, samples: 64, checkpoint: other }).catch((e: unknown) => e);
    expect(isLfmError(foreign, "PARENT_MISMATCH")).toBe(true);
  });

  it.each(["fisher", "gram"] as const)("%s: a file keeps everything and is read when it is needed", async (kind) => {
    const found = await collect[kind](engine, model, rows([1, 2, 3, 0]), { samples: 2 });
    const path = join(folder, `${kind}.safetensors`);
    await saveStats(path, found);
    const read = loadStats(path);
    expect({ ...read, tensors: {} }).toEqual({ ...found, tensors: {} });
    for (const [name, t] of Object.entries(read.tensors)) {
      expect(t).not.toHaveProperty("data");
      expect(loadWeight(t)).toEqual(found.tensors[name]);
    }
    await verifyStats(read, model.params, "a");
    expect(await code(verifyStats(read, base.params, "a"))).toBe("PARENT_MISMATCH");
  });

  it("refuses other files, no examples, and labels that are not there", async () => {
    const path = join(folder, "other.safetensors");
    await writeSafetensors(path, model.params);
    expect(() => loadStats(path)).toThrow(expect.objectContaining({ code: "FILE_FORMAT" }));
    expect(await code(collectGrams(engine, model, rows([1, 2]), { samples: 0 }))).toBe("CONFIG_INVALID");
    expect(await code(collectFisher(engine, model, rows([1, 2]), { estimator: "empirical" }))).toBe("CONFIG_INVALID");
    const stop = AbortSignal.abort();
    expect(await code(collectFisher(engine, model, rows([1, 2]), { signal: stop }))).toBe("ABORTED");
  });
});
