import { type HostTensor, LfmError, type Model, type Site } from "@lfm/core";
import { type LoraLayer, loraParts } from "@lfm/formats";
import { sizesOf } from "./layer-change.js";
import { patternsOf } from "./layer-ranks.js";
import { type LoraScaling, loraNames, loraRanks } from "./lora-hooks.js";
import { ownWeight } from "./own-weights.js";
import { expectShape, otherSize, type PeftForm, siteOf } from "./peft-form.js";
import { tokenRowsName } from "./token-rows.js";

/** What PEFT's form needs of the method's options. */
interface LoraOptions extends LoraScaling {
  readonly useDora: boolean;
  readonly targetModules: string[];
  readonly trainableTokenIndices: number[];
}

/** LoRA and DoRA of linear layers, convolutions, embeddings and output layers, biases of B, rows of embeddings. */
export const loraPeft: PeftForm<LoraOptions> = {
  type: "LORA",
  alsoReads: ["TRAINABLE_TOKENS"],
  write: (c, own, model, stored) => {
    const ranks = loraRanks(c);
    const sites = model.info.sites.filter((site) => loraNames(site).a in own);
    const layers = sites.map(({ path }) => ({ path: stored(path), r: ranks.rank(path), alpha: ranks.alpha(path) }));
    const { rankPattern, alphaPattern } = patternsOf({ r: c.r, alpha: c.loraAlpha }, layers);
    const options = {
      r: c.r,
      lora_alpha: c.loraAlpha,
      lora_dropout: c.loraDropout,
      use_rslora: c.useRslora,
      use_dora: c.useDora,
      lora_bias: Object.keys(own).some((name) => name.endsWith(".lora_B.bias")),
      fan_in_fan_out: sites.some((s) => s.kind !== "embedding" && s.weight?.layout === "in-out"),
      target_modules: sites.map((site) => site.path),
      rank_pattern: rankPattern,
      alpha_pattern: alphaPattern,
      ...(c.trainableTokenIndices.length > 0 ? { trainable_token_indices: c.trainableTokenIndices } : {}),
    };
    return { options, tensors: own };
  },
  read: (adapter, model) => {
    const { layers, parameters, tokens } = loraParts(adapter, { convolutions: true });
    const { config: given } = adapter;
    if (given.peft_type === "TRAINABLE_TOKENS") return { config: {}, tensors: {}, parameters, rows: tokens };
    if (given.peft_type !== "LORA") throw new LfmError("INTERNAL", `[@lfm/tuning] lora reads no ${given.peft_type}`);
    const tensors: Record<string, HostTensor> = {};
    const own = Object.entries(layers).map(([path, layer]) => {
      const site = siteOf(model, path, ...(layer.embedding ? (["embedding"] as const) : (["linear", "conv"] as const)));
      Object.assign(tensors, tensorsAt(site, path, layer));
      return { path: site.path, r: layer.r, alpha: layer.alpha };
    });
    const [trained, ...tables] = Object.entries(tokens);
    // Rows of the one table that is not replaced as a whole are what trainableTokenIndices trains; others replace those of their tables.
    const learnsRows =
      trained !== undefined && tables.length === 0 && isTokenTable(model, trained[0]) && !(`${trained[0]}.weight` in parameters);
    if (learnsRows) tensors[tokenRowsName(trained[0])] = trained[1].values;
    const config = {
      ...(learnsRows ? { trainableTokenIndices: [...trained[1].rows] } : {}),
      r: given.r,
      loraAlpha: given.lora_alpha,
      loraDropout: Math.min(0.99, given.lora_dropout),
      useRslora: given.use_rslora,
      useDora: given.use_dora,
      // What learned nowhere but in full has no layers.
      ...(own.length > 0 ? { targetModules: own.map((layer) => layer.path) } : {}),
      ...patternsOf({ r: given.r, alpha: given.lora_alpha }, own),
    };
    return { config, tensors, parameters, rows: learnsRows ? {} : tokens };
  },
};

/** @param path as the model and PEFT name the module */
function isTokenTable({ info }: Model, path: string): boolean {
  return info.sites.some((s) => s.kind === "embedding" && s.weight?.name === `${path}.weight` && s.weight.out === info.hiddenSize);
}

/** @throws {LfmError} SHAPE_MISMATCH */
function tensorsAt(site: Site, path: string, layer: LoraLayer): Record<string, HostTensor> {
  const names = loraNames(site);
  const { in: width, out, kernel } = sizesOf(site);
  // Of embeddings and output layers a side is the vocabulary.
  const hint = site.kind === "embedding" || site.kind === "head" ? otherSize : undefined;
  expectShape(`${path}: lora_A`, layer.a, [layer.r, width, ...kernel], hint);
  expectShape(`${path}: lora_B`, layer.b, [out, layer.r, ...kernel.map(() => 1)], hint);
  return {
    [names.a]: layer.a,
    [names.b]: layer.b,
    ...(layer.bias ? { [names.bias]: layer.bias } : {}),
    ...(layer.magnitude ? { [names.magnitude]: layer.magnitude } : {}),
  };
}

/** Whether a tensor is a parameter of the base, or the matrix of its own that an output layer got which is the embedding there. */
export function isParameterOf(model: Model, name: string): boolean {
  return Object.hasOwn(model.info.params, name) || model.info.sites.some((site) => ownWeight(site) === name);
}
