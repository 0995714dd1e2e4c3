import {
  changedBy,
  deltaBytes,
  deltaSize,
  type Engine,
  forgettingMonitor,
  type Model,
  type Provider,
  provider,
  withDeltas,
} from "@lfm/core";
import { type TextTask, textTasks } from "@lfm/data";
import { hashWeights } from "@lfm/formats";
import { createPromptBox, initWeights, promptBoxInput, textRules, textRulesInput } from "@lfm/models";
import { loadZoo, type Zoo, zooTokenizer } from "@lfm/models/zoo";
import { answersInput, type BlackBoxTuningOutput, choicesInput, type TuningOutput } from "@lfm/tuning";
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

/** What stands in for the model, the number of its training sentences, and how many of these are labelled wrong. */
interface TextTaskForm {
  readonly id: string;
  readonly model: string;
  readonly about: string;
  readonly sentences: number;
  readonly wrong: number;
  base(zoo: Zoo, seed: number): Promise<{ readonly model: Model; readonly hash: string }>;
}

const zooBase: TextTaskForm["base"] = async ({ lm, lmHash }) => ({ model: lm, hash: lmHash });

/** One classification task learned by a language model that knows other things: how well, with how many parameters, at what price. */
export const textTask = textTaskOf({
  id: "text-task",
  model: "zoo-lm",
  about: `${SENTENCES} training sentences, ${100 * WRONG} % of them labelled wrong`,
  sentences: SENTENCES,
  wrong: WRONG,
  base: zooBase,
});

/** The same from as few examples as people write by hand. */
export const textTaskFew = textTaskOf({
  id: "text-task-few",
  model: "zoo-lm",
  about: "16 training sentences",
  sentences: 16,
  wrong: 0,
  base: zooBase,
});

/** The same by a model that knows nothing: where a base has nothing to adapt, methods that change little fall behind those that change all. */
export const textTaskRandom = textTaskOf({
  id: "text-task-random",
  model: "zoo-lm, random weights",
  about: `${SENTENCES} training sentences, ${100 * WRONG} % of them labelled wrong; the model's weights are random`,
  sentences: SENTENCES,
  wrong: WRONG,
  base: async ({ lm }, seed) => {
    const params = initWeights(lm.info, { seed });
    return { model: { ...lm, params }, hash: await hashWeights(params) };
  },
});

function textTaskOf({ id, model: modelName, about, sentences, wrong, base: baseOf }: TextTaskForm): Scenario {
  return {
    id,
    paradigm: "tuning",
    model: modelName,
    summary: `Are the adjectives of an opinion good or bad words? ${about}; people and sentences of the test are unseen; accuracy of the label's word among the labels.`,
    headline: "accuracy",
    access: ["weights", "grad", "logits", "labels"],
    run: async (cell, context) => {
      const { engine, signal, seed } = context;
      const zoo = await context.shared("zoo", loadZoo);
      const task = await context.shared(`${id} ${seed}`, async () =>
        withWrongLabels(textTasks(zoo.world, { seed, train: sentences }).find((t) => t.id === TASK)!, wrong, seed),
      );
      const untouched = await context.shared(`${id} model ${seed}`, () => baseOf(zoo, seed));
      const base = await context.shared(`${id} base ${seed}`, () => labelAccuracy(engine, untouched.model, task, task.test, signal));
      const learning = learns(untouched.model, answerTask(zoo.world, task, BATCH, seed), untouched.hash);
      const started = performance.now();
      const read = inWords(engine, untouched.model, zoo, task);
      const output = await runByKind<TuningOutput | BlackBoxTuningOutput>(id, cell, [...learning, ...read], context);
      const { delta, curves } = output;
      const model = withDeltas(untouched.model, [delta]);
      const trained = performance.now();
      const accuracy = await labelAccuracy(engine, model, task, task.test, signal);
      const validation = await labelAccuracy(engine, model, task, task.validation, signal);
      // A model without knowledge has none to lose.
      const retention = untouched.hash === zoo.lmHash ? await factRetention(zoo, model, context) : null;
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
        queries: "queries" in output ? output.queries : 0,
        dataUsed: task.train.length,
        monitors: retention ? [forgettingMonitor(retention, changedBy(delta, zoo.lm))] : [],
        curves,
        phasesMs: { train: trained - started, evaluate: performance.now() - trained },
        modelHash: untouched.hash,
      };
    },
  };
}

/** The task as words: for prompts that begin with them, and for methods that only ask. */
function inWords(engine: Engine, model: Model, zoo: Zoo, task: TextTask): readonly Provider[] {
  const rules = textRules(zooTokenizer(zoo.world), { limits: model.info });
  const names = task.labels.map((id) => rules.tokenizer.decode([id]));
  return [
    provider(textRulesInput, () => rules),
    provider(answersInput, () => names),
    provider(promptBoxInput, () => createPromptBox(engine, model, { budget: Number.MAX_SAFE_INTEGER })),
    provider(choicesInput, () => ({
      prompts: task.train.map((item) => item.prompt),
      completions: task.train.map((item) => [item.answer]),
      labels: Int32Array.from(task.train, (item) => item.label),
      answers: task.labels.map((place, k) => ({ text: names[k]!, place })),
    })),
  ];
}
