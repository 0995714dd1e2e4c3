import {
  add,
  cast,
  constant,
  equal,
  expandDims,
  f32,
  gather,
  type Hook,
  type HostTensor,
  i32,
  LfmError,
  loadWeight,
  type Model,
  matmul,
  mul,
  oneHot,
  type ParamTree,
  reshape,
  type Site,
  sub,
  sum,
  type Tensor,
  transpose,
  widenToF32,
} from "@lfm/core";

const SUFFIX = ".token_adapter.trainable_tokens_delta";

/** PEFT's name of the rows that stand for those of a table of tokens: f32[rows, hidden]. @param path of the table's module */
export function tokenRowsName(path: string): string {
  return `${path}${SUFFIX}`;
}

/** The rows of the table that a site reads or, as a tied output layer, multiplies by. */
function rowsAt(tensors: ParamTree, { kind, weight }: Site): Tensor | undefined {
  if (!weight || (kind !== "embedding" && kind !== "head")) return undefined;
  return tensors[tokenRowsName(weight.name.replace(/\.weight$/, ""))];
}

/**
 * Rows of the table of tokens to learn, as they are in the base: as PEFT's `trainable_token_indices`.
 * @throws {LfmError} CONFIG_INVALID for rows that the table has not, twice the same, or a table that learns as a whole or by a LoRA, too;
 *   CAPABILITY_MISSING for a model without tokens
 */
export function initTokenRows(model: Model, indices: readonly number[], others: readonly Site[]): Record<string, HostTensor> {
  const site = model.info.sites.find((s) => s.kind === "embedding" && s.weight && s.weight.out === model.info.hiddenSize);
  const table = site?.weight && model.params[site.weight.name];
  if (!site?.weight || !table || model.info.vocabSize === undefined)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] ${model.info.architecture} has no table of tokens whose rows could learn`);
  const values = widenToF32(loadWeight(table));
  const [count, width] = values.shape as readonly [number, number];
  const invalid = (message: string): LfmError => new LfmError("CONFIG_INVALID", `[@lfm/tuning] trainableTokenIndices: ${message}`);
  const outside = indices.find((row) => row >= count);
  if (outside !== undefined) throw invalid(`row ${outside} is none of the ${count} of "${site.path}"`);
  if (new Set(indices).size < indices.length) throw invalid("a row is named twice");
  if (others.some((other) => other.weight?.name === site.weight!.name)) throw invalid(`"${site.path}" has a LoRA as well`);
  const rows = Float32Array.from(
    indices.flatMap((row) => Array.from((values.data as Float32Array).subarray(row * width, (row + 1) * width))),
  );
  return { [tokenRowsName(site.weight.name.replace(/\.weight$/, ""))]: f32(rows, [indices.length, width]) };
}

/** Puts the rows in the place of those that a table gives, and of those that a tied output layer multiplies by. */
export function tokenRowHooks(tensors: ParamTree, indices: readonly number[]): readonly Hook[] {
  if (indices.length === 0) return [];
  const at = constant(i32(indices));
  return [
    {
      matches: (site) => site.kind === "embedding" && rowsAt(tensors, site) !== undefined,
      output: (y, tokens, site) => {
        const hit = cast(equal(expandDims(tokens, -1), reshape(at, [...tokens.shape.map(() => 1), indices.length])), "f32");
        return add(mul(y, sub(1, sum(hit, -1, { keepDims: true }))), matmul(hit, rowsAt(tensors, site)!));
      },
    },
    {
      matches: (site) => site.kind === "head" && rowsAt(tensors, site) !== undefined,
      output: (y, x, site, { bias }) => {
        const scores = matmul(x, transpose(rowsAt(tensors, site)!));
        const own = bias ? add(scores, gather(bias, at)) : scores;
        return add(y, matmul(sub(own, gather(y, at, y.rank - 1)), oneHot(at, y.dim(-1))));
      },
    },
  ];
}

/** The same as a change of the table. */
export function tokenRowWeights(tensors: ParamTree, indices: readonly number[]): readonly Hook[] {
  if (indices.length === 0) return [];
  const at = constant(i32(indices));
  return [
    {
      matches: (site) => rowsAt(tensors, site) !== undefined,
      weight: (w, site) => add(w, matmul(transpose(oneHot(at, w.dim(0))), sub(rowsAt(tensors, site)!, gather(w, at)))),
    },
  ];
}
