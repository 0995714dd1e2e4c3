import { isLfmError, LfmError, type LfmErrorCode } from "./errors.js";

/** An error as it travels between threads and processes. */
export interface PlainError {
  readonly code: LfmErrorCode;
  readonly message: string;
  readonly hint?: string;
  readonly details?: Readonly<Record<string, unknown>>;
  readonly stack?: string;
}

/** What of an error can be cloned. */
export function plainError(error: unknown): PlainError {
  if (isLfmError(error)) {
    const { code, message, hint, details, stack } = error;
    return {
      code,
      message,
      details: JSON.parse(JSON.stringify(details)) as Record<string, unknown>,
      ...(hint ? { hint } : {}),
      ...(stack ? { stack } : {}),
    };
  }
  const known = error instanceof Error;
  return {
    code: "INTERNAL",
    message: known ? `${error.name}: ${error.message}` : String(error),
    ...(known && error.stack ? { stack: error.stack } : {}),
  };
}

/** The error that was made plain, with its stack. */
export function fromPlainError({ code, message, hint, details, stack }: PlainError): LfmError {
  const error = new LfmError(code, message, { ...(hint ? { hint } : {}), ...(details ? { details } : {}) });
  if (stack) error.stack = stack;
  return error;
}
