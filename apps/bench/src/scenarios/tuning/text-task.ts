import { changedBy, deltaBytes, deltaSize, forgettingMonitor } from "@lfm/core";
import { textTasks } from "@lfm/data";
import { loadZoo } from "@lfm/models/zoo";
import type { TuningOutput } from "@lfm/tuning";
import type { Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { factRetention } from "../zoo/retention.js";
import { answerTask, labelAccuracy, withWrongLabels } from "../zoo/text-answers.js";
import { learns } from "./learns.js";

const TASK = "mood";
const BATCH = 16;
/** Few, and some of them labelled wrong: with 1,024 right ones every method answers everything right. Chosen on the validation sentences of seed 11. */
const SENTENCES = 256;
const WRONG = 0.1;

/** One classification task learned by a language model that knows other things: how well, with how many parameters, at what price. */
export const textTask: Scenario = {
  id: "text-task",
  paradigm: "tuning",
  model: "zoo-lm",
  summary: `Are the adjectives of an opinion good or bad words? ${SENTENCES} training sentences, ${100 * WRONG} % of them labelled wrong; people and sentences of the test are unseen; accuracy of the label's word among the labels.`,
  headline: "accuracy",
  access: ["weights", "grad", "logits", "labels"],
  run: async (cell, context) => {
    const { engine, signal, seed } = context;
    const zoo = await context.shared("zoo", loadZoo);
    const task = await context.shared(`text-task ${seed}`, async () =>
      withWrongLabels(textTasks(zoo.world, { seed, train: SENTENCES }).find((t) => t.id === TASK)!, WRONG, seed),
    );
    const base = await context.shared(`text-task base ${seed}`, () => labelAccuracy(engine, zoo.lm, task, task.test, signal));
    const learning = learns(zoo.lm, answerTask(zoo.world, task, BATCH, seed), zoo.lmHash);
    const started = performance.now();
    const { delta, model, curves } = await runByKind<TuningOutput>("text-task", cell, learning, context);
    const trained = performance.now();
    const accuracy = await labelAccuracy(engine, model, task, task.test, signal);
    const validation = await labelAccuracy(engine, model, task, task.validation, signal);
    const retention = await factRetention(zoo, model, context);
    const params = Object.values(zoo.lm.info.params).reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0);
    return {
      metrics: {
        accuracy: { value: accuracy, unit: "fraction", higherIsBetter: true, note: "512 test sentences", base },
        validationAccuracy: {
          value: validation,
          unit: "fraction",
          higherIsBetter: true,
          note: "256 sentences on which settings were chosen",
        },
        baseAccuracy: { value: base, unit: "fraction", higherIsBetter: true, note: "the untouched model on the test sentences" },
        trainedShare: {
          value: deltaSize(delta) / params,
          unit: "fraction",
          higherIsBetter: false,
          note: "learned parameters / parameters of the model",
        },
      },
      retention,
      trainableParams: deltaSize(delta),
      bytes: deltaBytes(delta),
      queries: 0,
      dataUsed: task.train.length,
      monitors: [forgettingMonitor(retention, changedBy(delta, zoo.lm))],
      curves,
      phasesMs: { train: trained - started, evaluate: performance.now() - trained },
      modelHash: zoo.lmHash,
    };
  },
};
