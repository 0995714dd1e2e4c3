import {
  add,
  cast,
  concat,
  dimEqual,
  dimScalar,
  dimSub,
  equal,
  expandDims,
  f32,
  full,
  type Hook,
  type HostTensor,
  i32,
  LfmError,
  type Model,
  type ModelInfo,
  type Outputs,
  type ParamTree,
  type Spec,
  slice,
  sym,
  type Tensor,
} from "@lfm/core";
import { scoredSpec } from "@lfm/train";
import type { EditRow } from "./inputs.js";

/**
 * Rows in two parts. What a search moves stands at one token of each row, and nothing before it changes: in a causal model the tokens before are
 * read once, keys and values, and the search runs over that token and those behind it alone.
 */
export type CutRows = Readonly<Record<keyof typeof cutSpec, HostTensor>>;

const [batch, front, seq] = [sym("batch"), sym("front"), sym("seq")];

export const cutSpec = {
  /** The tokens before, right-padded. */
  front: { dtype: "i32", shape: [batch, front] },
  frontMask: { dtype: "f32", shape: [batch, front] },
  /** The token and those behind it, right-padded. */
  tokens: { dtype: "i32", shape: [batch, seq] },
  mask: { dtype: "f32", shape: [batch, seq] },
  /** Of these tokens in the whole row. */
  positions: { dtype: "i32", shape: [batch, seq] },
  /** Position of the token in the whole row. */
  at: { dtype: "i32", shape: [batch] },
  /** Where an answer's token is predicted: row · seq + place among `tokens`. */
  scored: scoredSpec,
  /** The answer's token there. */
  targets: scoredSpec,
  /** The token of the cut among `tokens` of the last row. */
  last: { dtype: "i32", shape: [1] },
} as const satisfies Record<string, Spec>;

/**
 * Cuts rows before their `subject`. Rows that are longer than a model's positions turn alike for stay whole: they cannot go on from a cache.
 * @param rows one or more have an answer
 */
export function cutRows(rows: readonly EditRow[], { cacheBreak, sharedBeyond }: ModelInfo): CutRows {
  const longest = Math.max(...rows.map((row) => row.tokens.length));
  const whole = longest > Math.min(cacheBreak ?? Number.POSITIVE_INFINITY, sharedBeyond ?? Number.POSITIVE_INFINITY);
  const cuts = rows.map((row) => (whole ? 0 : row.subject));
  const before = padded(rows.map((row, i) => row.tokens.slice(0, cuts[i]!)));
  const behind = padded(rows.map((row, i) => row.tokens.slice(cuts[i]!)));
  const [n, width] = behind.tokens.shape as readonly [number, number];
  const positions = Int32Array.from({ length: n * width }, (_, k) => cuts[Math.floor(k / width)]! + (k % width));
  const predicted = rows.flatMap(({ tokens, answer }, i) =>
    Array.from({ length: answer }, (_, k) => {
      const at = tokens.length - answer + k;
      return { place: i * width + at - 1 - cuts[i]!, token: tokens[at]! };
    }),
  );
  return {
    front: before.tokens,
    frontMask: before.mask,
    ...behind,
    positions: i32(positions, [n, width]),
    at: i32(rows.map((row) => row.subject)),
    scored: i32(predicted.map((p) => p.place)),
    targets: i32(predicted.map((p) => p.token)),
    last: i32([rows[n - 1]!.subject - cuts[n - 1]!]),
  };
}

function padded(rows: readonly (readonly number[])[]): { readonly tokens: HostTensor; readonly mask: HostTensor } {
  // No tensor is empty: where nothing stands, one position that nobody sees.
  const width = Math.max(1, ...rows.map((row) => row.length));
  const [tokens, mask] = [new Int32Array(rows.length * width), new Float32Array(rows.length * width)];
  for (const [i, row] of rows.entries()) {
    tokens.set(row, i * width);
    mask.fill(1, i * width, i * width + row.length);
  }
  return { tokens: i32(tokens, [rows.length, width]), mask: f32(mask, [rows.length, width]) };
}

/** Runs a model over what stands behind the cut, or over the last row of it alone. Hooks see no position but those of `tokens`. */
export type RunBehind = (hooks: readonly Hook[], rows?: "all" | "last") => Outputs;

/**
 * Reads what stands before the cut.
 * @param rows of {@link cutSpec}
 * @param told a tensor of the batch that hooks of the model read, i32[batch]: it is given the position of the cut
 * @throws {LfmError} CAPABILITY_MISSING for a model that keeps no keys and values
 */
export function behindFront(on: Model, params: ParamTree, rows: Readonly<Record<string, Tensor>>, told?: string): RunBehind {
  const { front, frontMask, tokens, mask, positions, at } = rows as Readonly<Record<keyof typeof cutSpec, Tensor>>;
  const naming = (end: Tensor) => (told === undefined ? {} : { batch: { [told]: end } });
  const reading = { mode: "eval", want: { cache: true }, ...naming(at) } as const;
  const { cache, prefix = 0 } = on.forward(params, { tokens: front, mask: frontMask }, reading);
  if (!cache) throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${on.info.architecture} gives no cache of keys and values`);
  const inFront = dimEqual(prefix, 0) ? [] : [full([tokens.dim(0), prefix], 1)];
  // Behind a cache nothing stands in front, and positions count what does.
  const end = typeof prefix === "number" ? add(at, prefix) : add(at, cast(dimScalar(prefix), "i32"));
  const seen = concat([...inFront, frontMask, mask], 1);
  const last = (x: Tensor): Tensor => slice(x, 0, dimSub(x.dim(0), 1), 1);
  return (hooks, which = "all") => {
    const of = which === "all" ? (x: Tensor): Tensor => x : last;
    const input = {
      ...{ tokens: of(tokens), mask: of(seen), positions: of(positions) },
      cache: cache.map(({ key, value }) => ({ key: of(key), value: of(value) })),
    };
    return on.forward(params, input, { mode: "eval", hooks, ...naming(of(end)) });
  };
}

/** 1 at the token of the cut, f32[batch, seq, 1]. */
export function cutMask({ positions, at }: Readonly<Record<string, Tensor>>): Tensor {
  return expandDims(cast(equal(positions!, expandDims(at!, 1)), "f32"), -1);
}
