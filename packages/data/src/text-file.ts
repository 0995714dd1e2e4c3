import { readFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { ioError } from "./files.js";

const BOM = "\uFEFF";

/**
 * Text of a UTF-8 file without the byte-order mark that some editors put in front.
 * @param hint what kind of file is wanted, for a file that cannot be read
 * @throws {LfmError} FILE_IO when it cannot be read; FILE_FORMAT naming file and line for bytes that are no UTF-8
 */
export function readTextFile(path: string, hint?: string): string {
  let bytes: Uint8Array;
  try {
    bytes = readFileSync(path);
  } catch (cause) {
    throw ioError(path, "cannot be read", cause, hint);
  }
  return decodeText(path, bytes);
}

/** The same of bytes. @throws {LfmError} FILE_FORMAT */
function decodeText(path: string, bytes: Uint8Array): string {
  const encoding = utf16(bytes);
  if (encoding !== undefined) throw notUtf8(path, `${encoding}, not UTF-8`, encoding);
  try {
    return withoutBom(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes));
  } catch {
    const line = firstWrongLine(bytes);
    throw notUtf8(`${path}:${line}`, "holds bytes that are no UTF-8", "WINDOWS-1252", { file: path, line });
  }
}

/** A text without its byte-order mark. */
function withoutBom(text: string): string {
  return text.startsWith(BOM) ? text.slice(1) : text;
}

function notUtf8(place: string, message: string, from: string, details: Readonly<Record<string, unknown>> = { file: place }): LfmError {
  const path = String(details.file);
  return new LfmError("FILE_FORMAT", `[@lfm/data] ${place}: ${message}`, {
    details,
    hint: `iconv -f ${from} -t UTF-8 ${quoted(path)} > ${quoted(path.replace(/(\.[^./\\]*)?$/, ".utf8$1"))}`,
  });
}

/** For a shell. */
function quoted(path: string): string {
  return /^[\w./:=,@+-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

/** What `iconv` calls the encoding whose byte-order mark stands in front, where that is one of two bytes a character. */
function utf16(bytes: Uint8Array): string | undefined {
  const mark = bytes.length < 2 ? 0 : 256 * bytes[0]! + bytes[1]!;
  return mark === 0xfffe || mark === 0xfeff ? "UTF-16" : undefined;
}

/** Line, from 1, of the first bytes that are no UTF-8: a line feed is never part of a longer sequence. */
function firstWrongLine(bytes: Uint8Array): number {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let line = 1;
  for (let start = 0; start < bytes.length; line++) {
    const end = bytes.indexOf(0x0a, start);
    try {
      decoder.decode(bytes.subarray(start, end < 0 ? bytes.length : end));
    } catch {
      return line;
    }
    start = end < 0 ? bytes.length : end + 1;
  }
  return line;
}
