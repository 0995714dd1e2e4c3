import { type HostTensor, LfmError, type Model, type Weights } from "@lfm/core";
import { labelledRows, learnedRows, taskKind } from "@lfm/tuning";
import { measureClassifier, measureLanguage } from "../outputs/measure.js";
import { classNames } from "./labels.js";
import { requireText } from "./models.js";
import type { Sources } from "./sources.js";

/**
 * The score of weights on the examples of --data, mean over files: the share of right answers, or under `lower_is_better` the loss.
 * @throws {LfmError} CONFIG_INVALID for texts that have no right answer
 */
export async function openScore(s: Sources): Promise<(params: Readonly<Record<string, HostTensor>>) => Promise<number>> {
  const [m, sets, o] = [await s.reader(), await s.examples(), s.batching];
  const { engine } = s.context;
  const [rules, loss] = [requireText(m), s.config.lower_is_better === true];
  if (!loss && sets.some((set) => set.kind === "text"))
    throw new LfmError("CONFIG_INVALID", "lfm: plain text has no right answers to count", { hint: "--lower-is-better" });
  const language = taskKind(m.model) === "language";
  const measures = sets.map((examples): ((model: Model) => Promise<number>) => {
    if (language) {
      const rows = learnedRows(examples, rules, o, (m) => s.job.log(m));
      return async (model) => (await measureLanguage(engine, model, rows, o)).metrics[loss ? "loss" : "exactMatch"];
    }
    const rows = labelledRows(examples, classNames(m));
    return async (model) => (await measureClassifier(engine, model, rows, rules.tokenizer, o))[loss ? "loss" : "accuracy"];
  });
  return async (params: Weights) => {
    const model = { ...m.model, params: { ...m.model.params, ...params } };
    let sum = 0;
    for (const measure of measures) sum += await measure(model);
    return sum / measures.length;
  };
}
