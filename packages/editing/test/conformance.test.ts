import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createRegistry,
  type Engine,
  f32,
  i32,
  isLfmError,
  type MethodContext,
  ortEngine,
  Rng,
  referenceEngine,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { conformMethod, countingEngine } from "@lfm/core/testing";
import { loadDelta, saveDelta } from "@lfm/formats";
import { initWeights, llama } from "@lfm/models";
import { collectGrams, loadStats, saveStats, tokenCorpus } from "@lfm/statistics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type EditingInputs, type EditingOutput, EditSessions, editingMethods, ftL, rankOneUpdate, rome } from "../src/index.js";

const config = {
  vocab_size: 23,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 32,
};
const planned = llama(config);
const model = llama(config, initWeights(planned.info, { seed: 3, embeddingStd: 0.5 }));
const inputs = (): EditingInputs => ({
  model: { ...model, params: { ...model.params } },
  request: { prompt: [1, 5, 6, 7], subjectEnd: 2, target: [9], start: 1 },
  prefixes: [[4, 4]],
  corpus: tokenCorpus("corpus", {
    tokens: i32(
      Array.from({ length: 60 }, (_, i) => (i * 7) % 23),
      [10, 6],
    ),
    mask: f32(new Float32Array(60).fill(1), [10, 6]),
  }),
});
const folder = mkdtempSync(join(tmpdir(), "lfm-editing-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["weights", "grad", "activations"], log: () => {}, progress: () => {} };
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("the contract of methods", () => {
  it.each(editingMethods.map((m) => [m.id, m] as const))("%s", async (id, method) => {
    await conformMethod<EditingInputs, EditingOutput, typeof method.config>(method, {
      engine: id === "rome" ? referenceEngine() : engine,
      inputs,
      config: { steps: 3 },
      observe: ({ delta }) => ({ ...delta, hooks: undefined }),
      reload: async (output, { model: base }) => {
        await saveDelta(join(folder, id), output.delta);
        const delta = await loadDelta(join(folder, id), createRegistry(editingMethods));
        return { ...output, delta, model: withDeltas(base, [delta]) };
      },
    });
  });
});

describe("edits", () => {
  it("refuse requests that make no sense", async () => {
    const bad = (request: Partial<EditingInputs["request"]>): Promise<unknown> =>
      runMethod(ftL, { ...inputs(), request: { ...inputs().request, ...request } }, {}, context).catch((e: unknown) => e);
    for (const request of [{ target: [] }, { prompt: [] }, { subjectEnd: 4 }, { subjectEnd: -1 }])
      expect(isLfmError(await bad(request), "CONFIG_INVALID")).toBe(true);
    const { corpus: _none, ...without } = inputs();
    expect(isLfmError(await runMethod(rome, without, {}, context).catch((e: unknown) => e), "CONFIG_INVALID")).toBe(true);
    const layer = await runMethod(rome, inputs(), { layer: 2 }, context).catch((e: unknown) => e);
    expect(isLfmError(layer, "CAPABILITY_MISSING") && layer.hint).toBe("layers: 0..1");
  });

  it("read the second moments of keys from a file as from a corpus, byte for byte, and refuse those of others", async () => {
    const { corpus, ...rest } = inputs();
    const taken = await collectGrams(engine, model, corpus!, { samples: corpus!.samples });
    await saveStats(join(folder, "model.gram.safetensors"), taken);
    const statistics = loadStats(join(folder, "model.gram.safetensors"));
    if (statistics.kind !== "gram") throw new Error("another kind");
    const edit = (over: Partial<EditingInputs>): Promise<EditingOutput> => runMethod(rome, { ...rest, ...over }, { steps: 4 }, context);
    const [file, place] = [await edit({ statistics }), await edit({ corpus: corpus! })];
    expect(file.delta.tensors).toEqual(place.delta.tensors);
    // A second edit sees the first, and still the base's statistics.
    const again = await edit({ statistics, model: file.model });
    expect(again.delta.tensors).not.toEqual(file.delta.tensors);
    const refusal = (over: Partial<EditingInputs>): Promise<unknown> => edit(over).catch((e: unknown) => e);
    const { "model.layers.1.mlp.down_proj.weight": _gone, ...others } = statistics.tensors;
    const missing = await refusal({ statistics: { ...statistics, tensors: others } });
    expect(isLfmError(missing, "PARAM_NOT_FOUND") && missing.hint).toContain("lfm stats gram MODEL --sites model.layers.1.mlp.down_proj");
    expect(isLfmError(await refusal({ statistics: { ...statistics, model: "0" } }), "PARENT_MISMATCH")).toBe(true);
    expect(isLfmError(await refusal({ statistics, parent: "0" }), "PARENT_MISMATCH")).toBe(true);
  });

  it("through shared sessions equal edits on their own, bit for bit, and compile once", async () => {
    const counting = countingEngine(engine);
    const { corpus, ...first } = inputs();
    const common = { ...first, corpus: corpus! };
    const requests = [common.request, { ...common.request, prompt: [1, 8, 9, 2, 3], target: [4] }, { ...common.request, target: [2, 3] }];
    const sessions = new EditSessions();
    for (const method of [rome, ftL] as const) {
      counting.counts.compiled = 0;
      for (const request of requests) {
        const shared = await runMethod(
          method as typeof rome,
          { ...common, request, sessions },
          { steps: 4 },
          { ...context, engine: counting },
        );
        const alone = await runMethod(method as typeof rome, { ...common, request }, { steps: 4 }, context);
        for (const [name, t] of Object.entries(alone.delta.tensors)) expect(shared.delta.tensors[name]!.data).toEqual(t.data);
      }
      // ROME: covariance, reader, value step; FT-L: one step.
      expect(counting.counts.compiled).toBe(method.id === "rome" ? 3 : 1);
    }
    await sessions.dispose();
  });
});

describe("rankOneUpdate", () => {
  it("hand-worked: with C = I the change lies along k and the key gets its value exactly", () => {
    // W = I, k = (3, 4): Wk = (3, 4); wanted (8, 4): value (5, 0), key k/25; then W + value·keyᵀ maps k to (8, 4).
    const { key, value } = rankOneUpdate(Float64Array.of(3, 4), Float64Array.of(3, 4), Float64Array.of(8, 4), Float64Array.of(1, 0, 0, 1));
    expect([...key]).toEqual([3 / 25, 4 / 25]);
    expect([...value]).toEqual([5, 0]);
  });

  it("leaves keys alone that are C-orthogonal to k", () => {
    // C = diag(1, 4), so L = diag(1, 2): u = (1, 1/4)/(1 + 1/4); (1, −4) is orthogonal to u.
    const { key } = rankOneUpdate(Float64Array.of(1, 1), Float64Array.of(0, 0), Float64Array.of(1, 1), Float64Array.of(1, 0, 0, 2));
    expect([...key]).toEqual([0.8, 0.2]);
    expect(key[0]! * 1 + key[1]! * -4).toBeCloseTo(0, 12);
  });
});
