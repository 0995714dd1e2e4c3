import { LfmError, type Model, type Weights } from "@lfm/core";
import { z } from "zod";

/** Makes a model of one architecture. */
export type Build<C> = (config: C, weights?: Weights) => Model;

/** A config as it comes out of a file. */
export type UncheckedConfig = Readonly<Record<string, unknown>>;

/** The config with its defaults. @throws {LfmError} CONFIG_INVALID naming the architecture, every wrong field and what is wrong with it */
export function parseConfig<S extends z.ZodType>(architecture: string, schema: S, config: unknown): z.output<S> {
  const parsed = schema.safeParse(config);
  if (parsed.success) return parsed.data;
  const issues = parsed.error.issues.map((i) => `${i.path.length > 0 ? i.path.join(".") : "config"}: ${i.message}`);
  throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${architecture}: ${issues.join("; ")}`, { details: { architecture, issues } });
}

/** A config's dropout rate: transformers' own default stands where the file has none. */
export function dropoutRate(byDefault: number): z.ZodDefault<z.ZodNumber> {
  return z.number().min(0).lt(1).default(byDefault);
}
