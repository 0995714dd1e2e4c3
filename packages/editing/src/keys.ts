import {
  cast,
  compile,
  type Engine,
  equal,
  expandDims,
  type Hook,
  type HostTensor,
  iota,
  LfmError,
  type Model,
  matmul,
  mul,
  reshape,
  type Site,
  sym,
  type Tensor,
} from "@lfm/core";

/** The MLP's output projection of a block: where ROME writes. @throws {LfmError} CAPABILITY_MISSING */
export function mlpOutSite(model: Model, layer: number): Site {
  const site = model.info.sites.find((s) => s.layer === layer && s.kind === "linear" && s.role === "out");
  if (!site?.weight)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${model.info.architecture} has no MLP output projection in layer ${layer}`, {
      hint: `layers: 0..${model.info.layers - 1}`,
    });
  return site;
}

/** A hook that hands over what flows into a site. */
export function captureInput(site: Site, into: (x: Tensor) => void): Hook {
  return {
    matches: (s) => s.path === site.path,
    input: (x) => {
      into(x);
      return x;
    },
  };
}

/** 1 at position `at[i]` of row i: f32[batch, seq, 1]. */
export function positionMask(at: Tensor, like: Tensor): Tensor {
  return expandDims(cast(equal(expandDims(at, 1), reshape(iota(like.dim(1)), [1, like.dim(1)])), "f32"), -1);
}

/**
 * Second moment of a site's keys over a corpus: C = E[k·kᵀ] over all unmasked positions.
 * @returns f64[in·in], row-major
 */
export async function keyCovariance(
  engine: Engine,
  model: Model,
  site: Site,
  corpus: { readonly tokens: HostTensor; readonly mask: HostTensor },
  batch = 64,
): Promise<Float64Array> {
  const d = site.weight!.in;
  const f = await compile(
    engine,
    { tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] }, mask: { dtype: "f32", shape: [sym("batch"), sym("seq")] } },
    ({ tokens, mask }, w) => {
      let keys: Tensor | undefined;
      model.forward(
        w as never,
        { tokens: tokens as never, mask: mask as never },
        {
          mode: "eval",
          hooks: [
            captureInput(site, (x) => {
              keys = x;
            }),
          ],
        },
      );
      const rows = mul(reshape(keys!, [-1, d]), reshape(mask as unknown as Tensor, [-1, 1]));
      return { c: matmul(rows, rows, { transA: true }) };
    },
    { frozen: model.params as never },
  );
  const c = new Float64Array(d * d);
  let count = 0;
  const [n, seq] = corpus.tokens.shape as readonly [number, number];
  for (let at = 0; at < n; at += batch) {
    const rows = Math.min(batch, n - at);
    const cut = (t: HostTensor): HostTensor => ({ dtype: t.dtype, shape: [rows, seq], data: t.data.slice(at * seq, (at + rows) * seq) });
    const mask = cut(corpus.mask);
    const out = (await f({ tokens: cut(corpus.tokens), mask } as never)) as unknown as { c: HostTensor };
    for (let i = 0; i < c.length; i++) c[i] = c[i]! + (out.c.data[i] as number);
    for (const m of mask.data as Float32Array) count += m;
  }
  await f.dispose();
  return c.map((v) => v / count);
}

/** Solves A·x = b for symmetric positive definite A + ridge·mean(diag)·I by Cholesky in f64. @throws {LfmError} NUMERIC_DIVERGED */
export function solveSpd(a: Float64Array, b: Float64Array, ridge: number): Float64Array {
  const n = b.length;
  let trace = 0;
  for (let i = 0; i < n; i++) trace += a[i * n + i]!;
  const l = a.slice();
  for (let i = 0; i < n; i++) l[i * n + i] = l[i * n + i]! + (ridge * trace) / n;
  for (let j = 0; j < n; j++) {
    for (let k = 0; k < j; k++) for (let i = j; i < n; i++) l[i * n + j] = l[i * n + j]! - l[i * n + k]! * l[j * n + k]!;
    const pivot = l[j * n + j]!;
    if (!(pivot > 0))
      throw new LfmError("NUMERIC_DIVERGED", `[@lfm/editing] the key covariance is singular at row ${j}`, {
        hint: "raise the ridge or give a larger corpus",
      });
    const root = Math.sqrt(pivot);
    for (let i = j; i < n; i++) l[i * n + j] = l[i * n + j]! / root;
  }
  const x = b.slice();
  for (let i = 0; i < n; i++) {
    for (let k = 0; k < i; k++) x[i] = x[i]! - l[i * n + k]! * x[k]!;
    x[i] = x[i]! / l[i * n + i]!;
  }
  for (let i = n - 1; i >= 0; i--) {
    for (let k = i + 1; k < n; k++) x[i] = x[i]! - l[k * n + i]! * x[k]!;
    x[i] = x[i]! / l[i * n + i]!;
  }
  return x;
}
