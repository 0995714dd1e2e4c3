import { compile, full, type HostTensor, type Model, type ParamTree, padRows, referenceEngine } from "@lfm/core";
import { softPrompt } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { smallLlama } from "../test/small-llama.js";
import { behindFront, cutRows, cutSpec } from "./cut-rows.js";

const rows = [
  { tokens: [1, 5, 9, 2, 7, 4], subject: 3, answer: 2 },
  { tokens: [1, 8, 6, 3, 9, 2, 7, 4], subject: 5, answer: 2 },
  { tokens: [3, 5], subject: 0, answer: 0 },
];

describe("rows cut before a token", () => {
  it("have what stands before and behind, and where answers are predicted", () => {
    const cut = cutRows(rows, smallLlama.info);
    expect(cut.front).toMatchObject({ shape: [3, 5], data: Int32Array.of(1, 5, 9, 0, 0, 1, 8, 6, 3, 9, 0, 0, 0, 0, 0) });
    expect(cut.frontMask.data).toEqual(Float32Array.of(1, 1, 1, 0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0));
    expect(cut.tokens).toMatchObject({ shape: [3, 3], data: Int32Array.of(2, 7, 4, 2, 7, 4, 3, 5, 0) });
    expect(cut.positions.data).toEqual(Int32Array.of(3, 4, 5, 5, 6, 7, 0, 1, 2));
    expect([cut.at, cut.scored, cut.targets, cut.last].map(({ data }) => [...data])).toEqual([[3, 5, 0], [0, 1, 3, 4], [7, 4, 7, 4], [0]]);
  });

  it("that a model cannot go on with from a cache stay whole", () => {
    const cut = cutRows(rows, { ...smallLlama.info, cacheBreak: 7 });
    expect(cut.tokens.shape).toEqual([3, 8]);
    expect(cut.frontMask.data).toEqual(new Float32Array(3));
    expect([cut.at, cut.scored, cut.last].map(({ data }) => [...data])).toEqual([[3, 5, 0], [3, 4, 13, 14], [0]]);
  });

  const prompted: Model = {
    ...smallLlama,
    forward: (params, input, context) =>
      smallLlama.forward(params, input, { ...context, hooks: [softPrompt(full([2, 8], 0.3)), ...(context.hooks ?? [])] }),
  };
  it.each([
    ["a model", smallLlama, 0],
    ["one with a prompt in front", prompted, 2],
  ])("give what whole rows give: %s", async (_name, model, prefix) => {
    const engine = referenceEngine();
    const options = { frozen: model.params };
    const whole = padRows(rows.map((row) => row.tokens));
    const spec = { tokens: { dtype: "i32", shape: whole.tokens.shape }, mask: { dtype: "f32", shape: whole.mask.shape } } as const;
    const all = await compile(engine, spec, (input, params: ParamTree) => model.forward(params, input, { mode: "eval" }).logits!, options);
    const expected = await all(whole);
    const logits = (t: HostTensor, row: number, place: number): readonly number[] => {
      const [, seq, vocab] = t.shape as readonly [number, number, number];
      return [...(t.data as Float32Array).subarray((row * seq + place) * vocab, (row * seq + place + 1) * vocab)];
    };
    for (const info of [model.info, { ...model.info, cacheBreak: 7 }]) {
      const cut = cutRows(rows, info);
      const behind = await compile(
        engine,
        cutSpec,
        (batch, params: ParamTree) => {
          const run = behindFront(model, params, batch);
          return { every: run([]).logits!, last: run([], "last").logits! };
        },
        options,
      );
      const { every, last } = await behind(cut);
      for (const [i, { tokens }] of rows.entries())
        for (let place = Number(cut.positions.data[i * cut.tokens.shape[1]!]); place < tokens.length; place++) {
          const own = place - Number(cut.positions.data[i * cut.tokens.shape[1]!]);
          for (const [k, v] of logits(expected, i, prefix + place).entries()) {
            expect(logits(every, i, own)[k]).toBeCloseTo(v, 5);
            if (i === rows.length - 1) expect(logits(last, 0, own)[k]).toBeCloseTo(v, 5);
          }
        }
    }
  });
});
