import {
  compile,
  concat,
  type ForwardContext,
  f32,
  full,
  gather,
  grad,
  type HostTensor,
  hookInput,
  i32,
  linear,
  type Outputs,
  ortEngine,
  Rng,
  type Site,
  sym,
  type Tensor,
} from "@lfm/core";
import { describe, expect, it } from "vitest";
import { scoredHead, scoredPositions, scoredSpec, scoredTokens } from "./scored-positions.js";
import { nextTokens, scoredLoss } from "./task.js";

const [VOCABULARY, WIDTH, SEQ] = [7, 3, 5];
const rng = new Rng(3);
const normal = (...shape: number[]): HostTensor => f32(rng.normalArray(shape.reduce((a, b) => a * b, 1)), shape);
const params = { table: normal(VOCABULARY, WIDTH), head: normal(VOCABULARY, WIDTH) };
const tokens = i32([1, 2, 3, 4, 5, 6, 0, 1, 3, 3], [2, SEQ]);
const weights = f32([9, 0, 0, 1, 2, 9, 0, 0.5, 0, 0], [2, SEQ]);
const head: Site = { path: "head", kind: "head" };

/** The smallest model with a head, `prefix` positions put in front of the tokens. */
function forward(p: Readonly<Record<string, Tensor>>, ids: Tensor, context: ForwardContext, prefix: number): Outputs {
  const own = gather(p.table!, ids);
  const x = prefix > 0 ? concat([full([own.dim(0), prefix, WIDTH], 1), own], 1) : own;
  return { logits: linear(hookInput(x, head, { ...context, prefix }), p.head!, undefined), prefix };
}

describe("scored positions", () => {
  it("are those before tokens that count; the first token of a sequence is never predicted", () => {
    const found = scoredPositions(weights);
    expect([found.dtype, found.shape, [...found.data]]).toEqual(["i32", [3], [2, 3, 6]]);
    expect([...scoredPositions(f32([5, 0, 0, 0], [2, 2])).data]).toEqual([0]);
  });

  it.each([0, 2])("give the loss and the gradients of all positions (%i in front)", async (prefix) => {
    const engine = await ortEngine({ threads: 1 });
    const text = { dtype: "i32", shape: [sym("batch"), sym("seq")] } as const;
    const spec = (t: HostTensor) => ({ dtype: t.dtype, shape: t.shape });
    const inputs = {
      params: { table: spec(params.table), head: spec(params.head) },
      tokens: text,
      weights: { ...text, dtype: "f32" },
      scored: scoredSpec,
    } as const;
    const run = await compile(engine, inputs, (x) => {
      const all = scoredLoss(nextTokens(forward(x.params, x.tokens, { mode: "train" }, prefix), x.tokens, x.weights)).loss;
      const context: ForwardContext = { mode: "train", hooks: [scoredHead(x.scored, x.tokens)] };
      const out = forward(x.params, x.tokens, context, prefix);
      expect(out.logits!.rank).toBe(2);
      const few = scoredLoss(scoredTokens(out, x.tokens, x.weights, x.scored)).loss;
      return { all, few, gAll: grad(all, x.params), gFew: grad(few, x.params) };
    });
    const out = await run({ params, tokens, weights, scored: scoredPositions(weights) });
    expect(out.few.data[0]).toBeCloseTo(Number(out.all.data[0]), 6);
    for (const name of ["table", "head"] as const)
      out.gAll[name].data.forEach((v, i) => {
        expect(Number(out.gFew[name].data[i]), `${name}[${i}]`).toBeCloseTo(Number(v), 6);
      });
    await engine.dispose();
  });
});
