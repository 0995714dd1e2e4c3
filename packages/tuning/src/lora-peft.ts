import { f32, type HostTensor, LfmError, type Model, widenToF32 } from "@lfm/core";
import { type LoraLayer, loraParts } from "@lfm/formats";
import { type LoraScaling, loraNames, loraScale } from "./lora-hooks.js";
import { ownWeight } from "./own-weights.js";
import { expectShape, otherSize, type PeftForm, siteOf } from "./peft-form.js";

/** What PEFT's form needs of the method's options. */
interface LoraOptions extends LoraScaling {
  readonly useDora: boolean;
  readonly targetModules: string[];
}

const TENSOR = /^(.*)\.lora_(?:A\.weight|embedding_A)$/;

/** LoRA and DoRA of linear layers, embeddings and output layers, biases of B, rows of embeddings. */
export const loraPeft: PeftForm<LoraOptions> = {
  type: "LORA",
  alsoReads: ["TRAINABLE_TOKENS"],
  write: (c, own, model) => {
    const ranks = Object.fromEntries(
      Object.entries(own).flatMap(([name, t]) => {
        const path = TENSOR.exec(name)?.[1];
        return path === undefined ? [] : [[path, t.shape[0]!] as const];
      }),
    );
    const paths = Object.keys(ranks);
    // One scale holds for all layers here, and B is made for it; PEFT's follows from each layer's rank.
    const others = Object.entries(ranks).filter(([, r]) => r !== c.r);
    const alphaOf = (r: number): number => loraScale(c) * (c.useRslora ? Math.sqrt(r) : r);
    const options = {
      r: c.r,
      lora_alpha: c.loraAlpha,
      lora_dropout: c.loraDropout,
      use_rslora: c.useRslora,
      use_dora: c.useDora,
      lora_bias: Object.keys(own).some((name) => name.endsWith(".lora_B.bias")),
      fan_in_fan_out: model.info.sites.some((s) => paths.includes(s.path) && s.kind !== "embedding" && s.weight?.layout === "in-out"),
      target_modules: paths,
      ...(others.length === 0
        ? {}
        : { rank_pattern: Object.fromEntries(others), alpha_pattern: Object.fromEntries(others.map(([path, r]) => [path, alphaOf(r)])) }),
    };
    return { options, tensors: own };
  },
  read: (adapter, model) => {
    const { layers, parameters, tokens } = loraParts(adapter);
    const { config: given } = adapter;
    if (given.peft_type === "TRAINABLE_TOKENS") return { config: {}, tensors: {}, parameters, rows: tokens };
    if (given.peft_type !== "LORA") throw new LfmError("INTERNAL", `[@lfm/tuning] lora reads no ${given.peft_type}`);
    const config = {
      r: given.r,
      loraAlpha: given.lora_alpha,
      loraDropout: Math.min(0.99, given.lora_dropout),
      useRslora: given.use_rslora,
      useDora: given.use_dora,
      targetModules: Object.keys(layers),
    };
    const tensors: Record<string, HostTensor> = {};
    for (const [path, layer] of Object.entries(layers)) Object.assign(tensors, tensorsAt(model, path, layer, loraScale(config)));
    return { config, tensors, parameters, rows: tokens };
  },
};

/** @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH, OP_UNSUPPORTED */
function tensorsAt(model: Model, path: string, layer: LoraLayer, scale: number): Record<string, HostTensor> {
  const site = siteOf(model, path, layer.embedding ? "embedding" : "linear");
  const names = loraNames(site);
  const { in: width, out } = site.weight!;
  // Of embeddings and output layers a side is the vocabulary.
  const hint = site.kind === "linear" ? undefined : otherSize;
  expectShape(`${path}: lora_A`, layer.a, [layer.r, width], hint);
  expectShape(`${path}: lora_B`, layer.b, [out, layer.r], hint);
  // Where a layer has a scale of its own, B takes up what differs.
  const factor = layer.scale / scale;
  const scaled = (t: HostTensor): HostTensor =>
    factor === 1
      ? t
      : f32(
          (widenToF32(t).data as Float32Array).map((v) => v * factor),
          t.shape,
        );
  return {
    [names.a]: layer.a,
    [names.b]: scaled(layer.b),
    ...(layer.bias ? { [names.bias]: scaled(layer.bias) } : {}),
    ...(layer.magnitude ? { [names.magnitude]: layer.magnitude } : {}),
  };
}

/** Whether a tensor is a parameter of the base, or the matrix of its own that an output layer got which is the embedding there. */
export function isParameterOf(model: Model, name: string): boolean {
  return Object.hasOwn(model.info.params, name) || model.info.sites.some((site) => ownWeight(site) === name);
}
