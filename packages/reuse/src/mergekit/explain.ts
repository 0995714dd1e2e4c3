import type { DType } from "@lfm/core";
import { type MergePlan, type PlannedInput, partsOfSource, type TensorSource } from "../merging/plan.js";

/** How one tensor of the result is made. */
export interface ExplainedTensor {
  readonly tensor: string;
  readonly shape: readonly number[];
  readonly dtype: DType;
  readonly method: string;
  /** Those that all models share. */
  readonly parameters: Readonly<Record<string, unknown>>;
  readonly models: readonly ExplainedInput[];
  readonly base?: ExplainedInput;
}

export interface ExplainedInput {
  readonly model: string;
  /** Its name in the model's file, where it is another one. */
  readonly from?: string;
  /** What is done to it while it is read: a LoRA is merged into it, rows are taken in the order of another vocabulary. */
  readonly as?: readonly ("lora" | "rows")[];
  /** File of what is known of the tensor from the model's data. */
  readonly statistics?: string;
  readonly parameters: Readonly<Record<string, unknown>>;
}

/** Every tensor of the result with the parameters that were resolved for it. */
export function explainMerge(plan: MergePlan): readonly ExplainedTensor[] {
  return plan.tensors.map(({ name, shape, dtype, method, parameters, models, base }) => ({
    tensor: name,
    shape,
    dtype,
    method,
    parameters,
    models: models.map((m) => explainInput(name, m)),
    ...(base ? { base: explainInput(name, base) } : {}),
  }));
}

function explainInput(name: string, { model, source, statistics, parameters }: PlannedInput): ExplainedInput {
  const as: ("lora" | "rows")[] = [];
  let at: TensorSource | undefined = source;
  while (at && at.kind !== "stored") {
    const done = at.kind === "gathered" ? "rows" : "lora";
    if (!as.includes(done)) as.push(done);
    at = partsOfSource(at)[0];
  }
  return {
    model,
    ...(at && at.name !== name ? { from: at.name } : {}),
    ...(as.length > 0 ? { as } : {}),
    ...(statistics ? { statistics: statistics.source.file } : {}),
    parameters,
  };
}
