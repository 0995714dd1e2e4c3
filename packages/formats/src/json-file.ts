import { readFileSync, statSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { parseJson, wholeFloats } from "./json-text.js";

/** Config files are small; a longer one is no config. */
const MAX_JSON_BYTES = 256 * 2 ** 20;

const floats = new WeakMap<object, ReadonlySet<string>>();

/** Keys whose numbers the file of this value wrote as whole floats, for {@link formatJson}; none for a value that was not read from a file. */
export function floatsOf(value: object): ReadonlySet<string> {
  return floats.get(value) ?? new Set();
}

/**
 * Fields that transformers' configs of the architectures here declare as floats and as nothing else: it refuses 1 where it wants 1.0
 * (`float` in the annotations of 5.24's classes).
 */
export const CONFIG_FLOATS: ReadonlySet<string> = new Set([
  "attn_logit_softcapping",
  "final_logit_softcapping",
  "initializer_factor",
  "initializer_range",
  "layer_norm_eps",
  "layer_norm_epsilon",
  "layerscale_value",
  "rms_norm_eps",
  "router_aux_loss_coef",
  "router_jitter_noise",
]);

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
    const value = parseJson(text);
    if (typeof value === "object" && value !== null) floats.set(value, wholeFloats(text));
    return value;
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
