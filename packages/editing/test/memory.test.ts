import {
  type Delta,
  type Engine,
  f32,
  i32,
  joinDeltas,
  type MethodContext,
  type Model,
  makeDelta,
  ortEngine,
  parseConfig,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { createGenerator, createPredictor, initWeights, llama } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { Codebook } from "../src/codebook.js";
import { GrowingRows } from "../src/growing-rows.js";
import { type EditingInputs, type EditRequest, grace, lora, PROMPT_END, prepareEditor, tPatcher, wise } from "../src/index.js";
import { memoryMask, mergeChanges, SideMemories } from "../src/side-memory.js";
import { editingContext, smallConfig } from "./small-llama.js";

const config = { ...smallConfig, num_hidden_layers: 3 };
const model = llama(config, initWeights(llama(config).info, { seed: 3, embeddingStd: 1, std: 0.4 }));
const request: EditRequest = { prompt: [1, 5, 6, 7], subjectEnd: 2, target: [9], start: 1 };
const others: readonly EditRequest[] = [
  { ...request, prompt: [1, 8, 9, 2, 3], target: [4] },
  { ...request, prompt: [1, 12, 13, 7], target: [11] },
];
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = editingContext(engine);
});

async function logitsOf(on: Model, rows: readonly (readonly number[])[], end?: readonly number[]): Promise<number[][]> {
  const named = end ? { batch: { [PROMPT_END]: { dtype: "i32", shape: [] } } as const } : {};
  const predictor = await createPredictor(engine, on, "logits", named);
  const said = await predictor.predict(rows, undefined, end && { [PROMPT_END]: i32(end) });
  await predictor.dispose();
  return said.map((t) => Array.from(t.data, Number));
}

/** Whether what was wanted is the likeliest token behind each prompt. */
async function says(on: Model, requests: readonly EditRequest[]): Promise<boolean[]> {
  const logits = await logitsOf(
    on,
    requests.map((r) => r.prompt),
  );
  return requests.map(({ target }, i) => {
    const row = logits[i]!.slice(-23);
    return row.every((v) => v <= row[target[0]!]!);
  });
}

const far = { prompt: [1, 20, 21, 22, 2], subjectEnd: 2, target: [3] };

describe("GRACE", () => {
  it("by hand: a key of its own, a wider ball, a ball split half-way, and one that is written over", () => {
    const key = (x: number) => Float32Array.of(x, 0);
    const value = (v: number) => Float32Array.of(v);
    let book = Codebook.empty(2, 1);
    const tell = (x: number, answer: number, v: number): void => {
      const place = book.place(key(x), [answer], 1);
      book = book.write(place, key(x), [answer], value(v));
    };
    const told = (): number[][] => book.entries().map((e) => [e.key[0]!, e.value[0]!, e.radius, e.answer[0]!]);
    tell(0, 7, 10);
    // 1.5 lies within ε + radius of the first: the same answer widens its ball to reach there, its value is trained again.
    tell(1.5, 7, 11);
    expect(told()).toEqual([[0, 11, 1.5, 7]]);
    // 2.4 ≤ 1 + 1.5, another answer: both balls end at 1.2.
    tell(2.5, 8, 20);
    expect(told()).toEqual([
      [0, 11, 1.25 - 1e-5, 7],
      [2.5, 20, 1.25, 8],
    ]);
    // Farther than ε + 1.25 from 2.5.
    tell(5, 8, 30);
    expect(told()[2]).toEqual([5, 30, 1, 8]);
    // The same question again, answered otherwise: authors' halves would be empty balls.
    tell(5, 9, 31);
    expect(told()[2]).toEqual([5, 31, 1, 9]);
    expect(book.size).toBe(3);
  });

  it("answers what it was told, leaves what is far as it is to the last bit, and what it has replaced last counts", async () => {
    const all = [request, ...others];
    const edited = await runMethod(grace, { model, requests: all }, { epsilon: 0.05 }, context);
    expect(await says(edited.model, all)).toEqual([true, true, true]);
    expect(await says(model, all)).toEqual([false, false, false]);
    const rows = [far.prompt];
    expect(await logitsOf(edited.model, rows)).toEqual(await logitsOf(model, rows));
    // The second token of an answer sees the value through the block behind it.
    const { curves } = await runMethod(grace, { model, requests: [{ ...request, target: [9, 4] }] }, { steps: 30 }, context);
    expect(curves.loss!.at(-1)![1]).toBeLessThan(0.75 * curves.loss![0]![1]);
    const again = { ...request, target: [2] };
    const back = await runMethod(grace, { model, requests: [again], previous: [edited.delta] }, { epsilon: 0.05 }, context);
    expect(await says(back.model, [again, ...others])).toEqual([true, true, true]);
    expect(joinDeltas([edited.delta, back.delta])[0]!.tensors).toEqual(
      (await runMethod(grace, { model, requests: [...all, again] }, { epsilon: 0.05 }, context)).delta.tensors,
    );
  });

  it("says the same whole, token by token beside a cache, and in a batch; told where prompts end, it looks nowhere else", async () => {
    // Balls so wide that many tokens fall into them.
    const { model: edited } = await runMethod(grace, { model, requests: [request, ...others] }, { epsilon: 1, steps: 20 }, context);
    await holdsInGeneration(edited);
    const rows = [request.prompt, [...far.prompt, ...request.prompt]];
    const [every, told] = [await logitsOf(edited, rows), await logitsOf(edited, rows, [3, 0])];
    const base = await logitsOf(model, rows);
    expect(every[1]).not.toEqual(told[1]);
    expect(told[0]!.slice(0, 3 * 23)).toEqual(base[0]!.slice(0, 3 * 23));
    expect(told[0]!.slice(3 * 23)).not.toEqual(base[0]!.slice(3 * 23));
  });

  it("cold values begin in [0, 1)", async () => {
    const { delta } = await runMethod(grace, { model, requests: [request] }, { steps: 1, lr: 1e-12 }, context);
    const value = Array.from(delta.tensors["model.layers.1.mlp.down_proj.codebook.values"]!.data, Number);
    expect(value.every((v) => v >= 0 && v < 1)).toBe(true);
    expect(new Set(value).size).toBe(8);
  });
});

/** Prompts of several lengths, generated together and alone, against whole passes over what came out. */
async function holdsInGeneration(edited: Model): Promise<void> {
  const generator = await createGenerator(engine, edited);
  const prompts = [request.prompt, far.prompt, [...others[1]!.prompt, 4, 4]];
  const together = await generator.generateBatch(prompts, { maxNewTokens: 5 });
  for (const [i, prompt] of prompts.entries()) {
    expect((await generator.generate(prompt, { maxNewTokens: 5 })).tokens).toEqual(together[i]!.tokens);
    const whole = [...prompt, ...together[i]!.tokens.slice(0, -1)];
    const [logits] = await logitsOf(edited, [whole]);
    for (const [j, token] of together[i]!.tokens.entries()) {
      const row = logits!.slice((prompt.length - 1 + j) * 23, (prompt.length + j) * 23);
      expect(row.indexOf(Math.max(...row))).toBe(token);
    }
  }
  await generator.dispose();
}

describe("WISE", () => {
  const options = { lr: 0.5, alpha: 0.5, beta: 2, gamma: 1, bound: 5, ratio: 0.8, steps: 100 };

  it("by hand: TIES keeps the largest of each, elects signs, and averages those that agree", () => {
    // Of 4 entries 3 are kept; sums 4, −3, 0 → +, 1.
    const merged = mergeChanges([Float32Array.of(3, -4, 2, 0.5), Float32Array.of(1, 1, -2, 0.9)], 0.75);
    expect(Array.from(merged)).toEqual([2, -4, 2, expect.closeTo(0, 6)]);
    expect(Array.from(mergeChanges([Float32Array.of(1, -2)], 1))).toEqual([1, -2]);
  });

  it("by hand: a token takes the memory that it activates most, above its threshold; none, and the layer is as it was", async () => {
    const path = "model.layers.1.mlp.down_proj";
    const memory = (id: number, threshold: number, scale: number) => {
      const change = new Float32Array(12 * 8);
      for (let i = 0; i < 8; i++) change[i * 8 + i] = scale;
      return { id, stage: "full" as const, edits: 1, threshold, change };
    };
    const on = (...all: readonly ReturnType<typeof memory>[]): Model =>
      withDeltas(model, [
        makeDelta(wise, parseConfig(wise, {}), all.reduce((m, one) => m.with(one, []), new SideMemories(12)).tensors(path)),
      ]);
    const rows = [request.prompt];
    const alone = await logitsOf(on(memory(1, 0, 2)), rows);
    expect(await logitsOf(on(memory(1, 0, 2), memory(2, 0, 1)), rows)).toEqual(alone);
    expect(await logitsOf(on(memory(1, 1e3, 2), memory(2, 0, 1)), rows)).toEqual(await logitsOf(on(memory(2, 0, 1)), rows));
    expect(await logitsOf(on(memory(1, 1e3, 2), memory(2, 1e3, 1)), rows)).toEqual(await logitsOf(model, rows));
    expect(alone).not.toEqual(await logitsOf(model, rows));
  });

  it("writes facts that stay far from what is not in scope, changes its share of the entries alone, and none further than the bound", async () => {
    const requests = [others[0]!];
    const { delta, model: edited } = await runMethod(wise, { model, requests }, options, context);
    expect(await says(edited, requests)).toEqual([true]);
    const changes = delta.tensors["model.layers.1.mlp.down_proj.side.changes"]!;
    const [id] = delta.tensors["model.layers.1.mlp.down_proj.side.states"]!.data;
    const mask = memoryMask(Number(id), 96, 0.8);
    expect(Array.from(changes.data, Number).every((v, i) => (mask[i] === 1 || v === 0) && Math.abs(v) <= 5)).toBe(true);
    const share = mask.reduce((a, b) => a + b, 0) / 96;
    expect(share).toBeGreaterThan(0.7);
    expect(share).toBeLessThan(0.9);
    const start = [others[0]!.prompt.slice(0, 2)];
    expect(await logitsOf(edited, start)).toEqual(await logitsOf(model, start));
    await holdsInGeneration(edited);
  });

  it("begins a new memory where one is full, merges full ones, and goes on where a file has left off", async () => {
    const sharded = { ...options, steps: 3, shardEdits: 1 };
    const run = (requests: readonly EditRequest[], previous: readonly Delta[] = []) =>
      runMethod(wise, { model, requests, previous } satisfies EditingInputs, sharded, context);
    const together = await run([request, ...others]);
    const states = (delta: Delta) => Array.from(delta.tensors["model.layers.1.mlp.down_proj.side.states"]!.data, Number);
    const previous: Delta[] = [];
    for (const one of [request, ...others]) previous.push((await run([one], previous)).delta);
    expect(previous.map((d) => states(d).slice(1))).toEqual([
      [1, 1],
      [2, 2],
      [1, 1],
    ]);
    const joined = joinDeltas(previous);
    expect(joined).toHaveLength(1);
    expect(states(joined[0]!)).toEqual(states(together.delta));
    expect(joined[0]!.tensors).toEqual(together.delta.tensors);
    // Memories of edits that know nothing of each other lie beside each other.
    const [one, other] = [(await run([request])).delta, (await run([others[0]!])).delta];
    expect(states(joinDeltas([one, other])[0]!)).toEqual([...states(one), ...states(other)]);
  });
});

describe("T-Patcher", () => {
  it("by hand: a neuron adds relu(x·k + b)·v to what the MLP gives, and edits stand beside each other", async () => {
    const options = { steps: 150, lr: 0.05, memory: 0.1 };
    const first = await runMethod(tPatcher, { model, requests: [request] }, options, context);
    const second = await runMethod(tPatcher, { model, requests: [others[0]!], previous: [first.delta] }, options, context);
    expect(await says(first.model, [request])).toEqual([true]);
    expect(await says(second.model, [others[0]!])).toEqual([true]);
    const [joined, ...rest] = joinDeltas([first.delta, second.delta]);
    expect(rest).toEqual([]);
    expect(Object.values(joined!.tensors).map((d) => d.shape[0])).toEqual([2, 2, 2]);
    await holdsInGeneration(second.model);
    // Neurons that are never active change nothing.
    const path = "model.layers.2.mlp";
    const silent = { ...first.delta.tensors, [`${path}.patch.biases`]: f32([-1e6]) };
    const dead = withDeltas(model, [makeDelta(tPatcher, parseConfig(tPatcher, {}), silent)]);
    expect(await logitsOf(dead, [request.prompt])).toEqual(await logitsOf(model, [request.prompt]));
    await expect(runMethod(tPatcher, { model, requests: [request] }, { layer: 3 }, context)).rejects.toMatchObject({
      code: "CAPABILITY_MISSING",
    });
  });
});

describe("LoRA", () => {
  it("learns facts in one batch, and with another edit below", async () => {
    const inputs = { model, requests: [request, others[0]!] };
    const options = { steps: 60, lr: 0.05, rank: 4 };
    const { delta, model: edited, curves } = await runMethod(lora, inputs, options, context);
    expect(await says(edited, inputs.requests)).toEqual([true, true]);
    expect(curves.loss!.at(-1)![1]).toBeLessThan(0.5 * curves.loss![0]![1]);
    expect(Object.keys(delta.tensors)).toHaveLength(3 * 2 * 2);
    const second = await runMethod(lora, { ...inputs, requests: [others[1]!], previous: [delta] }, options, context);
    expect(await says(second.model, [others[1]!])).toEqual([true]);
    expect(joinDeltas([delta, second.delta])[0]!.tensors["model.layers.0.self_attn.q_proj.edit.keys"]!.shape).toEqual([8, 8]);
  });

  it("limits: B begins at zero, so that nothing has changed before the first step; only what it is told to learns", async () => {
    const first = await runMethod(lora, { model, requests: [request] }, { steps: 1, lr: 1e-12, layers: [1], targets: ["out"] }, context);
    const [a, b] = ["keys", "values"].map((name) => first.delta.tensors[`model.layers.1.mlp.down_proj.edit.${name}`]!);
    expect(Object.keys(first.delta.tensors)).toHaveLength(2);
    expect(Array.from(b!.data, Number).every((v) => Math.abs(v) < 1e-10)).toBe(true);
    expect(Array.from(a!.data, Number).every((v) => Math.abs(v) <= 1 / Math.sqrt(12))).toBe(true);
    await expect(runMethod(lora, { model, requests: [request] }, { layers: [7] }, context)).rejects.toMatchObject({
      code: "CAPABILITY_MISSING",
    });
  });
});

describe("one editor", () => {
  it.each([grace, wise])("of $id compiles once for twenty edits, each on all before, and for their answers", async (method) => {
    const counting = countingEngine(engine);
    const options = { steps: 2, ...(method === grace ? { epsilon: 0.3 } : {}) };
    const editor = await prepareEditor(method, { model }, options, { ...context, engine: counting });
    const previous: Delta[] = [];
    const compiled: number[] = [];
    const predictor = await createPredictor(counting, model, "next");
    for (let i = 0; i < 20; i++) {
      const one = { ...request, prompt: [1, 3 + (i % 17), 6, 7], target: [(5 * i) % 23] };
      const { delta, model: edited } = await editor.edit([one], previous);
      previous.push(delta);
      await predictor.swap(edited);
      const [kept] = await predictor.predict([one.prompt]);
      compiled.push(counting.counts.compiled);
      if (i % 9 !== 0) continue;
      // What it has kept is what lies in its deltas.
      const apart = await createPredictor(engine, withDeltas(model, joinDeltas(previous)), "next");
      expect((await apart.predict([one.prompt]))[0]!.data).toEqual(kept!.data);
      await apart.dispose();
    }
    // Reader, search (in two) and predictor of the untouched model, predictor of the edited one.
    expect(compiled[0]).toBe(5);
    expect(compiled.at(-1)).toBe(5);
    await editor.dispose();
    await predictor.dispose();
  });
});

it("rows that grow keep what was handed out", () => {
  const first = GrowingRows.of(Float32Array.of(1, 2), 2);
  const [a, b] = [first.with(Float32Array.of(3, 4)), first.with(Float32Array.of(5, 6))];
  const more = a.with(Float32Array.of(7, 8)).replaced(0, Float32Array.of(0, 0));
  expect([first, a, b, more].map((r) => Array.from(r.data))).toEqual([
    [1, 2],
    [1, 2, 3, 4],
    [1, 2, 5, 6],
    [0, 0, 3, 4, 7, 8],
  ]);
  expect(f32(a.data, [2, 2]).data).toHaveLength(4);
});
