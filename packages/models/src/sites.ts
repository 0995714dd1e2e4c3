import {
  cast,
  conv2d,
  type ForwardContext,
  hookInput,
  hookOutput,
  hookWeight,
  LfmError,
  layerNorm,
  linear,
  nearestName,
  type ParamTree,
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
export function siteLinear(context: ForwardContext, site: Site, params: ParamTree, x: Tensor): Tensor {
  const { name, bias, layout } = site.weight!;
  const seen = hookInput(x, site, context);
  const w = hookWeight(param(params, name), site, context);
  const y = linear(seen, w, bias === undefined ? undefined : param(params, bias), layout);
  return hookOutput(y, seen, site, context);
}

/** A 3×3-style convolution with its hooks. x — f32[n, c, h, w]. */
export function siteConv(
  context: ForwardContext,
  site: Site,
  params: ParamTree,
  x: Tensor,
  options: { readonly padding: number; readonly stride?: number },
): Tensor {
  const seen = hookInput(x, site, context);
  const w = hookWeight(param(params, `${site.path}.weight`), site, context);
  return hookOutput(conv2d(seen, w, params[`${site.path}.bias`] && param(params, `${site.path}.bias`), options), seen, site, context);
}

/** A normalisation with its hooks; `norm` gets the input after hooks. */
export function siteNorm(context: ForwardContext, site: Site, x: Tensor, norm: (x: Tensor) => Tensor): Tensor {
  const seen = hookInput(x, site, context);
  return hookOutput(norm(seen), seen, site, context);
}

export function siteLayerNorm(context: ForwardContext, site: Site, params: ParamTree, x: Tensor, epsilon: number): Tensor {
  return siteNorm(context, site, x, (h) => layerNorm(h, param(params, `${site.path}.weight`), param(params, `${site.path}.bias`), epsilon));
}

export function siteRmsNorm(context: ForwardContext, site: Site, params: ParamTree, x: Tensor, epsilon: number): Tensor {
  return siteNorm(context, site, x, (h) => rmsNorm(h, param(params, `${site.path}.weight`), epsilon));
}

/** A site without weights of its own (block, attention, mlp): hooks see what goes in and what comes out. */
export function siteAround(context: ForwardContext, site: Site, x: Tensor, body: (x: Tensor) => Tensor): Tensor {
  const seen = hookInput(x, site, context);
  return hookOutput(body(seen), seen, site, context);
}
