import { readFile, stat } from "node:fs/promises";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { LfmError } from "@lfm/core";

const gunzipAsync = promisify(gunzip);

/** No file of a known set comes near this; a larger one is not read into memory. Bytes. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** FILE_FORMAT for a file whose content is not what it should be; `line` is 1-based. */
export function formatError(
  file: string,
  message: string,
  facts: { line?: number | undefined; cause?: unknown; hint?: string | undefined } = {},
): LfmError {
  const where = facts.line === undefined ? file : `${file}:${facts.line}`;
  return new LfmError("FILE_FORMAT", `[@lfm/data] ${where}: ${message}`, {
    details: { file, ...(facts.line === undefined ? {} : { line: facts.line }) },
    ...(facts.cause === undefined ? {} : { cause: facts.cause }),
    ...(facts.hint === undefined ? {} : { hint: facts.hint }),
  });
}

/** FILE_IO for a file that cannot be read or written. */
export function ioError(file: string, message: string, cause?: unknown, hint?: string): LfmError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code;
  return new LfmError("FILE_IO", `[@lfm/data] ${file}: ${message}${code === undefined ? "" : ` (${code})`}`, {
    details: { file, ...(code === undefined ? {} : { errno: code }) },
    ...(cause === undefined ? {} : { cause }),
    ...(hint === undefined ? {} : { hint }),
  });
}

/** True for the error of a file that does not exist. */
export function isMissing(error: unknown): boolean {
  return error instanceof LfmError && error.code === "FILE_IO" && error.details.errno === "ENOENT";
}

/** All bytes of a file. Errors: FILE_IO (missing, unreadable), FILE_FORMAT (larger than `maxBytes`). */
export async function readBytes(file: string, maxBytes: number = MAX_FILE_BYTES): Promise<Uint8Array> {
  try {
    const { size } = await stat(file);
    if (size > maxBytes) throw formatError(file, `${size} bytes, more than the limit of ${maxBytes}`);
    return await readFile(file);
  } catch (cause) {
    if (cause instanceof LfmError) throw cause;
    throw ioError(file, "cannot be read", cause);
  }
}

/** Decompresses gzip within `maxBytes` of output. Errors: FILE_FORMAT (truncated, damaged, or expands too far). */
export async function gunzipBounded(file: string, packed: Uint8Array, maxBytes: number = MAX_FILE_BYTES): Promise<Uint8Array> {
  try {
    return await gunzipAsync(packed, { maxOutputLength: maxBytes });
  } catch (cause) {
    const code = (cause as NodeJS.ErrnoException).code;
    const why = code === "ERR_BUFFER_TOO_LARGE" ? `expands to more than ${maxBytes} bytes` : "damaged or truncated gzip data";
    throw formatError(file, why, { cause });
  }
}

/** Parses JSON. Errors: FILE_FORMAT naming the file (and line where given). */
export function parseJson(file: string, text: string, line?: number): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw formatError(file, `not JSON: ${(cause as Error).message}`, { line, cause });
  }
}

/** Calls `each` for every line that is not blank, with its 1-based number. */
export function forEachLine(text: string, each: (line: string, number: number) => void): void {
  let number = 0;
  for (let start = 0; start < text.length; ) {
    let end = text.indexOf("\n", start);
    if (end < 0) end = text.length;
    const line = text.slice(start, text[end - 1] === "\r" ? end - 1 : end);
    number++;
    if (line.trim() !== "") each(line, number);
    start = end + 1;
  }
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
