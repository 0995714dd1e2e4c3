import { readFileSync } from "node:fs";
import { LfmError } from "@lfm/core";

/** Config files are small; a longer one is no config. */
const MAX_JSON_BYTES = 256 * 2 ** 20;

/**
 * Reads a file that holds one JSON object.
 * @throws {LfmError} FILE_IO when it cannot be read, FILE_FORMAT when it is no JSON object
 */
export function readJsonObject(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    throw new LfmError("FILE_IO", `[@lfm/formats] cannot read ${path}: ${(cause as NodeJS.ErrnoException).code ?? String(cause)}`, {
      cause,
    });
  }
  if (text.length > MAX_JSON_BYTES) throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is too long for a config: ${text.length}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is not JSON`, { cause });
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path} is not a JSON object`);
}
