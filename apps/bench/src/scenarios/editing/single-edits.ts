import { forgettingMonitor, LfmError } from "@lfm/core";
import { textRules } from "@lfm/models";
import { loadZoo, zooTokenizer } from "@lfm/models/zoo";
import { z } from "zod";
import type { Scenario } from "../../scenario.js";
import { recallPrompts, retentionOf } from "../zoo/retention.js";
import { editLatency } from "./edit-latency.js";
import { editOutcome, evaluateEdits, readUntouched } from "./evaluate-edits.js";
import { copyOf, editorOptions, openEditor, sameWeights } from "./open-editor.js";
import { type OtherScores, openOtherTasks, otherMetrics } from "./other-tasks.js";
import { zooEdits } from "./zoo-edits.js";

const options = z.strictObject({
  ...editorOptions,
  edits: z.number().int().positive().default(50).describe("edits, each made on the untouched model"),
  watched: z.number().int().positive().default(5).describe("edits after which other tasks are asked too"),
  people: z.enum(["test", "development"]).default("test").describe("whose facts: settings are chosen on those of development"),
});

/** Tokens of a text that is written about a subject. */
const WRITTEN = 16;
/** Of a batch whose time is taken. */
const TIMED = 16;

/** Every axis of the benchmark, after single edits. */
export const singleEdits: Scenario = {
  id: "single-edits",
  paradigm: "editing",
  model: "zoo-lm",
  summary:
    "Single edits of facts that the model knows, each from the untouched model. Score is the mean of efficacy, generalisation and portability (what the model goes on with by itself begins with what the edit brings) and locality (what comes first stays, from other facts of the subject to unrelated ones). Aliases are cities by who lives there; the inverse cannot be asked of this model.",
  headline: "score",
  access: ["weights", "grad", "activations", "logits", "tokenizer"],
  options,
  run: async (cell, context) => {
    const { engine, seed, signal } = context;
    const sizes = options.parse(cell.options ?? {});
    const zoo = await context.shared("zoo", loadZoo);
    const base = { model: zoo.lm, rules: textRules(zooTokenizer(zoo.world), { limits: zoo.lm.info }) };
    const { edits: count, people } = sizes;
    const key = `${people} ${seed} ${count}`;
    const edits = await context.shared(`single edits ${key}`, () => zooEdits(zoo, engine, { seed, count, people }));
    const before = await context.shared(`single edits before ${key}`, () => readUntouched(base, edits, WRITTEN, context));
    const others = await openOtherTasks(zoo, seed, context);
    const editor = await openEditor(zoo, cell, context, sizes.editorSteps);
    try {
      const weights = copyOf(zoo.lm);
      const otherBefore = await context.shared(`other tasks before ${seed}`, () => others.measure(zoo.lm, signal));
      const otherAfter: OtherScores[] = [];
      const watch = async (model: typeof zoo.lm, i: number): Promise<void> => {
        if (i < sizes.watched) otherAfter.push(await others.measure(model, signal));
      };
      const evaluation = await evaluateEdits(base, edits, editor, { before, tokens: WRITTEN, watch }, context);
      if (!sameWeights(zoo.lm, weights))
        throw new LfmError("INTERNAL", `[@lfm/bench] ${cell.method.id}: the model is not what it was after its edits were dropped`);
      const rows = recallPrompts(zoo.world)
        .slice(0, TIMED)
        .map((p) => [zoo.world.vocabulary.bos, ...zoo.world.vocabulary.encode(p.prompt)]);
      const retention = {
        ...retentionOf(otherBefore.reading, otherAfter.reduce((s, o) => s + o.reading, 0) / otherAfter.length),
        of: "answers that stand in passages",
      };
      const latency = await editLatency(engine, zoo.lm, evaluation.last.model, rows);
      return {
        ...editOutcome(evaluation),
        metrics: { ...evaluation.metrics, ...otherMetrics(otherAfter, otherBefore), latency },
        retention,
        monitors: [forgettingMonitor(retention)],
        modelHash: zoo.lmHash,
      };
    } finally {
      await editor.dispose();
      await others.dispose();
    }
  },
};
