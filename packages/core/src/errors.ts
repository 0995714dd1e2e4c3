/** The closed set of error codes. A program branches on the code, a person reads message and hint. */
export type LfmErrorCode =
  | "CONFIG_INVALID"
  | "SHAPE_MISMATCH"
  | "DTYPE_UNSUPPORTED"
  | "OP_UNSUPPORTED"
  | "NOT_DIFFERENTIABLE"
  | "CAPABILITY_MISSING"
  | "PARAM_NOT_FOUND"
  | "PARENT_MISMATCH"
  | "BACKEND_UNAVAILABLE"
  | "FILE_FORMAT"
  | "FILE_IO"
  | "NUMERIC_DIVERGED"
  | "BUDGET_EXCEEDED"
  | "ABORTED"
  | "INTERNAL";

export interface LfmErrorOptions {
  /** JSON-safe facts about the failure. */
  readonly details?: Readonly<Record<string, unknown>>;
  /** What to do, where possible a command that can be pasted. */
  readonly hint?: string;
  readonly cause?: unknown;
}

const BRAND = Symbol.for("lfm.error");

/**
 * The one error class of the platform. The message names the package and the thing that is wrong.
 * `instanceof` fails across ESM/CJS copies of a package: use {@link isLfmError}.
 */
export class LfmError extends Error {
  override readonly name = "LfmError";
  readonly code: LfmErrorCode;
  readonly details: Readonly<Record<string, unknown>>;
  readonly hint: string | undefined;

  constructor(code: LfmErrorCode, message: string, options: LfmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = options.details ?? {};
    this.hint = options.hint;
    Object.defineProperty(this, BRAND, { value: true, enumerable: false });
  }

  toJSON(): Record<string, unknown> {
    return { code: this.code, message: this.message, details: this.details, ...(this.hint ? { hint: this.hint } : {}) };
  }
}

/** True for an {@link LfmError} of any loaded copy of this package, with the given code if one is asked for. */
export function isLfmError(error: unknown, code?: LfmErrorCode): error is LfmError {
  if (typeof error !== "object" || error === null || !(BRAND in error)) return false;
  return code === undefined || (error as unknown as LfmError).code === code;
}

/** Throws ABORTED when the signal has fired. Long loops call it once per step. */
export function throwIfAborted(signal: AbortSignal | undefined, where: string): void {
  if (signal?.aborted) throw new LfmError("ABORTED", `${where}: stopped on request`, { cause: signal.reason });
}

/**
 * The edit-distance nearest of `candidates`, for "did you mean" hints; undefined when nothing is close.
 * @param most the largest distance that is close; default 2, in long names a third of them
 */
export function nearestName(
  name: string,
  candidates: Iterable<string>,
  most = Math.max(2, Math.floor(name.length / 3)),
): string | undefined {
  let best: string | undefined;
  let bestDistance = most + 1;
  for (const candidate of candidates) {
    if (Math.abs(candidate.length - name.length) >= bestDistance) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next[j] = Math.min(next[j - 1]! + 1, row[j]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1));
    }
    row = next;
  }
  return row[b.length]!;
}
