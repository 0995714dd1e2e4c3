import { LfmError, type Model, padRows, padValues, Rng } from "@lfm/core";
import { type Examples, missingColumns, type TextRow } from "@lfm/data";
import { chatIds, idsOfBoth, idsOfText, promptIds, requireRead, type TextRules } from "@lfm/models";
import { createSampler, type LearningTask, languageModelTask, type PredictedBatch, type PredictedRows, type Sampler } from "@lfm/train";

export interface BatchOptions {
  readonly batchSize: number;
  /** Tokens per example, longer ones are cut. */
  readonly maxLength: number;
  readonly seed: number;
  /** Batches are filled with examples of similar length. Default false. */
  readonly groupByLength?: boolean;
}

/** Tokens of one example; weight 1 on tokens that are to be learned. */
export interface TokenRow {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
  /** What an encoder reads, where the tokens are its decoder's: the answer behind the token that it begins with. */
  readonly source?: readonly number[];
  /** Tokens that it had before it was cut. */
  readonly whole: number;
}

/** Prompt and completion (only the completion is learned), a conversation (only what the assistant says), or a whole text, begun and closed as the model's folder says. */
export function languageRows(examples: Examples, rules: TextRules, maxLength: number): TokenRow[] {
  if (rules.answers) return answerRows(examples, rules, maxLength);
  const { start, close } = rules;
  requireRead(rules, [...start, ...close]);
  const length = lengthRead(rules, maxLength);
  const cut = (head: readonly number[], tail: readonly number[]): TokenRow => {
    const all = [...head, ...tail];
    const ids = all.slice(0, length);
    return { ids, weights: ids.map((_, i) => (i >= head.length && i > 0 ? 1 : 0)), whole: all.length };
  };
  const answered = (prompt: string, completion: string): TokenRow => {
    const { head, tail } = answeredIds(rules, prompt, completion);
    return cut(head, tail);
  };
  switch (examples.kind) {
    case "regression":
      throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] a language model does not learn values", { hint: "give prompt + completion" });
    case "messages":
      return examples.rows.map((r) => {
        const { ids, answers } = chatIds(rules, r.messages, r.asked);
        return {
          ids: ids.slice(0, length),
          weights: answers.slice(0, length).map((answer, i) => (i > 0 ? answer : 0)),
          whole: ids.length,
        };
      });
    case "completion":
      return examples.rows.map((r) => answered(r.prompt, r.completion));
    case "classification":
      return examples.rows.map((r) => answered(single(r), r.label));
    case "text":
      return examples.rows.map((r) => cut(start, [...idsOfText(rules, single(r)), ...close]));
  }
}

/**
 * Rows of an encoder-decoder: prompt and completion are its two sides, each cut by itself.
 * @throws {LfmError} CONFIG_INVALID for examples without a text for both
 */
function answerRows(examples: Examples, rules: TextRules, maxLength: number): TokenRow[] {
  const begin = rules.answers?.start;
  if (begin === undefined)
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] the model's files name no token that its answers begin with", {
      hint: 'config.json: "decoder_start_token_id": 0, which for T5 is the padding token',
    });
  if (examples.kind !== "completion" && examples.kind !== "classification")
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/tuning] an encoder-decoder learns from prompt + completion; ${missingColumns(examples, ["prompt", "completion"])}`,
      { hint: "--columns prompt=…,completion=…" },
    );
  const { start, close, tokenizer } = rules;
  const { after } = tokenizer.around;
  const length = lengthRead(rules, maxLength);
  requireRead(rules, [begin, ...start, ...close]);
  const row = (prompt: string, completion: string): TokenRow => {
    const [read, answer] = [promptIds(rules, prompt), [...start, ...idsOfText(rules, completion), ...close]];
    const ids = [begin, ...answer.slice(0, length)];
    return {
      source: read.length > length ? [...read.slice(0, Math.max(1, length - after.length)), ...after] : read,
      ids,
      weights: ids.map((_, i) => (i > 0 ? 1 : 0)),
      whole: Math.max(read.length, answer.length),
    };
  };
  if (examples.kind === "completion") return examples.rows.map((r) => row(r.prompt, r.completion));
  return examples.rows.map((r) => row(single(r), r.label));
}

/** Ids of a prompt and of the completion behind it, begun and closed as the model's folder says. */
export function answeredIds(
  rules: TextRules,
  prompt: string,
  completion: string,
): { readonly head: readonly number[]; readonly tail: readonly number[] } {
  const { head, tail } = idsOfBoth(rules, prompt, joint(prompt, completion));
  return { head: [...rules.start, ...head], tail: [...tail, ...rules.close] };
}

/** Tokens of an example that a model reads: as many as are asked for, or as it has positions for. */
export function lengthRead({ maxLength: positions }: Pick<TextRules, "maxLength">, maxLength: number): number {
  return Math.min(maxLength, positions ?? maxLength);
}

/** @throws {LfmError} CONFIG_INVALID for a pair: how a prompt is made of two texts is for its file to say */
export function single({ text, text2, at }: TextRow): string {
  if (text2 === undefined) return text;
  throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${at === undefined ? "" : `${at}: `}a language model reads no pairs of texts`, {
    hint: "write them as one prompt: prompt + completion",
  });
}

/**
 * Rows that have something to learn: the others would count as right answers of nothing. What is left out or cut is said.
 * @throws {LfmError} CONFIG_INVALID where nothing of any row is left
 */
export function learnedRows(
  examples: Examples,
  rules: TextRules,
  o: Pick<BatchOptions, "maxLength">,
  say: (message: string) => void,
): readonly TokenRow[] {
  const maxLength = lengthRead(rules, o.maxLength);
  const rows = languageRows(examples, rules, maxLength);
  const learned = rows.filter((r) => r.weights.includes(1));
  const longest = rows.reduce((most, r) => Math.max(most, r.whole), 0);
  const readable = longest <= lengthRead(rules, longest);
  const where = examples.source ? ` of ${examples.source.path}` : "";
  if (learned.length === 0)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/tuning] within ${maxLength} tokens nothing is left to learn${where}: prompts alone take them up`,
      {
        details: { maxLength, longest },
        hint:
          longest <= maxLength
            ? "give completions that have a token"
            : readable
              ? `maxLength ${longest} (--max-length ${longest})`
              : "give shorter prompts: the model reads no more",
      },
    );
  const [none, cut] = [rows.length - learned.length, learned.filter((r) => r.whole > maxLength).length];
  const more = longest > maxLength && readable ? `; --max-length ${longest} takes all of them whole` : "";
  if (none > 0) say(`${none} of ${rows.length} examples${where} have nothing to learn within ${maxLength} tokens and are left out${more}`);
  else if (cut > 0) say(`${cut} of ${rows.length} examples${where} are cut at ${maxLength} tokens${more}`);
  return learned;
}

/** A completion begins a new word unless the file already says how it joins. */
export function joint(prompt: string, completion: string): string {
  return /\s$/.test(prompt) || /^\s/.test(completion) ? completion : ` ${completion}`;
}

/** Language modelling over rows, right-padded; every epoch shows each once, in an order of its own. */
export function languageTask(rows: readonly TokenRow[], o: BatchOptions): LearningTask {
  const lengths = rows.map((r) => r.ids.length);
  const sampler = samplerOf(rows.length, o, lengths);
  const batch = (number: number): PredictedBatch => languageBatch(sampler.batch(number).map((i) => rows[i]!));
  return languageModelTask("examples", batch, sampler.perEpoch, predictedRows(rows));
}

/** Whether rows are answers. */
export function predictedRows(rows: readonly TokenRow[]): PredictedRows {
  return { answers: rows.some((r) => r.source !== undefined) };
}

/**
 * i32[n, seq] and f32[n, seq], right-padded; two columns at least, for something must follow something. What fills rows up is seen by no token
 * before it and weighs nothing: any id does that the model has.
 */
export function languageBatch(rows: readonly TokenRow[]): PredictedBatch {
  const { tokens } = padRows(
    rows.map((r) => r.ids),
    { length: 2 },
  );
  const weights = padValues(
    "f32",
    rows.map((r) => r.weights),
    { length: 2 },
  );
  if (!predictedRows(rows).answers) return { tokens, weights };
  const { tokens: source, mask: sourceMask } = padRows(rows.map((r) => r.source ?? []));
  return { tokens, weights, source, sourceMask };
}

/** Every epoch shows each example once. @param lengths of the examples, where they are known */
export function samplerOf(
  count: number,
  o: Pick<BatchOptions, "batchSize" | "seed" | "groupByLength">,
  lengths?: readonly number[],
): Sampler {
  const grouped = o.groupByLength && lengths ? { lengths } : {};
  return createSampler({ count, batchSize: o.batchSize, rng: new Rng(o.seed).split("epochs"), ...grouped });
}

/** What kind of task a model of this kind learns from text. @throws {LfmError} CAPABILITY_MISSING */
export function taskKind(model: Model): "language" | "classification" {
  if (model.info.task === "causal-lm" || model.info.task === "seq2seq-lm") return "language";
  if (model.info.input === "tokens") return "classification";
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] ${model.info.architecture} reads ${model.info.input}, not text`, {
    hint: "use the package's API for images and features",
  });
}
