import { isLfmError } from "@lfm/core";

/** An answer that is none, as OpenAI's API shapes it. */
export interface ApiErrorBody {
  readonly error: { readonly message: string; readonly type: string; readonly param: string | null; readonly code: string | null };
}

interface ApiErrorOptions {
  /** What of the request is wrong. */
  readonly param?: string;
  /** A word that programs branch on. */
  readonly code?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly cause?: unknown;
}

/** What a route answers in place of a result. */
export class ApiError extends Error {
  readonly status: number;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
  readonly headers: Readonly<Record<string, string>>;

  constructor(status: number, type: string, message: string, { param, code, headers = {}, cause }: ApiErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.status = status;
    this.type = type;
    this.param = param ?? null;
    this.code = code ?? null;
    this.headers = headers;
  }

  get body(): ApiErrorBody {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code } };
  }
}

/** A request that is wrong as it stands. */
export function invalid(message: string, param?: string, code?: string): ApiError {
  return new ApiError(400, "invalid_request_error", message, {
    ...(param === undefined ? {} : { param }),
    ...(code === undefined ? {} : { code }),
  });
}

/** A server that has no room now. OpenAI's client comes again after what `retry-after` says. */
export function tooMany(message: string): ApiError {
  return new ApiError(429, "rate_limit_error", message, { code: "rate_limit_exceeded", headers: { "retry-after": "1" } });
}

/** A server that is on its way out. */
export function goingDown(): ApiError {
  return new ApiError(503, "server_error", "the server is shutting down", { code: "unavailable", headers: { "retry-after": "5" } });
}

/** A request that took too long; a client that asks again would wait as long. */
export function tookTooLong(timeoutMs: number): ApiError {
  return new ApiError(504, "server_error", `the answer took longer than ${timeoutMs / 1000} s`, {
    code: "timeout",
    headers: { "x-should-retry": "false" },
  });
}

/** What is said to the client of any error; of one that is not known, nothing of the inside. */
export function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (isLfmError(error)) {
    const message = error.message.replace(/^\[@lfm\/\w+\] |^lfm: /, "");
    if (["CONFIG_INVALID", "SHAPE_MISMATCH", "CAPABILITY_MISSING", "PARAM_NOT_FOUND"].includes(error.code)) return invalid(message);
    if (error.code === "ABORTED") return goingDown();
    return new ApiError(500, "server_error", message, { code: error.code.toLowerCase(), cause: error });
  }
  return new ApiError(500, "server_error", "the server failed on this request", { code: "internal_error", cause: error });
}
