/** Which examples a batch norm takes its statistics of while an episode is answered. */
import { type Hook, type Model, type ModelInput, mean, type Outputs, type ParamTree, type Tensor, variance } from "@lfm/core";
import { z } from "zod";

/**
 * `transductive`: of the set at hand, so that queries are answered together; `support`: of the labelled examples, so that each query is answered
 * alone; `none`: running statistics of training.
 */
export const norms = ["support", "transductive", "none"] as const;
export type Norm = (typeof norms)[number];

const NORM_MEANING =
  "batch norm of an episode: statistics of its support, of the set at hand (transductive: queries see each other), or of training (none)";

/** The option of every method that answers episodes. */
export const normOption = (preset: Norm): z.ZodDefault<z.ZodEnum<{ support: "support"; transductive: "transductive"; none: "none" }>> =>
  z.enum(norms).default(preset).describe(NORM_MEANING);

/** What is to be said beside an accuracy: a model without batch norm leaks nothing, whatever was asked. */
export function normOf(model: Pick<Model, "info">, asked: Norm): Norm {
  return model.info.sites.some((site) => site.params?.running_mean !== undefined) ? asked : "none";
}

/** A forward pass of one half of an episode. `support` — what the model reads of the labelled half, where queries are asked. */
export function forwardBy(norm: Norm, model: Model, params: ParamTree, input: ModelInput, support?: ModelInput): Outputs {
  if (norm === "none") return model.forward(params, input, { mode: "eval" });
  if (norm === "transductive" || support === undefined) return model.forward(params, input, { mode: "train" });
  return model.forward({ ...params, ...statisticsOf(model, params, support) }, input, { mode: "eval" });
}

/** Mean and (biased) variance at every batch norm over these examples, under the names of the running statistics. f32[channels] each. */
function statisticsOf(model: Model, params: ParamTree, input: ModelInput): Record<string, Tensor> {
  const found: Record<string, Tensor> = {};
  const reader: Hook = {
    matches: (site) => site.params?.running_mean !== undefined,
    output: (y, x, { params: names }) => {
      // Channels lie behind the batch; all other axes are averaged over.
      const axes = x.shape.flatMap((_, axis) => (axis === 1 ? [] : [axis]));
      found[names!.running_mean!] = mean(x, axes);
      found[names!.running_var!] = variance(x, axes);
      return y;
    },
  };
  model.forward(params, input, { mode: "train", hooks: [reader] });
  return found;
}
