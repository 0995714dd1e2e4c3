import { type Command, InvalidArgumentError, Option } from "commander";
import { z } from "zod";
import { collecting } from "./flag-values.js";
import { RUN_FILE } from "./run-file.js";

/** The part of JSON Schema that options of methods use. */
interface Property {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly const?: unknown;
  readonly items?: Property;
  readonly anyOf?: readonly Property[];
}

/** An option of a method: its key in the config and its flag on the command line. */
export interface SchemaFlag {
  readonly key: string;
  /** `--lora-alpha` for `loraAlpha`. */
  readonly flag: string;
  readonly kind: "boolean" | "number" | "string" | "list" | "one-or-list" | "json";
  /** A number that is whole. */
  readonly whole: boolean;
  readonly description: string;
  readonly default: unknown;
}

/** `loraAlpha` → `lora-alpha`, and `select_topk`, a key of mergekit, → `select-topk`. */
export function kebab(key: string): string {
  return key.replaceAll("_", "-").replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
}

/** The options of a schema, in its order: every method's flags come from here, none is written by hand. */
export function schemaFlags(schema: z.ZodObject): readonly SchemaFlag[] {
  const { properties = {} } = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as {
    readonly properties?: Readonly<Record<string, Property>>;
  };
  return Object.entries(properties).map(([key, p]) => ({
    key,
    flag: `--${kebab(key)}`,
    kind: kindOf(p),
    whole: p.type === "integer",
    description: [p.description ?? "", p.enum ? `(${p.enum.join(" | ")})` : ""].filter(Boolean).join(" "),
    default: p.default ?? (kindOf(p) === "one-or-list" ? p.anyOf?.[0]?.default : undefined),
  }));
}

function kindOf(p: Property): SchemaFlag["kind"] {
  if (p.type === "boolean") return "boolean";
  if (p.type === "number" || p.type === "integer") return "number";
  if (p.type === "array" && p.items && ["string", "number", "integer"].includes(p.items.type ?? "")) return "list";
  if (p.type === "string" || p.enum) return "string";
  const [one, many] = p.anyOf ?? [];
  if (p.anyOf?.length === 2 && many?.type === "array" && ["number", "integer"].includes(one?.type ?? "")) return "one-or-list";
  return "json";
}

/** Adds a flag per option; one that the command has already (--threads) serves both. Values are only read here; the schema judges them. */
export function addSchemaFlags(command: Command, schema: z.ZodObject): Command {
  for (const f of schemaFlags(schema)) {
    if (command.options.some((o) => o.long === f.flag)) continue;
    const shown = f.default === undefined ? "" : ` [${JSON.stringify(f.default)}]`;
    if (f.kind === "boolean") {
      command.addOption(new Option(f.flag, `${f.description}${f.default === true ? "" : shown}`));
      command.addOption(
        new Option(`--no-${f.flag.slice(2)}`, `turn ${f.key} off${f.default === true ? shown : ""}`).hideHelp(f.default !== true),
      );
    } else {
      const value = { number: "<number>", string: "<text>", list: "<a,b,…>", "one-or-list": "<a[,b,…]>", json: "<json>" }[f.kind];
      const option = new Option(`${f.flag} ${value}`, `${f.description}${shown}`);
      const several = f.kind === "list" || f.kind === "one-or-list";
      if (several) option.argParser(collecting((text) => text.split(",").map(readItem)));
      else option.argParser((text) => readValue(f, text));
      command.addOption(option);
    }
  }
  return command;
}

/** The options that were given, typed or in a run file, by config key; commander's own defaults never count. */
export function givenOptions(command: Command, schema: z.ZodObject): Record<string, unknown> {
  return Object.fromEntries(
    schemaFlags(schema).flatMap((f) => {
      const name = camel(f.flag.slice(2));
      if (!["cli", RUN_FILE].includes(command.getOptionValueSource(name) ?? "")) return [];
      const value: unknown = command.getOptionValue(name);
      return [[f.key, f.kind === "one-or-list" && Array.isArray(value) && value.length === 1 ? (value[0] as unknown) : value]];
    }),
  );
}

function camel(flag: string): string {
  return flag.replace(/-(.)/g, (_, c: string) => c.toUpperCase());
}

/** A number where it is one. */
function readItem(text: string): string | number {
  return text.trim() !== "" && !Number.isNaN(Number(text)) ? Number(text) : text.trim();
}

function readValue(f: SchemaFlag, text: string): unknown {
  if (f.kind === "number") {
    const value = Number(text);
    if (text.trim() === "" || Number.isNaN(value)) throw new InvalidArgumentError("It must be a number.");
    return value;
  }
  if (f.kind === "json") {
    try {
      return JSON.parse(text) as unknown;
    } catch {
      throw new InvalidArgumentError("It must be JSON.");
    }
  }
  return text;
}
