import { type Delta, joinDeltas, type Model, ortEngine, referenceEngine, runMethod, withDeltas } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { createPredictor, initWeights, llama } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { type EditRequest, prepareEditor, subjectMemory } from "../src/index.js";
import { factsToRow, questionsOf, rowToFacts } from "../src/subject-facts.js";
import { goldenModel, readGolden, relativeError } from "./golden-tensors.js";
import { editingContext, smallConfig } from "./small-llama.js";

interface Golden {
  readonly layer: number;
  readonly config: Readonly<Record<string, number>>;
  readonly prefixes: readonly (readonly number[])[];
  readonly requests: readonly EditRequest[];
  readonly prompts: readonly (readonly number[])[];
  readonly losses: readonly (readonly number[])[];
}

// Both reckon at double precision: what is compared is the method, not how f32 rounds.
const engine = referenceEngine();
const context = editingContext(engine);

describe.each(["llama", "gpt2"])("subject memory beside a layer of the small %s against torch", (kind) => {
  const golden = readGolden<Golden>(`subject-${kind}`);
  const model = goldenModel(kind);

  it("every loss, what is kept of each subject, and what is answered with it", async () => {
    const { layer, config, prefixes, requests, prompts, losses } = golden.json;
    const editor = await prepareEditor(subjectMemory, { model, prefixes }, { layer, ...config }, context);
    const previous: Delta[] = [];
    for (const [i, request] of requests.entries()) {
      const { delta, curves } = await editor.edit([request], previous);
      previous.push(delta);
      for (const [j, [, loss]] of curves.loss!.entries())
        expect(Math.abs(loss - losses[i]![j]!), `loss ${j} of edit ${i}`).toBeLessThan(1e-5);
    }
    await editor.dispose();
    const [memory, ...rest] = joinDeltas(previous);
    expect(rest).toEqual([]);
    for (const name of ["keys", "values", "radii"]) {
      const found = memory!.tensors[Object.keys(memory!.tensors).find((n) => n.endsWith(name))!]!;
      expect(relativeError(found.data, golden.get(`out/${name}`).data), name).toBeLessThan(1e-5);
    }
    const predictor = await createPredictor(engine, withDeltas(model, [memory!]), "next");
    const wanted = golden.rows("out/logits");
    for (const [i, said] of (await predictor.predict(prompts)).entries())
      expect(relativeError(said.data, wanted[i]!), `logits ${i}`).toBeLessThan(1e-5);
    await predictor.dispose();
  });
});

describe("subject memory", async () => {
  const engine = await ortEngine({ threads: 1 });
  const context = editingContext(engine);
  const shape = { ...smallConfig, num_hidden_layers: 3 };
  const model = llama(shape, initWeights(llama(shape).info, { seed: 3, embeddingStd: 1, std: 0.4 }));
  const ada: EditRequest = { prompt: [1, 5, 6, 7], subjectEnd: 2, target: [9], start: 1 };
  const also: EditRequest = { prompt: [1, 5, 6, 11, 12], subjectEnd: 2, target: [4], start: 1 };
  const bo: EditRequest = { prompt: [1, 15, 7], subjectEnd: 1, target: [3], start: 1 };
  const options = { steps: 6, lr: 0.05, clamp: 1000, weightDecay: 0, keep: 0, klFactor: 0, reach: 0.1, stopLoss: 0.01 };

  const nextOf = async (on: Model, rows: readonly (readonly number[])[]): Promise<readonly (readonly number[])[]> => {
    const predictor = await createPredictor(engine, on, "next");
    const said = (await predictor.predict(rows)).map(({ data }) => Array.from(data, Number));
    await predictor.dispose();
    return said;
  };
  /** log p of what each fact wants. */
  const logPs = async (on: Model, requests: readonly EditRequest[]): Promise<readonly number[]> => {
    const said = await nextOf(
      on,
      requests.map((r) => r.prompt),
    );
    return said.map((row, i) => row[requests[i]!.target[0]!]! - Math.log(row.reduce((s, v) => s + Math.exp(v), 0)));
  };

  it("holds all facts of a subject in one entry, and texts without a subject of it are as they were, bit for bit", async () => {
    const { delta, model: edited, curves } = await runMethod(subjectMemory, { model, requests: [ada, bo, also] }, options, context);
    // What the memory gives is what was looked for: the loss of a subject is that of all its facts.
    const told = await logPs(edited, [ada, bo, also]);
    expect(curves["loss.2"]!.at(-1)![1]).toBeCloseTo(-told[1]!, 4);
    expect(curves["loss.3"]!.at(-1)![1]).toBeCloseTo(-(told[0]! + told[2]!) / 2, 4);
    for (const name of ["loss.1", "loss.2", "loss.3"]) expect(curves[name]!.at(-1)![1]).toBeLessThan(curves[name]![0]![1]);
    expect(delta.tensors["model.layers.0.mlp.down_proj.codebook.keys"]!.shape).toEqual([2, 12]);
    const far = [
      [1, 8, 9, 2],
      [1, 20, 6, 7],
    ];
    expect(await nextOf(edited, far)).toEqual(await nextOf(model, far));
    // A fact again, otherwise: the same prompt's takes its place, and the subject's other one holds.
    const again = { ...ada, target: [2] };
    const turned = await runMethod(subjectMemory, { model, requests: [again], previous: [delta] }, options, context);
    const [now, still, other] = await logPs(turned.model, [again, also, bo]);
    expect(turned.curves.loss!.at(-1)![1]).toBeCloseTo(-(now! + still!) / 2, 4);
    expect(other).toBe(told[1]);
    const answers = turned.delta.tensors["model.layers.0.mlp.down_proj.codebook.answers"]!;
    expect(rowToFacts(Array.from(answers.data, Number)).map((f) => f.target)).toEqual([[4], [2]]);
  });

  it("compiles for the first edit alone, and in turn writes what it writes at once", async () => {
    const counting = countingEngine(engine);
    const editor = await prepareEditor(subjectMemory, { model }, options, { ...context, engine: counting });
    const previous: Delta[] = [];
    const compiled: number[] = [];
    for (const request of [ada, bo, also]) {
      previous.push((await editor.edit([request], previous)).delta);
      compiled.push(counting.counts.compiled);
    }
    await editor.dispose();
    // Reader, answers, and the search in two.
    expect(compiled).toEqual([4, 4, 4]);
    expect(counting.counts.released).toBe(4);
    const together = await runMethod(subjectMemory, { model, requests: [ada, bo, also] }, options, context);
    expect(joinDeltas(previous)[0]!.tensors).toEqual(together.delta.tensors);
  });

  it("limit: a clamp of nothing leaves the model's answers", async () => {
    const still = await runMethod(subjectMemory, { model, requests: [ada] }, { ...options, steps: 2, clamp: 1e-9 }, context);
    const [before, after] = [await nextOf(model, [ada.prompt]), await nextOf(still.model, [ada.prompt])];
    for (const [i, v] of after[0]!.entries()) expect(v).toBeCloseTo(before[0]![i]!, 6);
  });

  it("by hand: facts as numbers and back; what they ask, each once", () => {
    const facts = [ada, { ...bo, essence: [1, 15] }];
    expect(factsToRow([ada])).toEqual([4, 1, 0, 2, 1, 1, 5, 6, 7, 9]);
    expect(rowToFacts(factsToRow(facts))).toEqual(facts);
    expect(questionsOf([ada, bo, also], [{ request: bo, paraphrases: [], unrelated: [] }])).toEqual([[7], [11, 12]]);
  });
});
