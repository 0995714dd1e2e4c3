import { formatError } from "../files.js";
import type { FileRecord } from "../records.js";
import type { ColumnChoice, Columns } from "./columns.js";
import type { Placed, Rows } from "./examples.js";
import { type ChatExchange, type Exchange, exchangeOf, isList, messagesOf, type TextExchange } from "./exchange.js";
import { has, labelOf, numberOf, openExamples, stringOf, unread } from "./fields.js";
import type { ChatMessage } from "./messages.js";

/** Two completions of one prompt, of which one is preferred. */
export interface PairExample extends Placed {
  readonly chosen: Exchange;
  readonly rejected: Exchange;
  /** How much better the chosen one is, where that is known. */
  readonly margin?: number;
}

/** A completion that is wanted or not. */
export interface JudgedExample extends Placed {
  readonly exchange: Exchange;
  readonly desirable: boolean;
}

/** Preferences of a file, all of one kind. */
export type Preferences = Rows<"pairs", PairExample> | Rows<"judged", JudgedExample>;

/** Whether a file has columns of chosen and rejected completions. @throws {LfmError} FILE_IO, FILE_FORMAT */
export function holdsPairs(path: string, choice: ColumnChoice = {}): boolean {
  const { chosen, rejected } = openExamples(path, choice).source.read;
  return chosen !== undefined && rejected !== undefined;
}

/**
 * Reads pairs as TRL's trainers do: `prompt`, `chosen` and `rejected`, all texts or all lists of messages. Without a prompt it is what both have in
 * common at their beginning: words of texts, messages of conversations. A column `margin` says how much better the chosen one is.
 * @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file, line and column
 */
export function readPairs(path: string, choice: ColumnChoice = {}): Extract<Preferences, { kind: "pairs" }> {
  const { file, source, records } = openExamples(path, choice);
  const { chosen, rejected, margin } = source.read;
  if (!chosen || !rejected) throw unread(file, "prompt + chosen + rejected", ["prompt", "chosen", "rejected"]);
  const rows = records.map((r) => ({
    ...pairOf(r, source.read, chosen, rejected),
    ...(margin === undefined ? {} : { margin: numberOf(r, margin) }),
    at: r.at,
  }));
  return { kind: "pairs", rows, source };
}

/**
 * Reads judged completions as TRL's KTOTrainer does: `prompt`, `completion` and `label`, true or false (1 or 0). A pair of a chosen and a rejected
 * completion is two of them.
 * @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file, line and column
 */
export function readJudged(path: string, choice: ColumnChoice = {}): Extract<Preferences, { kind: "judged" }> {
  const { file, source, records } = openExamples(path, choice);
  const { prompt, completion, label, chosen, rejected } = source.read;
  if (chosen && rejected)
    return {
      kind: "judged",
      rows: records.flatMap((r) => {
        const pair = pairOf(r, source.read, chosen, rejected);
        return [
          { exchange: pair.chosen, desirable: true, at: r.at },
          { exchange: pair.rejected, desirable: false, at: r.at },
        ];
      }),
      source,
    };
  if (!prompt || !completion || !label)
    throw unread(file, "prompt + completion + label, or prompt + chosen + rejected", ["prompt", "completion", "label"]);
  const rows = records.map((r) => ({
    exchange: exchangeOf(r, source.read, prompt, completion),
    desirable: judgementOf(r, label),
    at: r.at,
  }));
  return { kind: "judged", rows, source };
}

function pairOf(r: FileRecord, columns: Columns, chosen: string, rejected: string): Pick<PairExample, "chosen" | "rejected"> {
  const { prompt } = columns;
  if (prompt !== undefined && has(r, prompt))
    return { chosen: exchangeOf(r, columns, prompt, chosen), rejected: exchangeOf(r, columns, prompt, rejected) };
  const [a, b] = [isList(r, chosen), isList(r, rejected)];
  if (a !== b) throw formatError(r.at, `of "${chosen}" and "${rejected}" one is a text and one a list of messages`);
  if (!a) {
    const [good, bad] = [stringOf(r, chosen), stringOf(r, rejected)];
    const common = commonWords(good, bad);
    const cut = (text: string): TextExchange => ({ prompt: text.slice(0, common), completion: text.slice(common) });
    return { chosen: cut(good), rejected: cut(bad) };
  }
  const [good, bad] = [messagesOf(r, chosen), messagesOf(r, rejected)];
  const common = commonMessages(good, bad);
  const cut = (all: readonly ChatMessage[]): ChatExchange => ({ prompt: all.slice(0, common), completion: all.slice(common) });
  return { chosen: cut(good), rejected: cut(bad) };
}

function judgementOf(r: FileRecord, name: string): boolean {
  const text = labelOf(r, name).toLowerCase();
  if (["true", "1"].includes(text)) return true;
  if (["false", "0"].includes(text)) return false;
  throw formatError(r.at, `"${name}" is "${text}": a completion is wanted (true) or not (false)`);
}

/** Characters of the words that both begin with; at least the last word of each is left to tell them apart by. */
function commonWords(a: string, b: string): number {
  let i = 0;
  while (i < Math.min(a.length, b.length) && a[i] === b[i]) i++;
  const ends = /\s+\S*$/.exec(a.slice(0, i));
  return ends?.index ?? 0;
}

function commonMessages(a: readonly ChatMessage[], b: readonly ChatMessage[]): number {
  const most = Math.min(a.length, b.length) - 1;
  let i = 0;
  while (i < most && JSON.stringify(a[i]) === JSON.stringify(b[i])) i++;
  return i;
}
