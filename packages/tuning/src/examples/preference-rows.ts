import { LfmError } from "@lfm/core";
import type { Exchange, Preferences } from "@lfm/data";
import { chatIds, requireRead, type TextRules } from "@lfm/models";
import { answeredIds, lengthRead, type TokenRow } from "./token-rows.js";

/** A completion behind its prompt; weight 1 on its tokens. */
export interface CompletionRow extends TokenRow {
  /** Tokens before the completion. */
  readonly head: number;
  /** Tokens that the row may have. */
  readonly room: number;
}

/** A chosen and a rejected completion of one prompt. */
export interface PairRow {
  readonly chosen: CompletionRow;
  readonly rejected: CompletionRow;
  /** How much better the chosen one is; 0 where that is not known. */
  readonly margin: number;
}

/** A completion that is wanted or not. */
export interface JudgedRow extends CompletionRow {
  readonly desirable: boolean;
}

export interface PreferenceRowOptions {
  /** Tokens of prompt and completion; longer rows are cut at their end. */
  readonly maxLength: number;
  /** Rows that would be cut are left out: what is scored as a whole says nothing of a part. Default false. */
  readonly whole?: boolean;
}

/** The prompt of one row with the completion of another, cut as its own would be. */
export function crossed(row: CompletionRow, other: CompletionRow): CompletionRow {
  const both = (a: readonly number[], b: readonly number[]): readonly number[] => [...a.slice(0, row.head), ...b.slice(other.head)];
  const ids = both(row.ids, other.ids);
  const weights = both(row.weights, other.weights).slice(0, row.room);
  return { ids: ids.slice(0, row.room), weights, whole: ids.length, head: row.head, room: row.room };
}

/**
 * Pairs of which something of both completions is left. What is left out or cut is said.
 * @throws {LfmError} CONFIG_INVALID for preferences that are no pairs, and where nothing of any pair is left
 */
export function pairRows(
  preferences: Preferences,
  rules: TextRules,
  options: PreferenceRowOptions,
  say: (message: string) => void,
): readonly PairRow[] {
  if (preferences.kind !== "pairs") throw otherKind("pairs of a chosen and a rejected one", "readPairs");
  const { rows, source } = preferences;
  const row = rowOf(rules, options);
  const all = rows.map(({ chosen, rejected, margin = 0 }) => ({ chosen: row(chosen), rejected: row(rejected), margin }));
  return usable(all, ({ chosen, rejected }) => [chosen, rejected], "pairs", source?.path, rules, options, say);
}

/** The same of judged completions. @throws {LfmError} CONFIG_INVALID for pairs, and where nothing of any is left */
export function judgedRows(
  preferences: Preferences,
  rules: TextRules,
  options: PreferenceRowOptions,
  say: (message: string) => void,
): readonly JudgedRow[] {
  if (preferences.kind !== "judged") throw otherKind("judged one by one", "readJudged");
  const { rows, source } = preferences;
  const row = rowOf(rules, options);
  const all = rows.map(({ exchange, desirable }) => ({ ...row(exchange), desirable }));
  return usable(all, (r) => [r], "judged completions", source?.path, rules, options, say);
}

function rowOf(rules: TextRules, { maxLength }: PreferenceRowOptions): (exchange: Exchange) => CompletionRow {
  requireRead(rules, [...rules.start, ...rules.close]);
  const room = lengthRead(rules, maxLength);
  return (exchange) => {
    const { ids, weights, head } = isText(exchange)
      ? textIds(rules, exchange.prompt, exchange.completion)
      : conversationIds(rules, exchange);
    return { ids: ids.slice(0, room), weights: weights.slice(0, room).map((w, i) => (i > 0 ? w : 0)), whole: ids.length, head, room };
  };
}

function otherKind(wanted: string, hint: string): LfmError {
  return new LfmError("CONFIG_INVALID", `[@lfm/tuning] completions are wanted as ${wanted}`, { hint: `${hint}("examples.jsonl")` });
}

interface WholeRow {
  readonly ids: readonly number[];
  readonly weights: readonly number[];
  readonly head: number;
}

function isText(exchange: Exchange): exchange is Extract<Exchange, { readonly prompt: string }> {
  return typeof exchange.prompt === "string";
}

function textIds(rules: TextRules, prompt: string, completion: string): WholeRow {
  const { head, tail } = answeredIds(rules, prompt, completion);
  return { ids: [...head, ...tail], weights: [...head.map(() => 0), ...tail.map(() => 1)], head: head.length };
}

function conversationIds(rules: TextRules, { prompt, completion }: Exclude<Exchange, { readonly prompt: string }>): WholeRow {
  const { ids, answers } = chatIds(rules, [...prompt, ...completion], prompt.length);
  const first = answers.indexOf(1);
  return { ids, weights: answers, head: first < 0 ? ids.length : first };
}

function usable<Row>(
  all: readonly Row[],
  completionsOf: (row: Row) => readonly CompletionRow[],
  what: string,
  path: string | undefined,
  rules: TextRules,
  { maxLength, whole = false }: PreferenceRowOptions,
  say: (message: string) => void,
): readonly Row[] {
  const room = lengthRead(rules, maxLength);
  const longest = all.flatMap(completionsOf).reduce((most, r) => Math.max(most, r.whole), 0);
  const isCut = (row: Row): boolean => completionsOf(row).some((r) => r.whole > room);
  const kept = all.filter((row) => completionsOf(row).every((r) => r.weights.includes(1)) && !(whole && isCut(row)));
  const where = path === undefined ? "" : ` of ${path}`;
  const readable = longest <= lengthRead(rules, longest);
  if (kept.length === 0)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] within ${room} tokens no ${what}${where} are left`, {
      details: { maxLength: room, longest },
      hint:
        longest <= room
          ? "give completions that have a token"
          : readable
            ? `maxLength ${longest} (--max-length ${longest})`
            : "give shorter prompts: the model reads no more",
    });
  const more = longest > room && readable ? `; --max-length ${longest} takes all of them whole` : "";
  const [none, cut] = [all.length - kept.length, kept.filter(isCut).length];
  const why = whole ? "are longer than" : "lose a whole completion within";
  if (none > 0) say(`${none} of ${all.length} ${what}${where} ${why} ${room} tokens and are left out${more}`);
  if (cut > 0) say(`${cut} of ${all.length} ${what}${where} are cut at ${room} tokens${none > 0 ? "" : more}`);
  return kept;
}
