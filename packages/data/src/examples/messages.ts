import { formatError, isRecord } from "../files.js";

/** One turn of a conversation, as chat templates read it; further keys (tool calls, names) are handed on. */
export interface ChatMessage {
  /** system, user, assistant, tool … */
  readonly role: string;
  readonly content: string;
  readonly [key: string]: unknown;
}

const EXAMPLE = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}';

/**
 * A conversation of a row; in tables it stands as JSON.
 * @param at file and line of the row
 * @throws {LfmError} FILE_FORMAT for what is no list of messages, naming the message
 */
export function parseMessages(at: string, name: string, value: unknown): readonly ChatMessage[] {
  const wrong = (what: string): Error => formatError(at, what, { hint: EXAMPLE });
  let list = value;
  if (typeof value === "string") {
    try {
      list = JSON.parse(value);
    } catch {
      throw wrong(`"${name}" is no list of messages`);
    }
  }
  if (!Array.isArray(list) || list.length === 0) throw wrong(`"${name}" is no list of messages`);
  return list.map((message: unknown, i) => {
    if (!isRecord(message)) throw wrong(`message ${i + 1} of "${name}" is no object`);
    const { role, content } = message;
    if (typeof role !== "string" || typeof content !== "string")
      throw wrong(`message ${i + 1} of "${name}" has no text under ${typeof role === "string" ? "content" : "role"}`);
    return { ...message, role, content };
  });
}
