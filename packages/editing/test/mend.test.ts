import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type CheckpointState,
  compile,
  type Delta,
  f32,
  grad,
  isLfmError,
  type MethodContext,
  ortEngine,
  type ParamTree,
  plainWeights,
  Rng,
  referenceEngine,
  runMethod,
  type Site,
} from "@lfm/core";
import { conformMethod, countingEngine } from "@lfm/core/testing";
import { writeSafetensors } from "@lfm/formats";
import { initWeights, llama } from "@lfm/models";
import { afterAll, describe, expect, it } from "vitest";
import { splitCases } from "../src/cases.js";
import {
  type EditCase,
  type EditingInputs,
  type EditRequest,
  loadEditor,
  mend,
  prepareEditor,
  saveEditor,
  type TrainEditorInputs,
  type TrainEditorOutput,
  trainMend,
} from "../src/index.js";
import { answerLoss, editBatch, editBatchSpec, promptRows } from "../src/inputs.js";
import { mendUpdates } from "../src/learned/mend-network.js";
import { editingContext, smallConfig, smallLlama } from "./small-llama.js";
import { untrainedMend } from "./untrained-mend.js";

const model = smallLlama;
const request: EditRequest = { prompt: [1, 5, 6, 7], subjectEnd: 2, target: [9], start: 1 };
const folder = mkdtempSync(join(tmpdir(), "lfm-mend-"));
afterAll(() => rmSync(folder, { recursive: true }));
/** To make graphs for another engine would take longer than all these edits. */
const engine = referenceEngine();
const context: MethodContext = editingContext(engine);
const edit = async (over: Partial<EditingInputs> = {}, options: { scale?: number } = {}): ReturnType<typeof mend.run> =>
  runMethod(mend, { model, requests: [request], editor: await untrainedMend(model), ...over }, options, context);

describe("MEND's update", () => {
  it("hand-worked: one token, one input, one output, one layer of rank 1", async () => {
    // z = ((2 − 1)/2, (−1 − 0)/1) = (0.5, −1); UVz = (1, 2)ᵀ(0.5 − 1) = (−0.5, −1); + b = (0.5, 0); ⊙ s + o = (1, 3); h = (1.5, 2).
    const site: Site = { path: "a", kind: "linear", weight: { name: "a.weight", layout: "out-in", in: 1, out: 1 } };
    const editor = {
      "editor.rates": f32([0.5]),
      "editor.1x1.0.u": f32([1, 2], [2, 1]),
      "editor.1x1.0.v": f32([1, 1], [1, 2]),
      "editor.1x1.0.bias": f32([1, 1]),
      "editor.1x1.0.scale": f32([2, 1], [1, 2]),
      "editor.1x1.0.shift": f32([0, 3], [1, 2]),
      "editor.1x1.mean": f32([1, 0]),
      "editor.1x1.squares": f32([4, 1]),
      "editor.1x1.count": f32([2]),
    };
    const row = { dtype: "f32", shape: [1, 1, 1] } as const;
    const f = await compile(
      referenceEngine(),
      { u: row, delta: row, counts: row },
      (factors, frozen: ParamTree) => mendUpdates([site], frozen, { a: factors }, false).updates.a!,
      { frozen: editor },
    );
    const one = (value: number): ReturnType<typeof f32> => f32([value], [1, 1, 1]);
    const { keys, values } = await f({ u: one(2), delta: one(-1), counts: one(1) });
    expect(keys.data[0]).toBeCloseTo(1.5, 6);
    expect(values.data[0]).toBeCloseTo(-1, 6);
    const none = await f({ u: one(2), delta: one(-1), counts: one(0) });
    expect(none.values.data[0]).toBeCloseTo(0, 12);
  });

  it("before any training is a step down the gradient, of all requests together; of scale 0 nothing", async () => {
    const requests = [request, { ...request, prompt: [1, 8, 9, 2, 3], target: [4, 11] }];
    const { delta } = await edit({ requests });
    const edited = await plainWeights(engine, model, [delta]);
    const batch = editBatch(requests.flatMap((r) => promptRows(r, [[]])));
    const names = Object.keys(edited);
    const { subject: _subject, ...spec } = editBatchSpec;
    const gradients = await compile(
      engine,
      spec,
      ({ tokens, mask, labels }, params: ParamTree) => {
        const { logits } = model.forward(params, { tokens, mask }, { mode: "eval" });
        return grad(answerLoss(logits!, labels), Object.fromEntries(names.map((name) => [name, params[name]!])));
      },
      { frozen: model.params },
    );
    const { subject: _at, ...given } = batch;
    for (const [name, g] of Object.entries(await gradients(given))) {
      const before = model.params[name] as ReturnType<typeof f32>;
      for (const [i, v] of (g.data as Float32Array).entries())
        expect(Number(edited[name]!.data[i])).toBeCloseTo(Number(before.data[i]) - 0.1 * v, 5);
    }
    await gradients.dispose();
    expect(names.sort()).toEqual([0, 1].flatMap((i) => ["down", "gate", "up"].map((part) => `model.layers.${i}.mlp.${part}_proj.weight`)));

    const nothing = await edit({}, { scale: 0 });
    for (const [name, w] of Object.entries(await plainWeights(engine, model, [nothing.delta])))
      expect(w.data).toEqual((model.params[name] as ReturnType<typeof f32>).data);
  });

  it("twenty on top of each other take two sessions, each one of them the loss further down", async () => {
    const counting = countingEngine(engine);
    const editor = await prepareEditor(mend, { model, editor: await untrainedMend(model) }, {}, { ...context, engine: counting });
    const previous: Delta[] = [];
    const losses: number[] = [];
    for (let i = 0; i < 20; i++) {
      const { delta, curves } = await editor.edit([request], previous);
      previous.push(delta);
      losses.push(curves.before![0]![1]);
    }
    expect(counting.counts.compiled).toBe(2);
    for (const [i, loss] of losses.slice(1).entries()) expect(loss).toBeLessThan(losses[i]!);
    await editor.dispose();
    expect(counting.counts.released).toBe(2);
  });

  it("refuses to start without an editor of its own for this model", async () => {
    const editor = await untrainedMend(model);
    const { editor: _none, ...without } = { editor, model, requests: [request] };
    const refused = async (given: EditingInputs): Promise<unknown> => runMethod(mend, given, {}, context).catch((e: unknown) => e);
    const missing = await refused(without);
    expect(isLfmError(missing, "CONFIG_INVALID") && missing.hint).toContain("lfm edit train-mend");
    expect(isLfmError(await refused({ ...without, editor: { ...editor, method: "ke" } }), "CONFIG_INVALID")).toBe(true);
    expect(isLfmError(await refused({ ...without, editor: { ...editor, parent: "0" } }), "PARENT_MISMATCH")).toBe(true);
    expect(isLfmError(await refused({ ...without, editor: { ...editor, config: {} } }), "FILE_FORMAT")).toBe(true);
    const { "editor.8x12.mean": _mean, ...cut } = editor.tensors;
    expect(isLfmError(await refused({ ...without, editor: { ...editor, tensors: cut } }), "FILE_FORMAT")).toBe(true);
    expect(isLfmError(await refused({ ...without, editor, requests: [] }), "CONFIG_INVALID")).toBe(true);
  });

  it("is the same by an editor that was saved", async () => {
    const editor = await untrainedMend(model);
    const path = await saveEditor(folder, editor);
    const read = loadEditor(folder);
    expect(read).toEqual(editor);
    expect(loadEditor(path)).toEqual(editor);
    expect((await edit({ editor: read })).delta.tensors).toEqual((await edit({ editor })).delta.tensors);
    await writeSafetensors(join(folder, "other"), editor.tensors, { metadata: { format: "lfm-editor", method: "mend", config: "[]" } });
    expect(() => loadEditor(join(folder, "other"))).toThrow(/holds no trained editor/);
  });
});

/** Facts of a few subjects and relations; the answer of a relation is one of three words. */
function casesOf(rng: Rng): readonly EditCase[] {
  return Array.from({ length: 8 * 4 }, (_, i) => {
    const [subject, relation] = [2 + (i % 8), 10 + Math.floor(i / 8)];
    const target = [14 + rng.int(9)];
    const prompt = (marker: number): number[] => [1, marker, subject, relation];
    return {
      subject: `${subject}`,
      relation: `${relation}`,
      request: { prompt: prompt(1), subjectEnd: 2, target },
      paraphrases: [{ prompt: prompt(0), target }],
      unrelated: [
        [1, 1, 2 + ((i + 3) % 8), relation],
        [1, 1, subject, 10 + ((Math.floor(i / 8) + 1) % 4)],
      ],
    };
  });
}

/** Of one block: what takes time here is to make graphs, not to run them. */
const shallow = llama(
  { ...smallConfig, num_hidden_layers: 1 },
  initWeights(llama({ ...smallConfig, num_hidden_layers: 1 }).info, { seed: 5 }),
);
const small = { blocks: 1, rank: 4, steps: 2, edits: 2, unrelated: 1, validEvery: 2, editRate: 0.05 };

describe("training of a MEND editor", () => {
  it("keeps the contract of methods", async () => {
    await conformMethod<TrainEditorInputs, TrainEditorOutput, typeof trainMend.config>(trainMend, {
      engine,
      inputs: () => ({ model: { ...shallow, params: { ...shallow.params } }, cases: casesOf(new Rng(2)) }),
      config: small,
      observe: ({ editor, curves }) => ({ editor, curves }),
      reload: async (output) => {
        await saveEditor(folder, output.editor);
        return { ...output, editor: loadEditor(folder) };
      },
    });
  });

  it("sets aside what shares neither subject nor relation, and says so where nothing would be left", () => {
    const all = casesOf(new Rng(2));
    const { train, heldOut } = splitCases(all, 0.25, new Rng(5));
    expect([train.length, heldOut.length]).toEqual([6 * 3, 2]);
    for (const name of ["subject", "relation"] as const) {
      const learned = new Set(train.map((c) => c[name]));
      expect(heldOut.some((c) => learned.has(c[name]))).toBe(false);
    }
    const single = all.filter((c) => c.relation === "10");
    expect(() => splitCases(single, 0.25, new Rng(5))).toThrow(/share neither subject nor relation/);
  });

  it("that was stopped goes on to the same editor, bit for bit", async () => {
    const cases = casesOf(new Rng(2));
    const train = (over: Partial<MethodContext> = {}): Promise<TrainEditorOutput> =>
      runMethod(trainMend, { model: shallow, cases }, { ...small, steps: 6 }, { ...context, rng: new Rng(3), ...over });
    const whole = await train();
    let saved: CheckpointState | undefined;
    const checkpoint = (): { load(): Promise<CheckpointState | undefined>; save(state: CheckpointState): Promise<void> } => ({
      load: async () => saved,
      save: async (state) => {
        saved = state;
      },
    });
    const stop = new AbortController();
    const stopped = await train({
      checkpoint,
      signal: stop.signal,
      progress: ({ done }) => {
        if (done === 3) stop.abort();
      },
    }).catch((e: unknown) => e);
    expect(isLfmError(stopped, "ABORTED")).toBe(true);
    expect(saved?.step).toBe(3);
    expect((await train({ checkpoint })).editor).toEqual(whole.editor);
  });

  it("teaches it to write facts of subjects and relations that it never saw", async () => {
    const cases = casesOf(new Rng(2));
    const options = { ...small, rank: 8, steps: 60, edits: 8, lr: 0.01, rateLr: 0.01, editFactor: 1, validEvery: 10 };
    const own = { ...context, engine: await ortEngine({ threads: 1 }) };
    const { heldOut, editor, cases: counts } = await runMethod(trainMend, { model, cases }, options, own);
    expect(counts).toEqual({ train: 18, heldOut: 2 });
    const { heldOut: held } = splitCases(cases, 0.25, context.rng.split("held out"));
    let before = 0;
    for (const { request } of held) {
      const first = await edit({ requests: [request], editor });
      const loss = first.curves.before![0]![1];
      before += loss / held.length;
      const again = await edit({ requests: [request], editor, previous: [first.delta] });
      expect(again.curves.before![0]![1]).toBeLessThan(0.7 * loss);
    }
    // The same, of other wordings too, as the training says.
    expect(heldOut.answer).toBeLessThan(0.7 * before);
  });
});
