import { isLfmError, type LfmError, runMethod } from "@lfm/core";
import { compileValidation, type LearningTask } from "@lfm/train";
import { expect, it } from "vitest";
import { context, engine, model, old, task } from "../../test/small-classifier.js";
import { full } from "../methods/full.js";
import { withReplay } from "./replay.js";

const lossOf = async (of: LearningTask): Promise<number> => {
  const { measure, dispose } = await compileValidation(engine, model, { task: of }, { learned: {} });
  const { loss } = await measure({ params: {}, buffers: {}, optimizer: {}, carry: {} });
  await dispose();
  return loss!;
};

it("is the new loss plus weight times the old one, of batches of different sizes", async () => {
  expect(task.batches(0).x!.shape).not.toEqual(old.batches(0).x!.shape);
  const expected = (await lossOf(task)) + 2.5 * (await lossOf(old));
  expect(await lossOf(withReplay(task, old, 2.5))).toBeCloseTo(expected, 5);
  const { curves } = await runMethod(full, { model, task, replay: old }, { steps: 1, against: ["replay"], replayWeight: 2.5 }, context);
  expect(curves.loss![0]![1]).toBeCloseTo(expected, 5);
  expect(curves.replay![0]![1]).toBeCloseTo(await lossOf(old), 5);
});

it("keeps what it replays: the old loss does not rise as it does without", async () => {
  const run = (against: ("replay" | "l2-sp")[]) =>
    runMethod(full, { model, task, replay: old }, { steps: 40, lr: 0.05, against, l2spAlpha: 1e-9 }, context);
  const after = async (against: ("replay" | "l2-sp")[]): Promise<number> => {
    const { model: tuned } = await run(against);
    const { measure, dispose } = await compileValidation(engine, tuned, { task: old }, { learned: {} });
    const { loss } = await measure({ params: {}, buffers: {}, optimizer: {}, carry: {} });
    await dispose();
    return loss!;
  };
  expect(await after(["replay"])).toBeLessThan((await after(["l2-sp"])) / 2);
});

it("asks for the examples that it replays", async () => {
  const refused: unknown = await runMethod(full, { model, task }, { steps: 1, against: ["replay"] }, context).catch((e: unknown) => e);
  expect(isLfmError(refused, "CONFIG_INVALID") && (refused as LfmError).hint).toContain("--replay");
});
