import { formatError } from "../files.js";
import type { FileRecord } from "../records.js";
import type { Columns } from "./columns.js";
import { has, stringOf } from "./fields.js";
import { type ChatMessage, parseMessages } from "./messages.js";

/** A text and how it goes on. */
export interface TextExchange {
  readonly prompt: string;
  readonly completion: string;
}

/** Messages of a conversation and those that follow them. */
export interface ChatExchange {
  readonly prompt: readonly ChatMessage[];
  readonly completion: readonly ChatMessage[];
}

export type Exchange = TextExchange | ChatExchange;

/** Prompt and completion of a row, both texts or both lists of messages. @throws {LfmError} FILE_FORMAT */
export function exchangeOf(r: FileRecord, columns: Columns, prompt: string, completion: string): Exchange {
  const [a, b] = [isList(r, prompt), isList(r, completion)];
  if (a !== b) throw formatError(r.at, `of "${prompt}" and "${completion}" one is a text and one a list of messages`);
  if (a) return { prompt: messagesOf(r, prompt), completion: messagesOf(r, completion) };
  return { prompt: promptOf(r, columns), completion: stringOf(r, completion) };
}

export const isList = (r: FileRecord, name: string): boolean => Array.isArray(r.fields[name]);

/** @throws {LfmError} FILE_FORMAT for what is no list of messages */
export function messagesOf(r: FileRecord, name: string): readonly ChatMessage[] {
  return parseMessages(r.at, name, r.fields[name]);
}

/** What is asked, with the instruction's input below it. */
export function promptOf(r: FileRecord, { prompt, input }: Columns): string {
  const more = input === undefined || !has(r, input) ? "" : stringOf(r, input);
  return [stringOf(r, prompt!), more].filter(Boolean).join("\n\n");
}
