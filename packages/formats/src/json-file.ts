import { readFileSync, statSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { parseJson } from "./json-text.js";

/** Config files are small; a longer one is no config. */
const MAX_JSON_BYTES = 256 * 2 ** 20;

/**
 * Reads a file that holds one JSON value, as Python writes it: see {@link parseJson}.
 * @throws {LfmError} FILE_IO when it cannot be read, FILE_FORMAT when it is no JSON
 */
export function readJsonFile(path: string): unknown {
  let text: string;
  try {
    const { size } = statSync(path);
    if (size > MAX_JSON_BYTES) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is too long for a config: ${size} bytes`);
    text = readFileSync(path, "utf8");
  } catch (cause) {
    if (cause instanceof LfmError) throw cause;
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${path}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, {
      cause,
    });
  }
  try {
    return parseJson(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is not JSON`, { cause });
  }
}

/**
 * Reads a file that holds one JSON object, as {@link readJsonFile}.
 * @throws {LfmError} FILE_IO when it cannot be read, FILE_FORMAT when it is no JSON object
 */
export function readJsonObject(path: string): Record<string, unknown> {
  const value = readJsonFile(path);
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is not a JSON object`);
}
