import { f32, LfmError, type Model, Rng, type Site, zeros } from "@lfm/core";
import { type Pooling, pool } from "./pooling.js";
import { siteLinear } from "./sites.js";

export interface ClassifierOptions {
  /** What the head reads. Default "pooler", as BertForSequenceClassification. */
  readonly pooling?: Pooling;
  /** Standard deviation of the new weights; default 0.02, as transformers' initializer_range. */
  readonly std?: number;
}

/**
 * An encoder with a fresh linear head `classifier` on its pooled vector: logits f32[batch, classes]. The encoder's names stay.
 * @throws {LfmError} CAPABILITY_MISSING for a model that has no pooled vector
 */
export function withClassifier(model: Model, classes: number, seed: number, options: ClassifierOptions = {}): Model {
  const { info } = model;
  if (info.task !== "encoder")
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] withClassifier takes an encoder, ${info.architecture} is a ${info.task}`);
  const site: Site = {
    path: "classifier",
    kind: "head",
    role: "classifier",
    weight: { name: "classifier.weight", bias: "classifier.bias", layout: "out-in", in: info.hiddenSize, out: classes },
    params: { weight: "classifier.weight", bias: "classifier.bias" },
  };
  const shape = [classes, info.hiddenSize];
  const rng = new Rng(seed).split("classifier");
  return {
    info: {
      ...info,
      task: "classifier",
      classes,
      params: {
        ...info.params,
        "classifier.weight": { shape, dtype: "f32", trainable: true },
        "classifier.bias": { shape: [classes], dtype: "f32", trainable: true },
      },
      sites: [...info.sites, site],
    },
    params: {
      ...model.params,
      "classifier.weight": f32(rng.normalArray(classes * info.hiddenSize, options.std ?? 0.02), shape),
      "classifier.bias": zeros([classes]),
    },
    forward: (params, input, context) => {
      const out = model.forward(params, input, context);
      return { ...out, logits: siteLinear(context, site, params, pool(out, options.pooling ?? "pooler", input.mask)) };
    },
  };
}
