import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { readJsonFile } from "@lfm/formats";
import { z } from "zod";
import type { EncoderOptions } from "./encoder.js";

const modulesSchema = z.array(z.looseObject({ path: z.string(), type: z.string() }));
const transformerSchema = z.looseObject({ max_seq_length: z.number().int().positive().nullish() });
const poolingSchema = z.looseObject({
  pooling_mode_cls_token: z.boolean().default(false),
  pooling_mode_mean_tokens: z.boolean().default(false),
});

/**
 * How a sentence-transformers folder wants its model used: modules.json, sentence_bert_config.json and the pooling's own config.json.
 * Undefined for a folder that is none.
 * @throws {LfmError} CONFIG_INVALID for modules or poolings that are not known here, FILE_FORMAT
 */
export function readSentenceConfig(folder: string): Pick<EncoderOptions, "pooling" | "normalize" | "maxLength"> | undefined {
  const modules = readChecked(join(folder, "modules.json"), modulesSchema);
  if (!modules) return undefined;
  const kinds = modules.map((m) => m.type.split(".").at(-1)!);
  const unknown = kinds.find((k) => k !== "Transformer" && k !== "Pooling" && k !== "Normalize");
  if (unknown) throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${folder}: the sentence module "${unknown}" is not known`);
  const at = modules.find((_, i) => kinds[i] === "Pooling");
  const pooling = at ? poolingOf(join(folder, at.path, "config.json")) : "cls";
  const length = readChecked(join(folder, "sentence_bert_config.json"), transformerSchema)?.max_seq_length;
  return { pooling, normalize: kinds.includes("Normalize"), ...(length ? { maxLength: length } : {}) };
}

function poolingOf(path: string): "mean" | "cls" {
  const modes = readChecked(path, poolingSchema);
  const asked = Object.entries(modes ?? {}).filter(([name, on]) => name.startsWith("pooling_mode_") && on === true);
  if (asked.length === 1 && modes?.pooling_mode_mean_tokens) return "mean";
  if (asked.length === 1 && modes?.pooling_mode_cls_token) return "cls";
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/models] ${path}: of poolings only mean and cls are known, it asks for ${asked.map(([n]) => n).join(", ") || "none"}`,
  );
}

function readChecked<S extends z.ZodType>(path: string, schema: S): z.output<S> | undefined {
  if (!existsSync(path)) return undefined;
  const parsed = schema.safeParse(readJsonFile(path));
  if (parsed.success) return parsed.data;
  throw new LfmError("FILE_FORMAT", `[@lfm/models] ${path} is not what sentence-transformers writes`, { cause: parsed.error });
}
