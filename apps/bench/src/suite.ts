import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { LfmError, nearestName, paradigms } from "@lfm/core";
import { parse } from "yaml";
import { z } from "zod";

const suiteCellSchema = z.strictObject({
  /** Id of a scenario of the paradigm. */
  scenario: z.string(),
  paradigm: z.enum(paradigms),
  /** Id of a method of the paradigm, or "*": every one of the paradigm that has no line of its own for this scenario. */
  method: z.string(),
  /** Preset of the method; under "*" of those that have it. */
  preset: z.string().optional(),
  /** Options over the preset's; the rest are the method's defaults. */
  config: z.record(z.string(), z.unknown()).optional(),
  /** Name in reports where one method stands with several configs. Default: the preset. */
  label: z.string().optional(),
});

export const suiteSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9]+(-[a-z0-9]+)*$/, "kebab-case"),
  summary: z.string().default(""),
  seeds: z.array(z.number().int().nonnegative()).min(1),
  /** `paradigm/scenario` → options of the scenario, for all its cells: sizes. */
  options: z.record(z.string(), z.record(z.string(), z.unknown())).optional(),
  cells: z.array(suiteCellSchema),
});
export type Suite = z.output<typeof suiteSchema>;

/**
 * What stands in a file: `extends` names the suite whose cells come first, so that two suites can be the same cells by construction, of other
 * sizes where options differ.
 */
const suiteFileSchema = suiteSchema.extend({
  extends: z.string().optional(),
  cells: z
    .array(
      suiteCellSchema.extend({
        /** Option → its values: a cell for every combination, the last option fastest, under a label that names them. */
        over: z.record(z.string(), z.array(z.union([z.string(), z.number(), z.boolean()])).min(1)).optional(),
      }),
    )
    .default([]),
});
type FileCell = z.output<typeof suiteFileSchema>["cells"][number];
export type SuiteCell = Suite["cells"][number];

/** The folder of the suites that come with lfm; beside `src/` and `dist/` alike. */
const suitesFolder = (): string => fileURLToPath(new URL("../suites/", import.meta.url));

export interface SuiteInfo {
  readonly name: string;
  readonly summary: string;
  readonly cells: number;
  readonly seeds: readonly number[];
  readonly path: string;
}

/** The suites that come with lfm. */
export function listSuites(): readonly SuiteInfo[] {
  return suiteFiles().map((path) => {
    const suite = readSuite(path);
    return { name: suite.name, summary: suite.summary, cells: suite.cells.length, seeds: suite.seeds, path };
  });
}

/**
 * Reads a suite by name (`quick`) or from a YAML file.
 * @throws {LfmError} CONFIG_INVALID naming the field, with the nearest suite for a name that is none
 */
export function readSuite(nameOrPath: string): Suite {
  return readChain(nameOrPath, []);
}

function readChain(nameOrPath: string, above: readonly string[]): Suite {
  const path = resolveSuite(nameOrPath);
  if (above.includes(path)) throw new LfmError("CONFIG_INVALID", `[@lfm/bench] ${path} extends itself`);
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, "utf8"), { merge: true });
  } catch (cause) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/bench] ${path} is no YAML: ${(cause as Error).message}`, { cause });
  }
  const parsed = suiteFileSchema.safeParse(raw);
  if (parsed.success) {
    const { extends: base, ...suite } = parsed.data;
    const under = base === undefined ? undefined : readChain(base, [...above, path]);
    const options = { ...under?.options, ...suite.options };
    const cells = [...(under?.cells ?? []), ...suite.cells.flatMap(combinations)];
    return { ...suite, ...(Object.keys(options).length > 0 ? { options } : {}), cells };
  }
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] ${path}: ${z.prettifyError(parsed.error)}`, {
    details: { issues: parsed.error.issues },
  });
}

function combinations({ over, ...cell }: FileCell): readonly SuiteCell[] {
  if (!over) return [cell];
  const choices = Object.entries(over).reduce<readonly (readonly (readonly [string, string | number | boolean])[])[]>(
    (made, [option, values]) => made.flatMap((choice) => values.map((value) => [...choice, [option, value] as const])),
    [[]],
  );
  return choices.map((choice) => {
    const label = [cell.label ?? cell.preset, ...choice.map(([option, value]) => `${option} ${value}`)].filter(
      (part) => part !== undefined,
    );
    return { ...cell, config: { ...cell.config, ...Object.fromEntries(choice) }, label: label.join(", ") };
  });
}

function resolveSuite(nameOrPath: string): string {
  if (/\.ya?ml$/.test(nameOrPath)) {
    if (existsSync(nameOrPath)) return nameOrPath;
    throw new LfmError("CONFIG_INVALID", `[@lfm/bench] no suite file ${nameOrPath}`);
  }
  const files = suiteFiles();
  const names = files.map((f) => basename(f, ".yaml"));
  const at = names.indexOf(nameOrPath);
  if (at >= 0) return files[at]!;
  const near = nearestName(nameOrPath, names);
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] no suite "${nameOrPath}"`, {
    hint: near ? `did you mean "${near}"?` : `suites: ${names.join(", ")}, or a .yaml file`,
  });
}

function suiteFiles(): string[] {
  const folder = suitesFolder();
  return readdirSync(folder)
    .filter((f) => f.endsWith(".yaml"))
    .sort()
    .map((f) => join(folder, f));
}
