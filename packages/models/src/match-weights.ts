import { isFloatType, LfmError, type ModelInfo, nearestName, type ParamInfo, type Weight, type Weights } from "@lfm/core";

/** What wraps the base of a model in checkpoints that were written with a head, and is missing in those written without. */
const basePrefixes = ["transformer.", "bert.", "roberta.", "distilbert.", "vit.", "dinov2.", "resnet.", "model.", "gpt_neox."];

/** Buffers that older checkpoints carry and no forward pass reads. */
const idle = /(^|\.)(position_ids|num_batches_tracked|rotary_emb\.inv_freq|(attn|attention)\.(bias|masked_bias))$/;

/**
 * Weights under the names of `info.params`: prefixes of the base model are added or dropped, `gamma` and `beta` of old layer norms renamed,
 * idle buffers and the second name of a tied head left out.
 * @throws {LfmError} PARAM_NOT_FOUND for a missing or an unexpected tensor, SHAPE_MISMATCH, DTYPE_UNSUPPORTED, FILE_FORMAT for two tensors of one name
 */
export function matchWeights(info: ModelInfo, weights: Weights): Weights {
  const found: Record<string, Weight> = {};
  const unexpected: string[] = [];
  for (const [given, weight] of Object.entries(weights)) {
    const name = canonicalName(given, info.params);
    if (name === undefined) {
      if (!isIdle(given, info)) unexpected.push(given);
      continue;
    }
    if (Object.hasOwn(found, name))
      throw new LfmError("FILE_FORMAT", `[@lfm/models] ${info.architecture}: two tensors for the parameter "${name}"`);
    checkType(info, name, given, weight);
    found[name] = weight;
  }
  const missing = Object.keys(info.params).filter((name) => !Object.hasOwn(found, name));
  if (missing.length > 0) throw absent(info, missing, unexpected);
  if (unexpected.length > 0) throw superfluous(info, unexpected);
  return found;
}

/** The parameter that a tensor of a checkpoint is, undefined for none. */
export function canonicalName(given: string, params: Readonly<Record<string, ParamInfo>>): string | undefined {
  const name = given
    .replace(/(LayerNorm|layernorm|layer_norm)\.gamma$/, "$1.weight")
    .replace(/(LayerNorm|layernorm|layer_norm)\.beta$/, "$1.bias");
  const known = (path: string): boolean => Object.hasOwn(params, path);
  if (known(name)) return name;
  // transformers 5's name of GPT-NeoX's head; its checkpoints keep the older one.
  if (name === "lm_head.weight" && known("embed_out.weight")) return "embed_out.weight";
  for (const prefix of basePrefixes) {
    if (known(`${prefix}${name}`)) return `${prefix}${name}`;
    if (name.startsWith(prefix) && known(name.slice(prefix.length))) return name.slice(prefix.length);
  }
  return undefined;
}

function isIdle(given: string, info: ModelInfo): boolean {
  if (idle.test(given)) return true;
  // Heads of pre-training and classification are no part of an encoder; the tied head is the embedding.
  if (info.task === "encoder" && /^(cls|classifier|pre_classifier|vocab_(transform|layer_norm|projector)|lm_head)\./.test(given))
    return true;
  // A pooler that the head does not read.
  if (info.task === "classifier" && /(^|\.)pooler\.dense\./.test(given)) return true;
  return /^(lm_head|embed_out)\.weight$/.test(given) && info.sites.some((s) => s.kind === "head" && s.weight?.name !== given);
}

function checkType(info: ModelInfo, name: string, given: string, { dtype, shape }: Weight): void {
  const want = info.params[name]!.shape;
  if (!isFloatType(dtype))
    throw new LfmError("DTYPE_UNSUPPORTED", `[@lfm/models] ${info.architecture}: "${given}" is ${dtype}, a parameter is a float`, {
      details: { name: given, dtype },
      hint: "weights that are quantised in their file are not read; take the model in bf16, f16 or f32",
    });
  if (want.length === shape.length && want.every((d, i) => d === shape[i])) return;
  throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] ${info.architecture}: "${given}" is [${shape}], the config wants [${want}]`, {
    details: { name: given, shape: [...shape], expected: [...want] },
  });
}

function absent(info: ModelInfo, missing: readonly string[], unexpected: readonly string[]): LfmError {
  const near = nearestName(missing[0]!, unexpected);
  return new LfmError(
    "PARAM_NOT_FOUND",
    `[@lfm/models] ${info.architecture}: the weights have no "${missing[0]}"${missing.length > 1 ? ` and ${missing.length - 1} more` : ""}`,
    { details: { missing, unexpected }, ...(near ? { hint: `there is "${near}"; is that meant?` } : {}) },
  );
}

function superfluous(info: ModelInfo, unexpected: readonly string[]): LfmError {
  const near = nearestName(unexpected[0]!, Object.keys(info.params));
  const more = unexpected.length > 1 ? ` and ${unexpected.length - 1} more` : "";
  return new LfmError(
    "PARAM_NOT_FOUND",
    `[@lfm/models] ${info.architecture} has no parameter "${unexpected[0]}"${more}, the weights have`,
    {
      details: { unexpected },
      ...(near ? { hint: `the nearest is "${near}"` } : {}),
    },
  );
}
