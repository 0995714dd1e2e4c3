import { LfmError, type Model, nearestName, type Weights } from "@lfm/core";
import { bert } from "./architectures/bert.js";
import { convnet } from "./architectures/convnet.js";
import { gpt2 } from "./architectures/gpt2.js";
import { llama } from "./architectures/llama.js";
import { mlp } from "./architectures/mlp.js";
import { t5 } from "./architectures/t5.js";
import { vit } from "./architectures/vit.js";
import { canonicalName, matchWeights } from "./match-weights.js";

type Build = (config: never, weights?: Weights) => Model;

/** Architectures by `model_type` of config.json. */
const architectures: Readonly<Record<string, Build>> = { gpt2, llama, qwen2: llama, mixtral: llama, bert, t5, vit, convnet, mlp };

/**
 * The model that a Hugging Face config describes. With weights (checkpoint names, any float dtype: computation is f32) each is checked
 * against the config; without them the model can only be planned with or initialised.
 * @throws {LfmError} CONFIG_INVALID, PARAM_NOT_FOUND or SHAPE_MISMATCH naming the tensor
 */
export function modelFromConfig(config: Readonly<Record<string, unknown>>, weights?: Weights): Model {
  const type = config.model_type;
  const build = typeof type === "string" && Object.hasOwn(architectures, type) ? architectures[type] : undefined;
  if (!build) {
    const known = Object.keys(architectures);
    const near = typeof type === "string" ? nearestName(type, known) : undefined;
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/models] no architecture for model_type ${JSON.stringify(type)}; there are ${known.join(", ")}`,
      {
        ...(near ? { hint: `did you mean "${near}"?` } : {}),
      },
    );
  }
  const planned = build(config as never);
  if (!weights) return planned;
  // Encoders are often stored without the pooler that nobody asked of them.
  const pooler = "pooler.dense.weight";
  const bare = planned.info.task === "encoder" && pooler in planned.info.params && !hasParam(weights, pooler, planned);
  const model = bare ? build({ ...config, add_pooling_layer: false } as never) : planned;
  const matched = matchWeights(model.info, weights);
  const params = Object.fromEntries(
    Object.entries(model.info.params).map(([name, info]) => [name, { ...info, dtype: matched[name]!.dtype }]),
  );
  return { ...model, info: { ...model.info, params }, params: matched };
}

function hasParam(weights: Weights, name: string, model: Model): boolean {
  return Object.keys(weights).some((given) => canonicalName(given, model.info.params) === name);
}
