import {
  cast,
  compile,
  type Engine,
  equal,
  expandDims,
  f32,
  type Hook,
  type HostTensor,
  i32,
  iota,
  LfmError,
  type Model,
  matmul,
  mul,
  type ParamTree,
  reshape,
  type Site,
  sym,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";
import type { KeyCorpus } from "./inputs.js";

/** The MLP's output projection of a block: where ROME writes. @throws {LfmError} CAPABILITY_MISSING */
export function mlpOutSite(model: Model, layer: number): Site {
  const site = model.info.sites.find((s) => s.layer === layer && s.kind === "linear" && s.role === "out");
  if (!site?.weight)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${model.info.architecture} has no MLP output projection in layer ${layer}`, {
      hint: `layers: 0..${model.info.layers - 1}`,
    });
  return site;
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

const BATCH = 64;

/**
 * Second moment of a site's keys over a corpus: C = E[k·kᵀ] over all unmasked positions.
 * @returns f64[in·in], row-major
 * @throws {LfmError} ABORTED; CONFIG_INVALID for a corpus without a token
 */
export async function keyCovariance(
  engine: Engine,
  model: Model,
  site: Site,
  corpus: KeyCorpus,
  signal?: AbortSignal,
): Promise<Float64Array> {
  const d = site.weight!.in;
  const shape = [sym("batch"), sym("seq")];
  const f = await compile(
    engine,
    { tokens: { dtype: "i32", shape }, mask: { dtype: "f32", shape } },
    ({ tokens, mask }, params: ParamTree) => {
      let keys: Tensor | undefined;
      const capture = captureSite(site, (x) => {
        keys = x;
      });
      model.forward(params, { tokens, mask }, { mode: "eval", hooks: [capture] });
      const rows = mul(reshape(keys!, [-1, d]), reshape(mask, [-1, 1]));
      return { c: matmul(rows, rows, { transA: true }) };
    },
    { frozen: model.params },
  );
  try {
    const c = new Float64Array(d * d);
    let count = 0;
    const [n, seq] = corpus.tokens.shape as readonly [number, number];
    for (let at = 0; at < n; at += BATCH) {
      throwIfAborted(signal, "[@lfm/editing] covariance of keys");
      const rows = Math.min(BATCH, n - at);
      const mask = (corpus.mask.data as Float32Array).slice(at * seq, (at + rows) * seq);
      const tokens = (corpus.tokens.data as Int32Array).slice(at * seq, (at + rows) * seq);
      const out = await f({ tokens: i32(tokens, [rows, seq]), mask: f32(mask, [rows, seq]) });
      const part = (out.c as HostTensor).data as Float32Array;
      for (let i = 0; i < c.length; i++) c[i] = c[i]! + part[i]!;
      for (const m of mask) count += m;
    }
    if (count === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/editing] the corpus for the covariance of keys holds no token");
    return c.map((v) => v / count);
  } finally {
    await f.dispose();
  }
}
