import { f32, i32, runMethod } from "@lfm/core";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, linearModel, range } from "../../test/linear-models.js";
import { smallBert, smallTexts } from "../../test/small-bert.js";
import { compileMoved } from "../adversarial/moved-inputs.js";
import { hotflip, measure, promisedFlips } from "./hotflip.js";

const victim = smallBert;
const examples = smallTexts(20, () => 1);

it("breaks more texts with two flips than with one, and none that was wrong counts", async () => {
  const with_ = async (flips: number) =>
    (await runMethod(hotflip, { victim, examples }, { flips, beam: 4, minCosine: -1 }, context)).findings;
  const [one, two] = [await with_(1), await with_(2)];
  expect(one.measured.cleanAccuracy!).toBeGreaterThan(0.5);
  expect(one.risks.success!.value).toBeGreaterThan(0);
  expect(two.risks.success!.value).toBeGreaterThanOrEqual(one.risks.success!.value);
  expect(two.measured.robustAccuracy!).toBeCloseTo(two.measured.cleanAccuracy! * (1 - two.risks.success!.value), 12);
});

it("promises the derivative of the loss towards the other token's vector", async () => {
  const moved = await compileMoved(context.engine, victim, examples);
  const text = [3, 7, 1, 20, 9];
  const flips = await promisedFlips(moved, [text], 1, 40);
  // The best of all: however many are asked for.
  const every = await promisedFlips(moved, [text], 1, 5 * 23);
  expect(every).toHaveLength(5 * 23);
  expect(every.map((f) => f.gain)).toEqual(every.map((f) => f.gain).toSorted((a, b) => b - a));
  expect(flips).toEqual(every.slice(0, 40));
  const [table, step] = [moved.table!.data as Float32Array, 1e-3];
  const batch = { tokens: i32(text, [1, 5]), mask: f32([1, 1, 1, 1, 1], [1, 5]), labels: i32([1]) };
  const lossAt = async (by: Float32Array): Promise<number> => (await moved.answers(batch, by)).losses[0]!;
  for (const { place, token, gain, tokens } of [flips[0]!, flips[39]!]) {
    expect(tokens).toEqual(text.with(place, token));
    const by = (t: number): Float32Array => {
      const out = new Float32Array(40);
      for (let k = 0; k < 8; k++) out[place * 8 + k] = t * (table[token * 8 + k]! - table[text[place]! * 8 + k]!);
      return out;
    };
    expect((await lossAt(by(step))) - (await lossAt(by(-step)))).toBeCloseTo(2 * step * gain, 5);
  }
  // Moved all the way, it is the other token.
  const { losses } = await measure(moved, [flips[0]!.tokens], 1);
  const whole = new Float32Array(40);
  for (let k = 0; k < 8; k++) whole[flips[0]!.place * 8 + k] = table[flips[0]!.token * 8 + k]! - table[text[flips[0]!.place]! * 8 + k]!;
  expect(await lossAt(whole)).toBeCloseTo(losses[0]!, 5);
  await moved.dispose();
});

it("leaves special tokens where they are, and exchanges only what is near enough", async () => {
  const all = range(0, 24);
  expect((await runMethod(hotflip, { victim, examples }, { keep: all }, context)).findings.risks.success!.value).toBe(0);
  expect((await runMethod(hotflip, { victim, examples }, { minCosine: 1 }, context)).findings.risks.success!.value).toBe(0);
  const points = drawPoints(4, 1, 2);
  const inputs = {
    victim: linearModel([
      [1, 0],
      [0, 1],
    ]),
    examples: asExamples(points, range(0, 4)),
  };
  await expect(runMethod(hotflip, inputs, {}, context)).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
});
