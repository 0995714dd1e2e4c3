import { i32 } from "@lfm/core";
import { readExamples } from "@lfm/data";
import { languageModelTask, tokenClassificationTask, type ValidationSet } from "@lfm/train";
import { requireText } from "./models.js";
import type { Sources } from "./sources.js";
import { labelledRows, languageBatch, languageRows } from "./tasks.js";

/** The examples of --valid in their order, each once. Nothing where none are given. */
export async function openValidation(s: Sources): Promise<ValidationSet | undefined> {
  const file = s.text("valid");
  if (file === undefined) return undefined;
  const [reader, labels, examples, o] = [await s.reader(), await s.labels(), readExamples(file), s.batching];
  const rules = requireText(reader);
  const of = (number: number): readonly [number, number] => [number * o.batchSize, (number + 1) * o.batchSize];
  const perEpoch = Math.ceil(examples.rows.length / o.batchSize);
  if (!labels) {
    const rows = languageRows(examples, rules, o.maxLength);
    return { task: languageModelTask("validation", (n) => languageBatch(rows.slice(...of(n))), perEpoch) };
  }
  const rows = labelledRows(examples, labels);
  const batch = (n: number): ReturnType<Parameters<typeof tokenClassificationTask>[1]> => ({
    ...rules.tokenizer.encodeBatch(rows.texts.slice(...of(n)), { maxLength: o.maxLength }),
    labels: i32(rows.labels.slice(...of(n))),
  });
  return { task: tokenClassificationTask("validation", batch, perEpoch) };
}
