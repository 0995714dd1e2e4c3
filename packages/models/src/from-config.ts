import { LfmError, type Model, nearestName, type Weights } from "@lfm/core";
import { bertFromConfig } from "./architectures/bert.js";
import { cifarResnetFromConfig } from "./architectures/cifar-resnet.js";
import { convnetFromConfig } from "./architectures/convnet.js";
import { dinov2FromConfig } from "./architectures/dinov2.js";
import { distilbertFromConfig } from "./architectures/distilbert.js";
import { gemmaFromConfig } from "./architectures/gemma.js";
import { gemma2FromConfig } from "./architectures/gemma2.js";
import { gemma3FromConfig } from "./architectures/gemma3.js";
import { gptNeoxFromConfig } from "./architectures/gpt-neox.js";
import { gpt2FromConfig } from "./architectures/gpt2.js";
import { llamaFromConfig } from "./architectures/llama.js";
import { mistralFromConfig } from "./architectures/mistral.js";
import { mixtralFromConfig } from "./architectures/mixtral.js";
import { mlpFromConfig } from "./architectures/mlp.js";
import type { Build, UncheckedConfig } from "./architectures/parse-config.js";
import { phi3FromConfig } from "./architectures/phi3.js";
import { qwen2FromConfig } from "./architectures/qwen2.js";
import { qwen3FromConfig } from "./architectures/qwen3.js";
import { resnetFromConfig } from "./architectures/resnet.js";
import { robertaFromConfig } from "./architectures/roberta.js";
import { t5FromConfig } from "./architectures/t5.js";
import { vitFromConfig } from "./architectures/vit.js";
import { checkBounds } from "./config-bounds.js";
import { canonicalName, matchWeights } from "./match-weights.js";

/** Architectures by `model_type` of config.json. */
const architectures: Readonly<Record<string, Build<UncheckedConfig>>> = {
  gpt2: gpt2FromConfig,
  llama: llamaFromConfig,
  mistral: mistralFromConfig,
  mixtral: mixtralFromConfig,
  qwen2: qwen2FromConfig,
  qwen3: qwen3FromConfig,
  phi3: phi3FromConfig,
  gemma: gemmaFromConfig,
  gemma2: gemma2FromConfig,
  gemma3_text: gemma3FromConfig,
  gpt_neox: gptNeoxFromConfig,
  bert: bertFromConfig,
  roberta: robertaFromConfig,
  "xlm-roberta": robertaFromConfig,
  distilbert: distilbertFromConfig,
  t5: t5FromConfig,
  vit: vitFromConfig,
  dinov2: dinov2FromConfig,
  resnet: resnetFromConfig,
  cifar_resnet: cifarResnetFromConfig,
  convnet: convnetFromConfig,
  mlp: mlpFromConfig,
};

/**
 * The model that a Hugging Face config describes. With weights (checkpoint names, any float dtype: computation is f32) each is checked
 * against the config; without them the model can only be planned with or initialised.
 * @throws {LfmError} CONFIG_INVALID, PARAM_NOT_FOUND, SHAPE_MISMATCH or DTYPE_UNSUPPORTED naming the tensor
 */
export function modelFromConfig(config: Readonly<Record<string, unknown>>, weights?: Weights): Model {
  const type = config.model_type;
  const build = typeof type === "string" && Object.hasOwn(architectures, type) ? architectures[type] : undefined;
  if (!build) {
    const known = Object.keys(architectures);
    const near = typeof type === "string" ? nearestName(type, known) : undefined;
    const hint = partOf(config, known) ?? (near ? `did you mean "${near}"?` : undefined);
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/models] no architecture for model_type ${typeof type === "object" ? "of another kind than text" : JSON.stringify(type)}; there are ${known.join(", ")}`,
      hint ? { hint } : {},
    );
  }
  checkBounds(config);
  const planned = build(config);
  if (!weights) return planned;
  // Encoders are often stored without the pooler that nobody asked of them.
  const pooler = "pooler.dense.weight";
  const bare = planned.info.task === "encoder" && pooler in planned.info.params && !hasParam(weights, pooler, planned);
  const model = bare ? build({ ...config, add_pooling_layer: false }) : planned;
  const matched = matchWeights(model.info, weights);
  const params = Object.fromEntries(
    Object.entries(model.info.params).map(([name, info]) => [name, { ...info, dtype: matched[name]!.dtype }]),
  );
  return { ...model, info: { ...model.info, params }, params: matched };
}

/** What to do with a model of several, e.g. of images and text, whose language model is known. */
function partOf({ text_config: text }: Readonly<Record<string, unknown>>, known: readonly string[]): string | undefined {
  const type = typeof text === "object" && text !== null && "model_type" in text ? text.model_type : undefined;
  if (typeof type !== "string" || !known.includes(type)) return undefined;
  return `its language model is a ${type}: save that alone, in Python AutoModelForCausalLM.from_config(config.text_config) with its weights`;
}

function hasParam(weights: Weights, name: string, model: Model): boolean {
  return Object.keys(weights).some((given) => canonicalName(given, model.info.params) === name);
}
