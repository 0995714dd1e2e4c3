import { gelu, LfmError, type Model, type ModelInfo, relu, type Tensor, tanh, type Weights } from "@lfm/core";
import { z } from "zod";
import { siteLinear } from "../sites.js";
import { Declarations } from "./declarations.js";
import { type Build, parseConfig, type UncheckedConfig } from "./parse-config.js";

const mlpConfigSchema = z.object({
  model_type: z.literal("mlp").default("mlp"),
  input_size: z.number().int().positive().describe("features of an input"),
  hidden_sizes: z.array(z.number().int().positive()).describe("width of each hidden layer"),
  output_size: z.number().int().positive().describe("classes, or outputs of a regression"),
  activation: z.enum(["relu", "tanh", "gelu", "identity"]).default("relu"),
  task: z.enum(["classifier", "regressor"]).default("classifier"),
});
export type MlpConfig = z.input<typeof mlpConfigSchema>;

const activations = { relu, tanh, gelu, identity: (x: Tensor): Tensor => x } as const;

/** Fully connected layers fc1, fc2, …: the activation stands between them. `pooled` is the last hidden layer. */
export const mlp: Build<MlpConfig> = mlpFromConfig;

/** The same from a config that nothing is known of yet. */
export function mlpFromConfig(config: UncheckedConfig, weights: Weights = {}): Model {
  const c = parseConfig("mlp", mlpConfigSchema, config);
  const sizes = [c.input_size, ...c.hidden_sizes, c.output_size];
  const d = new Declarations();
  sizes.slice(1).forEach((out, i) => {
    d.linear(`fc${i + 1}`, { kind: i === sizes.length - 2 ? "head" : "linear", layer: i, in: sizes[i]!, out });
  });
  const { params, sites } = d;
  const info: ModelInfo = {
    architecture: "mlp",
    task: c.task,
    input: "features",
    config: c,
    hiddenSize: c.hidden_sizes.at(-1) ?? c.input_size,
    layers: sites.length,
    classes: c.output_size,
    sites,
    params,
  };
  return {
    info,
    params: weights,
    forward: (params, input, context) => {
      if (!input.features) throw new LfmError("SHAPE_MISMATCH", "[@lfm/models] mlp reads features f32[batch, n]; the input has none");
      let x: Tensor = input.features;
      let pooled = x;
      sites.forEach((site, i) => {
        pooled = x;
        x = siteLinear(context, site, params, x);
        if (i < sites.length - 1) x = activations[c.activation](x);
      });
      return { logits: x, pooled, last: x };
    },
  };
}
