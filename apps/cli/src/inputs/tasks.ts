import { type HostTensor, i32, LfmError, type Model, padRows, padValues, Rng } from "@lfm/core";
import type { Examples } from "@lfm/data";
import type { Tokenizer } from "@lfm/formats";
import { idsOfBoth, idsOfText, type TextRules } from "@lfm/models";
import { createSampler, type LearningTask, languageModelTask, type Sampler, tokenClassificationTask } from "@lfm/train";

export interface BatchOptions {
  readonly batchSize: number;
  /** Tokens per example, longer ones are cut. */
  readonly maxLength: number;
  readonly seed: number;
}

/** Tokens of one example; weight 1 on tokens that are to be learned. */
export interface TokenRow {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
}

/** Prompt and completion (only the completion is learned), or a whole text, begun and closed as the model's folder says. */
export function languageRows(examples: Examples, rules: TextRules, maxLength: number): TokenRow[] {
  const { start, close } = rules;
  const cut = (head: readonly number[], tail: readonly number[]): TokenRow => {
    const ids = [...head, ...tail].slice(0, maxLength);
    return { ids, weights: ids.map((_, i) => (i >= head.length && i > 0 ? 1 : 0)) };
  };
  const answered = (prompt: string, completion: string): TokenRow => {
    const { head, tail } = idsOfBoth(rules, prompt, joint(prompt, completion));
    return cut([...start, ...head], [...tail, ...close]);
  };
  switch (examples.kind) {
    case "regression":
    case "messages":
      throw new LfmError("CONFIG_INVALID", `lfm: a language model does not learn from ${examples.kind} here`, {
        hint: "give prompt + completion",
      });
    case "completion":
      return examples.rows.map((r) => answered(r.prompt, r.completion));
    case "classification":
      return examples.rows.map((r) => answered(r.text, r.label));
    case "text":
      return examples.rows.map((r) => cut(start, [...idsOfText(rules, r.text), ...close]));
  }
}

/** A completion begins a new word unless the file already says how it joins. */
export function joint(prompt: string, completion: string): string {
  return /\s$/.test(prompt) || /^\s/.test(completion) ? completion : ` ${completion}`;
}

/** Language modelling over rows, right-padded; every epoch shows each once, in an order of its own. */
export function languageTask(rows: readonly TokenRow[], o: BatchOptions): LearningTask {
  const sampler = samplerOf(rows.length, o);
  const batch = (number: number): ReturnType<typeof languageBatch> => languageBatch(sampler.batch(number).map((i) => rows[i]!));
  return languageModelTask("examples", batch, sampler.perEpoch);
}

/**
 * i32[n, seq] and f32[n, seq], right-padded; two columns at least, for something must follow something. What fills rows up is seen by no token
 * before it and weighs nothing: any id does that the model has.
 */
export function languageBatch(rows: readonly TokenRow[]): { readonly tokens: HostTensor; readonly weights: HostTensor } {
  const { tokens } = padRows(
    rows.map((r) => r.ids),
    { length: 2 },
  );
  const weights = rows.map((r) => r.weights);
  return { tokens, weights: padValues("f32", weights, { length: 2 }) };
}

export interface LabelledRows {
  readonly texts: readonly string[];
  readonly labels: Int32Array;
}

/** Label names in a fixed order: numbers by value, words by alphabet. */
export function labelNames(examples: Examples): string[] {
  if (examples.kind !== "classification")
    throw new LfmError("CONFIG_INVALID", "lfm: a classifier learns from examples with text and label");
  const names = [...new Set(examples.rows.map((r) => r.label))];
  return names.every((n) => n.trim() !== "" && Number.isFinite(Number(n))) ? names.sort((a, b) => Number(a) - Number(b)) : names.sort();
}

/** @throws {LfmError} CONFIG_INVALID for a label that is not among `names` */
export function labelledRows(examples: Examples, names: readonly string[]): LabelledRows {
  if (examples.kind !== "classification")
    throw new LfmError("CONFIG_INVALID", "lfm: a classifier learns from examples with text and label");
  const index = new Map(names.map((n, i) => [n, i]));
  const labels = examples.rows.map((r) => {
    const k = index.get(r.label);
    if (k === undefined) throw new LfmError("CONFIG_INVALID", `lfm: the label "${r.label}" does not occur in the training examples`);
    return k;
  });
  return { texts: examples.rows.map((r) => r.text), labels: Int32Array.from(labels) };
}

export function classificationTask(rows: LabelledRows, tokenizer: Tokenizer, o: BatchOptions): LearningTask {
  const sampler = samplerOf(rows.texts.length, o);
  const batch = (number: number): ReturnType<LearningTask["batches"]> => {
    const picked = sampler.batch(number);
    const texts = picked.map((k) => rows.texts[k]!);
    return { ...tokenizer.encodeBatch(texts, { maxLength: o.maxLength }), labels: i32(Int32Array.from(picked, (k) => rows.labels[k]!)) };
  };
  return tokenClassificationTask("examples", batch, sampler.perEpoch);
}

/** Every epoch shows each example once. */
export function samplerOf(count: number, o: BatchOptions): Sampler {
  return createSampler({ count, batchSize: o.batchSize, rng: new Rng(o.seed).split("epochs") });
}

/** What kind of task a model of this kind learns from text. @throws {LfmError} CAPABILITY_MISSING */
export function taskKind(model: Model): "language" | "classification" {
  if (model.info.task === "causal-lm") return "language";
  if (model.info.task === "seq2seq-lm")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `lfm: ${model.info.architecture} has an encoder and a decoder; no task here has text for both`,
      {
        hint: "use the package's API: its forward pass takes `decoder`",
      },
    );
  if (model.info.input === "tokens") return "classification";
  throw new LfmError("CAPABILITY_MISSING", `lfm: ${model.info.architecture} reads ${model.info.input}, not text`, {
    hint: "use the package's API for images and features",
  });
}
