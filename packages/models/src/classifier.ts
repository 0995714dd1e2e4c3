import { f32, LfmError, type Model, type ModelInfo, Rng, type Tensor, zeros } from "@lfm/core";
import { type ClassificationHead, classificationHead, decoderHead } from "./architectures/classification-heads.js";
import { Declarations } from "./architectures/declarations.js";
import { modelFromConfig } from "./from-config.js";
import { type Pooling, pool } from "./pooling.js";

export interface ClassifierOptions {
  /**
   * One linear layer on this vector instead of the head that transformers' class of the architecture has: a layer on the pooler's vector (BERT,
   * ViT), two on the first token (RoBERTa, DistilBERT), one on class token and mean of patches (DINOv2).
   */
  readonly pooling?: Pooling;
  /** Standard deviation of the new weights; default 0.02, as transformers' initializer_range. */
  readonly std?: number;
}

/** The weight f32[classes, …] of the head that {@link withClassifier} puts on an encoder or a decoder by itself. */
export function classifierWeight(info: Pick<ModelInfo, "architecture" | "task">): string {
  return `${ownHead(info).output}.weight`;
}

function ownHead({ architecture, task }: Pick<ModelInfo, "architecture" | "task">): ClassificationHead {
  return task === "causal-lm" ? decoderHead : classificationHead(architecture);
}

/**
 * An encoder, or a decoder, with a fresh head for classes: logits f32[batch, classes]. The model's names stay. A decoder's head reads the last token
 * that the mask shows.
 * @throws {LfmError} CAPABILITY_MISSING for a model that is neither, or has no such vector
 */
export function withClassifier(given: Model, classes: number, seed: number, options: ClassifierOptions = {}): Model {
  const { task, architecture } = given.info;
  if (task !== "encoder" && task !== "causal-lm")
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] withClassifier takes an encoder or a decoder, ${architecture} is a ${task}`);
  const { pooling } = options;
  const head = pooling === undefined ? ownHead(given.info) : classificationHead();
  const model = head.withoutPooler ? withoutPooler(given) : given;
  const { info } = model;
  const d = new Declarations();
  head.declare(d, info.hiddenSize, classes);
  const find = d.byPath();
  const fresh = Object.fromEntries(
    Object.entries(d.params).map(([name, { shape }]) => {
      const rng = new Rng(seed).split(name.replace(/\.weight$/, ""));
      const n = shape.reduce((a, b) => a * b, 1);
      return [name, shape.length > 1 ? f32(rng.normalArray(n, options.std ?? 0.02), shape) : zeros(shape)];
    }),
  );
  return {
    info: { ...info, task: "classifier", classes, params: { ...info.params, ...d.params }, sites: [...info.sites, ...d.sites] },
    params: { ...model.params, ...fresh },
    ...(model.quantized ? { quantized: model.quantized } : {}),
    forward: (params, input, context) => {
      const out = model.forward(params, input, context);
      const features: Tensor = pooling === undefined ? head.features(out, input.mask) : pool(out, pooling, input.mask);
      return { ...out, logits: head.logits(context, find, params, features, (x) => x) };
    },
  };
}

/** The encoder without the layer that only its pooled vector is made by; as it is where deltas lie on it. */
function withoutPooler(model: Model): Model {
  const { info } = model;
  const isPooler = (name: string): boolean => name.startsWith("pooler.dense.");
  const names = Object.keys(info.params).filter((name) => !isPooler(name));
  if (names.length === Object.keys(info.params).length || Object.keys(model.params).some((name) => !(name in info.params))) return model;
  const bare = modelFromConfig({ ...info.config, model_type: info.architecture, add_pooling_layer: false });
  const params = Object.fromEntries(names.map((name) => [name, info.params[name]!]));
  return {
    ...model,
    info: { ...bare.info, params },
    params: Object.fromEntries(Object.entries(model.params).filter(([name]) => !isPooler(name))),
    forward: bare.forward,
  };
}
