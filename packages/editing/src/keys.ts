import {
  cast,
  type Engine,
  equal,
  expandDims,
  type Hook,
  iota,
  LfmError,
  loadWeight,
  type MethodContext,
  type Model,
  reshape,
  type Site,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { hashWeights } from "@lfm/formats";
import { findStatistics, GramSum, refuseOtherWeights, sumGrams } from "@lfm/statistics";
import type { EditingInputs } from "./inputs.js";

/** The MLP's output projection of a block: where ROME writes. @throws {LfmError} CAPABILITY_MISSING */
export function mlpOutSite(model: Model, layer: number): Site {
  const site = model.info.sites.find((s) => s.layer === layer && s.kind === "linear" && s.role === "out");
  if (!site?.weight)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${model.info.architecture} has no MLP output projection in layer ${layer}`, {
      hint: `layers: 0..${model.info.layers - 1}`,
    });
  return site;
}

/** The attention's output projection of a block. @throws {LfmError} CAPABILITY_MISSING */
export function attentionOutSite(model: Model, layer: number): Site {
  const site = model.info.sites.find((s) => s.layer === layer && s.kind === "linear" && s.role === "o");
  if (site) return site;
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${model.info.architecture} has no attention output in layer ${layer}`, {
    hint: `layers: 0..${model.info.layers - 1}`,
  });
}

/** A block as a whole: what it gives is the stream behind it. @throws {LfmError} CAPABILITY_MISSING */
export function blockSite(model: Model, layer: number): Site {
  const site = model.info.sites.find((s) => s.layer === layer && s.kind === "block");
  if (site) return site;
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${model.info.architecture} has no block ${layer}`, {
    hint: `layers: 0..${model.info.layers - 1}`,
  });
}

/** C + ridge·mean(diag C)·I. covariance — f64[n·n] */
export function lifted(covariance: Float64Array, ridge: number): Float64Array {
  const n = Math.round(Math.sqrt(covariance.length));
  let trace = 0;
  for (let i = 0; i < n; i++) trace += covariance[i * n + i]!;
  const out = covariance.slice();
  for (let i = 0; i < n; i++) out[i * n + i]! += (ridge * trace) / n;
  return out;
}

/** A hook that hands over what flows into and out of a site. */
export function captureSite(site: Site, into: (x: Tensor, y: Tensor) => void): Hook {
  return {
    matches: (s) => s.path === site.path,
    output: (y, x) => {
      into(x, y);
      return y;
    },
  };
}

/** 1 at position `at[i]` of row i: f32[batch, seq, 1]. */
export function positionMask(at: Tensor, like: Tensor): Tensor {
  return expandDims(cast(equal(expandDims(at, 1), reshape(iota(like.dim(1)), [1, like.dim(1)])), "f32"), -1);
}

/**
 * Second moment of a site's keys, C = E[k·kᵀ]: out of statistics that were taken before, or over the positions of a corpus that hold a token.
 * @returns f64[in·in], row-major
 * @throws {LfmError} CONFIG_INVALID for a corpus without a token, or where neither is given; PARAM_NOT_FOUND for statistics without this site;
 *   PARENT_MISMATCH for those of another base; SHAPE_MISMATCH, ABORTED
 */
export async function keyCovariance(
  engine: Engine,
  model: Model,
  site: Site,
  { statistics, corpus, parent }: Pick<EditingInputs, "statistics" | "corpus" | "parent">,
  run: Pick<MethodContext, "signal" | "progress">,
): Promise<Float64Array> {
  const { name, layout, in: width, out } = site.weight!;
  if (statistics) {
    refuseOtherWeights(statistics, parent ?? (await hashWeights(baseWeights(model))), model.info.architecture);
    const found = findStatistics(statistics, name, layout === "out-in" ? [out, width] : [width, out], model.info.architecture);
    if (found) return Float64Array.from(loadWeight(found.tensor).data as Float32Array);
    throw new LfmError("PARAM_NOT_FOUND", `[@lfm/editing] the gram statistics say nothing of "${name}", which is to be edited`, {
      hint: `take them there: lfm stats gram MODEL --sites ${site.path} --data texts.jsonl --out model.gram.safetensors`,
      details: { parameter: name, measured: Object.keys(statistics.tensors) },
    });
  }
  if (!corpus)
    throw new LfmError("CONFIG_INVALID", "[@lfm/editing] where keys lie is not known: give a corpus, or gram statistics of the model", {
      hint: "--corpus texts.txt, or --statistics with what lfm stats gram wrote",
    });
  const total = new GramSum([site]);
  await sumGrams(total, engine, model, model.params, corpus, { ...run, samples: corpus.samples });
  return Float64Array.from(loadWeight(total.mean().tensors[name]!).data as Float32Array);
}

/** Without what deltas brought. */
export function baseWeights({ info, params }: Model): Weights {
  return Object.fromEntries(Object.entries(params).filter(([name]) => name in info.params));
}
