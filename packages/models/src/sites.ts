import {
  add,
  cast,
  conv2d,
  type ForwardContext,
  type HookContext,
  hookBias,
  hookInput,
  hookOutput,
  hookWeight,
  LfmError,
  layerNorm,
  linear,
  nearestName,
  type Outputs,
  type ParamTree,
  recompute,
  rmsNorm,
  type Site,
  type Tensor,
} from "@lfm/core";

/** A parameter of the tree as f32. @throws {LfmError} PARAM_NOT_FOUND with the nearest name */
export function param(params: ParamTree, name: string): Tensor {
  const found = params[name];
  if (found) return cast(found, "f32");
  const near = nearestName(name, Object.keys(params));
  throw new LfmError("PARAM_NOT_FOUND", `[@lfm/models] no parameter "${name}"`, near ? { hint: `did you mean "${near}"?` } : {});
}

/** A linear layer with its hooks: input → weight → product → output. x — f32[..., in] → f32[..., out]. */
export function siteLinear(context: HookContext, site: Site, params: ParamTree, x: Tensor): Tensor {
  const { name, bias: biasName, layout } = site.weight!;
  const seen = hookInput(x, site, context);
  const weight = hookWeight(param(params, name), site, context);
  const bias = biasName === undefined ? undefined : hookBias(param(params, biasName), site, context);
  return hookOutput(linear(seen, weight, bias, layout), seen, site, context, { weight, ...(bias ? { bias } : {}) });
}

/** A convolution with its hooks. x — f32[n, c, h, w]. */
export function siteConv(context: HookContext, site: Site, params: ParamTree, x: Tensor): Tensor {
  const { padding, stride } = site.conv!;
  const seen = hookInput(x, site, context);
  const weight = hookWeight(param(params, site.params!.weight!), site, context);
  const { bias: name } = site.params!;
  const bias = name === undefined ? undefined : hookBias(param(params, name), site, context);
  return hookOutput(conv2d(seen, weight, bias, { padding, stride }), seen, site, context, { weight, ...(bias ? { bias } : {}) });
}

/** A normalisation with its hooks; `norm` gets the input after hooks. */
export function siteNorm(context: HookContext, site: Site, x: Tensor, norm: (x: Tensor) => Tensor): Tensor {
  const seen = hookInput(x, site, context);
  return hookOutput(norm(seen), seen, site, context);
}

export function siteLayerNorm(context: HookContext, site: Site, params: ParamTree, x: Tensor, epsilon: number): Tensor {
  return siteNorm(context, site, x, (h) => layerNorm(h, param(params, site.params!.weight!), param(params, site.params!.bias!), epsilon));
}

export function siteRmsNorm(context: HookContext, site: Site, params: ParamTree, x: Tensor, epsilon: number): Tensor {
  const { params: names, weightOffset = 0 } = site;
  const weight = param(params, names!.weight!);
  return siteNorm(context, site, x, (h) => rmsNorm(h, weightOffset === 0 ? weight : add(weight, weightOffset), epsilon));
}

/**
 * A site without weights of its own (block, attention, mlp): hooks see what goes in and what comes out.
 * @param body gets its own context: in blocks that are computed again, dropout must be drawn again too, from the context's key
 */
export function siteAround(context: HookContext, site: Site, x: Tensor, body: (x: Tensor, context: HookContext) => Tensor): Tensor {
  const seen = hookInput(x, site, context);
  const around = (): Tensor => {
    if (!context.recompute || site.kind !== "block") return body(seen, context);
    const { key } = context;
    return key
      ? recompute((given) => body(given.seen, { ...context, key: given.key }), { seen, key })
      : recompute((given) => body(given, context), seen);
  };
  return hookOutput(around(), seen, site, context);
}

/**
 * The sum of a block's stream and what a part of it gives, f32[batch, seq, hidden] each, with its hooks: they see what is added (y), the stream
 * (x), and what normalises the sum, where the block does.
 */
export function siteResidual(context: HookContext, site: Site, stream: Tensor, part: Tensor, norm?: (sum: Tensor) => Tensor): Tensor {
  const seen = hookInput(stream, site, context);
  const sum = add(seen, hookOutput(part, seen, site, context, norm ? { norm } : {}));
  return norm ? norm(sum) : sum;
}

/** What a pass could say besides its answer, as far as it was asked for. */
export function wanted(
  { want = {} }: ForwardContext,
  { hidden, attentions, cache, source }: Pick<Outputs, "hidden" | "attentions" | "cache" | "source">,
): Pick<Outputs, "hidden" | "attentions" | "cache" | "source"> {
  return {
    ...(want.hidden && hidden ? { hidden } : {}),
    ...(want.attentions && attentions ? { attentions } : {}),
    ...(want.cache && cache ? { cache } : {}),
    ...(want.cache && source ? { source } : {}),
  };
}
