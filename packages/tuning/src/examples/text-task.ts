import { LfmError, type Model } from "@lfm/core";
import type { Examples } from "@lfm/data";
import type { TextRules } from "@lfm/models";
import type { LearningTask } from "@lfm/train";
import { answeredRows, answeredTask, type Goal, labelNames } from "./answered-rows.js";
import { packedTask } from "./packed-rows.js";
import { languageTask, learnedRows, samplerOf, taskKind } from "./token-rows.js";

export interface TextTaskOptions {
  /** Examples a step. Default 8. */
  readonly batchSize?: number;
  /** Tokens per example, longer ones are cut. Default 128, or what the model reads at most. */
  readonly maxLength?: number;
  /** Of the order of examples. Default 0. */
  readonly seed?: number;
  /** Several examples of a language model share a row of `maxLength` tokens, kept apart; `batchSize` counts rows. Default false. */
  readonly pack?: boolean;
  /** Told what is cut or left out. */
  readonly log?: (message: string) => void;
}

/**
 * What a model learns from examples of text: a language model completions (of prompt + completion, or text + label) or whole texts, an
 * encoder-decoder completions as answers, an encoder with a head the classes or values of texts and pairs.
 * @param read what `loadModel` read of a folder
 * @throws {LfmError} CAPABILITY_MISSING for a model without tokenizer, or that reads no text; CONFIG_INVALID for examples that it cannot learn from
 * @example const task = textTask(readExamples("train.csv"), await loadModel("./model"));
 */
export function textTask(
  examples: Examples,
  { model, text }: { readonly model: Model; readonly text?: TextRules },
  { batchSize = 8, maxLength = 128, seed = 0, pack = false, log = () => {} }: TextTaskOptions = {},
): LearningTask {
  if (!text) throw new LfmError("CAPABILITY_MISSING", "[@lfm/tuning] textTask: the model comes without a tokenizer");
  const options = { batchSize, maxLength: Math.min(maxLength, model.info.maxLength ?? maxLength), seed };
  if (taskKind(model) === "language") return (pack ? packedTask : languageTask)(learnedRows(examples, text, options, log), options);
  if (pack) throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] examples of a language model are packed, not those of classes or values");
  const goal: Goal = examples.kind === "regression" ? { kind: "value" } : { kind: "classes", names: labelNames(examples) };
  const rows = answeredRows(examples, goal);
  return answeredTask("examples", rows, text.tokenizer, options, samplerOf(rows.texts.length, options));
}
