import { constant, gather, type HostTensor, i32, LfmError, padRows, Rng, squeeze, sym } from "@lfm/core";
import type { Examples } from "@lfm/data";
import { idsOfBoth, idsOfText, rowsAt, type TextRules } from "@lfm/models";
import type { Corpus, TaskProbe } from "@lfm/statistics";
import { tokenInput, tokenSpec } from "@lfm/train";
import {
  type BatchOptions,
  inOrder,
  joint,
  languageRows,
  samplerOf,
  single,
  type TextRows,
  taskKind,
  textBatch,
  textRows,
} from "@lfm/tuning";
import { type OpenedModel, requireText } from "./models.js";

/** tokens and mask; segments of pairs. */
type Batch = Readonly<Record<"tokens" | "mask", HostTensor>> & { readonly segments?: HostTensor };

/**
 * What a model answers to unlabelled examples: a classifier its logits, a language model its next token where prompt (or text) ends; with
 * text + label only first tokens of labels count as answers.
 * @throws {LfmError} CAPABILITY_MISSING for a model that answers neither way, CONFIG_INVALID for labels that begin alike
 */
export function answerProbe(name: string, m: OpenedModel, examples: Examples, o: BatchOptions): TaskProbe {
  const { model } = m;
  const rules = requireText(m);
  const sampler = samplerOf(examples.rows.length, o);
  if (taskKind(model) === "classification") {
    if (model.info.task !== "classifier")
      throw new LfmError("CAPABILITY_MISSING", `lfm: ${m.name} is an ${model.info.task}: it gives no answers to look at`, {
        hint: "give a language model, or a folder of a classifier (BertForSequenceClassification)",
      });
    const rows = textsToAnswer(examples);
    const pairs = { pairs: rows.pairs !== undefined };
    return {
      name,
      batch: tokenSpec(pairs),
      batches: (step) => textBatch(rows, sampler.batch(step), rules.tokenizer, o.maxLength),
      input: tokenInput(pairs),
      scored: ({ logits }) => ({ logits: logits! }),
    };
  }
  requireOneText(m);
  const prompts = promptRows(examples, rules, o.maxLength);
  const answers = examples.kind === "classification" ? firstTokens(examples, rules) : undefined;
  return {
    name,
    input: tokenInput({}),
    batch: { ...tokenSpec({}), end: { dtype: "i32", shape: [sym("batch")] } },
    batches: (step) => {
      const rows = sampler.batch(step).map((k) => prompts[k]!);
      return { ...padRows(rows, { length: 2 }), end: i32(rows.map((r) => r.length - 1)) };
    },
    scored: ({ logits }, { tokens, end }) => {
      const last = squeeze(rowsAt(logits!, end!, tokens!.dim(1)), 1);
      return { logits: answers ? gather(last, constant(i32(answers)), 1) : last };
    },
  };
}

/** All examples once, in their order: tokens i32[n, seq] and mask f32[n, seq], completions with them. */
export function activationBatches(m: Pick<OpenedModel, "name" | "model" | "text">, sets: readonly Examples[], o: BatchOptions): Batch[] {
  const rules = requireText(m);
  const language = taskKind(m.model) === "language";
  requireOneText(m);
  return sets.flatMap((examples) => {
    const whole = language ? languageRows(examples, rules, o.maxLength).map((r) => r.ids) : [];
    const texts = language ? undefined : textsToAnswer(examples);
    const { batch, perEpoch } = inOrder(examples.rows.length, o.batchSize);
    return Array.from({ length: perEpoch }, (_, i) =>
      texts
        ? textBatch(texts, batch(i), rules.tokenizer, o.maxLength)
        : padRows(
            batch(i).map((k) => whole[k]!),
            { length: 2 },
          ),
    );
  });
}

/** @throws {LfmError} CAPABILITY_MISSING for an encoder-decoder, which reads two texts where one is looked at here */
function requireOneText({ name, model }: Pick<OpenedModel, "name" | "model">): void {
  if (model.info.task === "seq2seq-lm")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `lfm: ${name} has an encoder and a decoder: what is asked here is looked at in models of one text`,
    );
}

/** So many examples at random: files are often sorted. */
export function drawn<E extends Examples>(examples: E, samples: number, seed: number): E {
  return {
    ...examples,
    rows: new Rng(seed)
      .split("samples")
      .shuffle([...examples.rows])
      .slice(0, samples),
  };
}

/** What flows through a model that reads the examples, all of them once, completions with their prompts. */
export function corpusOf(m: Pick<OpenedModel, "name" | "model" | "text">, examples: Examples, o: BatchOptions): Corpus {
  const batches = activationBatches(m, [examples], o);
  const pairs = { pairs: batches[0]?.segments !== undefined };
  return {
    name: "examples",
    batch: tokenSpec(pairs),
    batches: (step) => batches[step]!,
    input: tokenInput(pairs),
    samples: examples.rows.length,
  };
}

/** Ids of what stands before the answer; of a long prompt the end is kept, for there the answer begins. */
export function promptRows(examples: Examples, rules: TextRules, maxLength: number): readonly (readonly number[])[] {
  return promptsOf(examples).map((text) =>
    [...rules.start, ...idsOfText(rules, text)].slice(-Math.min(maxLength, rules.maxLength ?? maxLength)),
  );
}

/** What a language model goes on from. */
function promptsOf(examples: Examples): readonly string[] {
  if (examples.kind === "completion") return examples.rows.map((r) => r.prompt);
  if (examples.kind !== "messages") return examples.rows.map(single);
  throw new LfmError("CONFIG_INVALID", "lfm: conversations have no single text to look at", { hint: "give text, or prompt + completion" });
}

/** What an encoder reads: texts or pairs of them; of completions the prompts. */
function textsToAnswer(examples: Examples): TextRows {
  if (examples.kind === "completion" || examples.kind === "messages") return { texts: promptsOf(examples) };
  return textRows(examples.rows);
}

function firstTokens({ rows }: Extract<Examples, { kind: "classification" }>, rules: TextRules): readonly number[] {
  const ids = new Set(rows.map((r) => idsOfBoth(rules, r.text, joint(r.text, r.label)).tail[0]!));
  if (ids.size > 1) return [...ids].sort((a, b) => a - b);
  throw new LfmError("CONFIG_INVALID", "lfm: all labels begin with the same token: a model cannot be unsure between them", {
    hint: "give the examples as prompt + completion: then any token is an answer",
  });
}
