import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type AnyMethod,
  createRegistry,
  type Delta,
  type Engine,
  f32,
  i32,
  isLfmError,
  joinDeltas,
  type MethodContext,
  type Model,
  makeDelta,
  ortEngine,
  plainWeights,
  Rng,
  referenceEngine,
  replacedParameters,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { conformMethod, countingEngine } from "@lfm/core/testing";
import { loadDelta, saveDelta, wordTokenizer } from "@lfm/formats";
import { createPredictor, textRules } from "@lfm/models";
import { collectGrams, loadStats, saveStats, tokenCorpus } from "@lfm/statistics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  alphaedit,
  type EditingInputs,
  type EditingOutput,
  type EditRequest,
  editingMethods,
  emmet,
  ftL,
  kn,
  memit,
  prepareEditor,
  rankOneForm,
  rankOneUpdate,
  rome,
} from "../src/index.js";
import { smallLlama } from "./small-llama.js";
import { untrainedMend } from "./untrained-mend.js";

const model = smallLlama;
const request: EditRequest = { prompt: [1, 5, 6, 7], subjectEnd: 2, target: [9], start: 1 };
const inputs = (): EditingInputs => ({
  model: { ...model, params: { ...model.params } },
  text,
  requests: [request],
  prefixes: [[4, 4]],
  corpus: tokenCorpus("corpus", {
    tokens: i32(
      Array.from({ length: 60 }, (_, i) => (i * 7) % 23),
      [10, 6],
    ),
    mask: f32(new Float32Array(60).fill(1), [10, 6]),
  }),
});
/** A word for each token: its number. */
const text = textRules(
  wordTokenizer({
    size: 23,
    pad: 0,
    bos: 1,
    eos: 0,
    unk: 22,
    encode: (words) => words.split(" ").filter(Boolean).map(Number),
    decode: (tokens) => [...tokens].join(" "),
  }),
);
const folder = mkdtempSync(join(tmpdir(), "lfm-editing-"));
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["weights", "grad", "activations"], log: () => {}, progress: () => {} };
});
afterAll(() => rmSync(folder, { recursive: true }));

async function answerOf(m: Model): Promise<Float32Array> {
  const predictor = await createPredictor(engine, m, "next");
  const [logits] = await predictor.predict([request.prompt]);
  await predictor.dispose();
  return logits!.data as Float32Array;
}

/** Options that tell on a model this small. */
const configs: Readonly<Record<string, object>> = {
  memit: { lambda: 1 },
  pmet: { lambda: 1 },
  alphaedit: { nullShare: 0.2 },
  ike: { before: "", between: " ", after: " " },
};

describe("the contract of methods", () => {
  it.each(editingMethods.map((m) => [m.id, m] as const))("%s", async (id, method) => {
    await conformMethod<EditingInputs, EditingOutput, typeof method.config>(method, {
      engine: id === "rome" || id === "mend" ? referenceEngine() : engine,
      inputs: async () => ({ ...inputs(), ...(id === "mend" ? { editor: await untrainedMend(model) } : {}) }),
      config: { ...("steps" in method.config.shape ? { steps: 3 } : {}), ...configs[id] },
      instant: id === "mend" || id === "ike",
      observe: ({ delta }) => ({ ...delta, hooks: undefined }),
      answers: { of: (output) => answerOf(output.model), base: (given) => answerOf(given.model) },
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
    const bad = (requests: readonly EditRequest[], method: typeof rome | typeof ftL = ftL): Promise<unknown> =>
      runMethod(method as typeof rome, { ...inputs(), requests }, {}, context).catch((e: unknown) => e);
    for (const wrong of [{ target: [] }, { prompt: [] }, { subjectEnd: 4 }, { subjectEnd: -1 }])
      expect(isLfmError(await bad([request, { ...request, ...wrong }]), "CONFIG_INVALID")).toBe(true);
    for (const method of [rome, ftL]) expect(isLfmError(await bad([], method), "CONFIG_INVALID")).toBe(true);
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
    const again = await edit({ statistics, previous: [file.delta] });
    expect(again.delta.tensors).not.toEqual(file.delta.tensors);
    expect((await edit({ statistics, model: file.model })).delta.tensors).toEqual(again.delta.tensors);
    const refusal = (over: Partial<EditingInputs>): Promise<unknown> => edit(over).catch((e: unknown) => e);
    const { "model.layers.1.mlp.down_proj.weight": _gone, ...others } = statistics.tensors;
    const missing = await refusal({ statistics: { ...statistics, tensors: others } });
    expect(isLfmError(missing, "PARAM_NOT_FOUND") && missing.hint).toContain("lfm stats gram MODEL --sites model.layers.1.mlp.down_proj");
    expect(isLfmError(await refusal({ statistics: { ...statistics, model: "0" } }), "PARENT_MISMATCH")).toBe(true);
    expect(isLfmError(await refusal({ statistics, parent: "0" }), "PARENT_MISMATCH")).toBe(true);
  });

  it("by one editor equal edits on their own, bit for bit, and compile once", async () => {
    const counting = countingEngine(engine);
    const { requests: _one, ...common } = inputs();
    const all = [request, { ...request, prompt: [1, 8, 9, 2, 3], target: [4] }, { ...request, target: [2, 3] }];
    // A step is compiled in two: what the batch alone decides, and what the change reaches. ROME: covariance and step; FT-L: step;
    // MEMIT: covariances of two layers, step, and a reader of keys.
    const compiled: readonly (readonly [AnyMethod, number])[] = [
      [rome, 3],
      [emmet, 3],
      [ftL, 2],
      [kn, 1],
      [memit, 5],
      [alphaedit, 5],
    ];
    for (const [method, sessions] of compiled) {
      counting.counts.compiled = 0;
      const config = { steps: 4, ...configs[method.id] };
      const editor = await prepareEditor(method, common, config, { ...context, engine: counting });
      for (const one of all) {
        const kept = await editor.edit([one]);
        const alone: EditingOutput = await runMethod(method, { ...common, requests: [one] }, config, context);
        expect(kept.delta.tensors).toEqual(alone.delta.tensors);
      }
      expect(counting.counts.compiled, method.id).toBe(sessions);
      await editor.dispose();
    }
    expect(counting.counts.released).toBe(compiled.reduce((n, [, sessions]) => n + sessions, 0));
  });

  it("twenty on top of each other, and their answers, take the sessions of the first two", async () => {
    const counting = countingEngine(engine);
    const { requests: _one, ...common } = inputs();
    const editor = await prepareEditor(rome, common, { steps: 2 }, { ...context, engine: counting });
    const predictor = await createPredictor(counting, common.model, "next");
    const previous: Delta[] = [];
    const compiled: number[] = [];
    for (let i = 0; i < 20; i++) {
      const one = { ...request, prompt: [1, 3 + (i % 17), 6, 7], target: [(5 * i) % 23] };
      const { delta, model: edited } = await editor.edit([one], previous);
      previous.push(delta);
      await predictor.swap(edited);
      const [joined] = await predictor.predict([one.prompt]);
      if (i === 19) {
        const each = await createPredictor(engine, withDeltas(common.model, previous), "next");
        const [stacked] = await each.predict([one.prompt]);
        for (const [j, v] of (stacked!.data as Float32Array).entries()) expect(Number(joined!.data[j])).toBeCloseTo(v, 4);
        await each.dispose();
      }
      compiled.push(counting.counts.compiled);
    }
    // Covariance, search (in two) and predictor of the untouched model; search and predictor of the edited one.
    expect(compiled.slice(0, 3)).toEqual([5, 7, 7]);
    expect(compiled.at(-1)).toBe(7);
    await editor.dispose();
    await predictor.dispose();
  });

  it("of several requests: ROME writes one after the other, all in one delta; FT-L learns all in one batch", async () => {
    const all = [request, { ...request, prompt: [1, 8, 9, 2, 3], target: [4, 11] }, { ...request, prompt: [1, 12, 13], target: [2] }];
    const run = (method: typeof rome | typeof ftL, over: Partial<EditingInputs>, c: object = { steps: 4 }): Promise<EditingOutput> =>
      runMethod(method as typeof rome, { ...inputs(), ...over }, c, context);
    const together = await run(rome, { requests: all });
    const previous: Delta[] = [];
    for (const one of all) previous.push((await run(rome, { requests: [one], previous })).delta);
    expect(joinDeltas(previous)).toHaveLength(1);
    expect(together.delta.tensors).toEqual(joinDeltas(previous)[0]!.tensors);
    expect(Object.values(together.delta.tensors).map((t) => t.shape)).toEqual([
      [3, 12],
      [3, 8],
    ]);
    expect(Object.keys(together.curves)).toEqual(["loss.1", "loss.2", "loss.3"]);

    const before: number[] = [];
    for (const one of all) before.push((await run(ftL, { requests: [one] }, { steps: 1 })).curves.loss![0]![1]);
    const free = { steps: 40, lr: 0.05, epsilon: 10, stopLoss: 0.05 };
    const { delta, curves } = await run(ftL, { requests: all }, free);
    // The mean over all answer tokens: 1, 2 and 1 of them.
    expect(curves.loss![0]![1]).toBeCloseTo((before[0]! + 2 * before[1]! + before[2]!) / 4, 5);
    for (const [i, one] of all.entries()) {
      const after = await run(ftL, { requests: [one], previous: [delta] }, { steps: 1 });
      expect(after.curves.loss![0]![1]).toBeLessThan(before[i]! - 0.2);
    }
  });

  it("join only with neighbours of their method and parent, which stay as they are; and only editing methods prepare editors", async () => {
    const form = { id: "rome", paradigm: "editing", delta: rankOneForm };
    const patch = (value: number, parent: string | null, path = "a"): Delta =>
      makeDelta(form, {}, { [`${path}.edit.keys`]: f32([value, 1], [1, 2]), [`${path}.edit.values`]: f32([value], [1, 1]) }, { parent });
    const other = makeDelta({ id: "full", paradigm: "tuning", delta: replacedParameters }, {}, {});
    const stack = [patch(1, null), patch(2, null), patch(3, null, "b"), other, patch(4, null), patch(5, "base")];
    const joined = joinDeltas(stack);
    expect(joined.map((d) => Object.values(d.tensors).map((t) => [...t.data]))).toEqual([
      [[1, 1, 2, 1], [1, 2], [3, 1], [3]],
      [],
      [[4, 1], [4]],
      [[5, 1], [5]],
    ]);
    expect(joined[3]).toBe(stack[5]);
    expect([...stack[0]!.tensors["a.edit.values"]!.data]).toEqual([1]);
    const plain = { ...ftL, prepare: undefined };
    const refused = await prepareEditor(plain, inputs(), {}, context).catch((e: unknown) => e);
    expect(isLfmError(refused, "CAPABILITY_MISSING")).toBe(true);
    const blind = await prepareEditor(ftL, inputs(), {}, { ...context, access: ["weights"] }).catch((e: unknown) => e);
    expect(isLfmError(blind, "CAPABILITY_MISSING")).toBe(true);
  });

  it("of one method stay on top of those of another", async () => {
    const first = await runMethod(ftL, inputs(), { steps: 4 }, context);
    const other = [{ ...request, prompt: [1, 8, 9, 2], target: [4] }];
    const second = await runMethod(rome, { ...inputs(), requests: other, previous: [first.delta] }, { steps: 4 }, context);
    const third = await runMethod(ftL, { ...inputs(), requests: other, previous: [first.delta, second.delta] }, { steps: 4 }, context);
    const merged = await plainWeights(engine, model, [first.delta, second.delta, third.delta]);
    const [stacked, plain] = [await answerOf(third.model), await answerOf({ ...model, params: { ...model.params, ...merged } })];
    for (const [i, v] of stacked.entries()) expect(plain[i]).toBeCloseTo(v, 4);
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
