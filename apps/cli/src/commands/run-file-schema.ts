import type { AnyMethod } from "@lfm/core";
import type { Command, Option } from "commander";
import { z } from "zod";
import { verbs } from "../paradigms.js";
import { collects, readCount, readSeed } from "./flag-values.js";
import { runFileOptions } from "./run-file.js";
import { schemaFlags } from "./schema-flags.js";

type JsonSchema = Readonly<Record<string, unknown>>;

/** The JSON Schema (2020-12) of a run file for a method: each option that its command has, by key or by flag. */
export function runFileSchema(command: Command, method: AnyMethod): JsonSchema {
  const { properties } = z.toJSONSchema(method.config, { io: "input", unrepresentable: "any" }) as {
    readonly properties?: Readonly<Record<string, JsonSchema>>;
  };
  const keys = new Map(schemaFlags(method.config).map((f) => [f.flag, f.key]));
  const entries = runFileOptions(command).flatMap((option): [string, JsonSchema][] => {
    const own = properties?.[keys.get(option.long ?? "") ?? ""];
    const schema = own ?? schemaOf(option);
    const name = option.attributeName();
    return name === option.name()
      ? [[name, schema]]
      : [
          [name, schema],
          [option.name(), schema],
        ];
  });
  return {
    $schema: "https://json-schema.org/draft/2020-12/schema",
    title: `lfm ${verbs[method.paradigm]} ${method.id} --config FILE`,
    description: method.summary,
    type: "object",
    additionalProperties: false,
    properties: Object.fromEntries(entries),
  };
}

/** What a flag takes that no method's schema describes. */
function schemaOf(option: Option): JsonSchema {
  const { description, argChoices, parseArg } = option;
  const about = { description };
  if (option.isBoolean()) return { ...about, type: "boolean" };
  const text = { type: "string", ...(argChoices ? { enum: argChoices } : {}) };
  if (!parseArg) return { ...about, ...text };
  if (parseArg === readCount) return { ...about, type: "integer", minimum: 1 };
  if (parseArg === readSeed) return { ...about, type: "integer", minimum: 0 };
  if (collects(parseArg)) return { ...about, anyOf: [text, { type: "array", items: text }] };
  return { ...about, type: ["string", "number"] };
}
