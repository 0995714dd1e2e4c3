import { type PlainError, plainError } from "@lfm/core";

/** What is kept of an error. */
export type BriefError = Pick<PlainError, "code" | "message" | "hint">;

/** What the record of a failed cell holds. */
export function briefError(error: unknown): BriefError {
  const { code, message, hint } = plainError(error);
  return { code, message, ...(hint ? { hint } : {}) };
}
