import { LfmError } from "@lfm/core";
import { z } from "zod";
import type { AnyObjective } from "./define-objective.js";
import { objectives } from "./index.js";

const LIKELIHOOD = "likelihood";

/** The options of all objectives under one roof: which have it stands before what it means. None has a default here: that is the objective's. */
function optionsOfAll(): Record<string, z.ZodType> {
  const found: Record<string, z.ZodType> = {};
  for (const { config } of objectives)
    for (const [name, field] of Object.entries(config.shape as Readonly<Record<string, z.ZodDefault>>)) {
      if (name in found) continue;
      const having = objectives.filter((o) => name in o.config.shape).map((o) => o.id);
      const defaults = `[${JSON.stringify(field.parse(undefined))}]`;
      found[name] = z.optional(field.unwrap()).describe(`${having.join(", ")}: ${field.description ?? ""} ${defaults}`);
    }
  return found;
}

/** How a model learns from examples, beside the method that says what of it learns. */
export const taskOptions = z.strictObject({
  objective: z
    .enum([LIKELIHOOD, ...objectives.map((o) => o.id)])
    .default(LIKELIHOOD)
    .describe(
      "what is learned: the likelihood of right answers; from prompt + chosen + rejected dpo, orpo or reward; from prompt + completion + label kto",
    ),
  ...optionsOfAll(),
  pack: z
    .boolean()
    .default(false)
    .describe("several examples of a language model share a row of maxLength tokens, kept apart; batches count rows"),
  groupByLength: z.boolean().default(false).describe("fill batches with examples of similar length"),
});
export type TaskOptions = z.input<typeof taskOptions>;

/** What was chosen of {@link taskOptions}. */
export interface ChosenTask {
  /** Undefined where likelihood is learned. */
  readonly objective: AnyObjective | undefined;
  /** Options of the objective. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly pack: boolean;
  readonly groupByLength: boolean;
}

/** @throws {LfmError} CONFIG_INVALID for values that are none, and for options that the objective does not have */
export function chosenTask(given: Readonly<Record<string, unknown>>): ChosenTask {
  const parsed = taskOptions.safeParse(given);
  if (!parsed.success) throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${z.prettifyError(parsed.error)}`, { cause: parsed.error });
  const { objective: id, pack, groupByLength, ...rest } = parsed.data;
  const objective = objectives.find((o) => o.id === id);
  const config = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const foreign = Object.keys(config).find((name) => !(objective && name in objective.config.shape));
  if (foreign !== undefined) {
    const having = objectives.filter((o) => foreign in o.config.shape).map((o) => o.id);
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] the objective ${id} has no ${foreign}`, {
      hint: `--objective ${having.join(" or ")}, or leave it out`,
    });
  }
  if (pack && objective)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${id} compares rows: they are not packed`, { hint: "leave --pack out" });
  if (pack && groupByLength)
    throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] packed rows are of one length already", { hint: "leave --group-by-length out" });
  return { objective, config, pack, groupByLength };
}
