import {
  type BlockMatrix,
  blocksToF32,
  bytesPerElement,
  dequantizeWeight,
  type Engine,
  flattenTree,
  type HostTensor,
  isHostTensor,
  loadWeight,
  type Model,
  mapTree,
  outlierColumns,
  type QuantizedWeight,
  quantizeToBlocks,
  quantizeWeight,
  type Site,
  sizeOf,
  storedBlocks,
  storedWeight,
  type Tensor,
  type Tree,
  transposed,
  widenToF32,
} from "@lfm/core";
import { type Calibration, calibrate, isProduct } from "./calibration.js";

export interface QuantizedBaseOptions {
  /**
   * 8: products of 8 bits by 8 bits, the columns that carry outliers in f32. 4: blocks of 32 weights on the grid that they were made on where
   * they were (GGUF's Q4_1 and Q8_0, exactly), otherwise with the scale and offset that lose least; products in f32, for decoding with
   * activations in blocks of 8 bits. Default 8.
   */
  readonly bits?: 8 | 4;
  /**
   * What the model is for. "batches" (default): many rows at a time. "decoding": a row at a time. "training": gradients too; in 8 bits with a
   * transposed copy of every matrix but the head's, elsewhere they go through the weights widened in the run.
   */
  readonly use?: "batches" | "decoding" | "training";
  /** i32[batch, seq]: ids of a text, on which outliers are found, and which inputs count most. Default: no outliers, all inputs alike. */
  readonly calibration?: HostTensor;
  /** Columns of a layer's input (and in training of its gradient) that stay f32, with 8 bits. Default 16, for decoding 8, for training 48. */
  readonly outliers?: number;
}

export interface QuantizedBase {
  readonly model: Model;
  /** Bytes of all parameters as the forward pass (and the backward pass) has them. */
  readonly bytes: number;
  /** Bytes of all parameters in f32. */
  readonly plainBytes: number;
  /** Share of the weights in matrices that hold the values of their file exactly: those on a grid of 4 or 8 bits before. */
  readonly exact: number;
}

/**
 * The model with the weights of its linear layers and token embeddings in 8 or 4 bits, the head of a classifier excepted: a scale for every
 * row of activations and for every output, outlier columns in f32 (arXiv 2208.07339), or blocks of inputs with a scale each. Weights are read
 * one at a time; a table that is also a head is stored once. The parameters stay what they are in `params`, and the hash of the base stays its
 * own.
 */
export async function quantizeBase(engine: Engine, model: Model, options: QuantizedBaseOptions = {}): Promise<QuantizedBase> {
  const { calibration, use = "batches", bits = 8 } = options;
  const { outliers = OUTLIERS[use] } = options;
  const wanted = calibration && (bits === 4 || outliers > 0);
  const noted = wanted ? await calibrate(engine, model, calibration, { gradients: bits === 8 && use === "training" }) : undefined;
  const stored = storeAll(model, { bits, use, outliers }, noted);
  const names = namesOf(stored);
  return {
    model: {
      ...model,
      params: { ...model.params, ...Object.fromEntries([...names].map(([t, name]) => [name, t])) },
      quantized: Object.fromEntries([...stored].map(([name, { value }]) => [name, value])),
      forward: (params, input, context) => {
        const weights = [...stored].map(([name, { traced }]) => [name, traced((t) => params[names.get(t)!]!)] as const);
        return model.forward({ ...params, ...Object.fromEntries(weights) }, input, context);
      },
    },
    ...sizesOf(model, stored, names),
  };
}

/** Blocks round less than whole rows; gradients are rounded too. */
const OUTLIERS = { batches: 16, decoding: 8, training: 48 } as const;

interface Stored {
  readonly tensors: Tree<HostTensor>;
  readonly exact: boolean;
  /** The weight of the forward pass. */
  traced(at: (t: HostTensor) => Tensor): Tensor;
  /** The same in f32, in the layout of the checkpoint. */
  value(): HostTensor;
}

interface Plan {
  readonly bits: 8 | 4;
  readonly use: "batches" | "decoding" | "training";
  readonly outliers: number;
}

type Layout = "out-in" | "in-out";
type Group = Calibration["inputs"][number] & { shared?: Shared };
/** What layers that read the same values have in common, so that what is made of the values is made once. */
type Shared = { readonly mask: HostTensor; readonly columns: HostTensor };

/** By name of the parameter. */
function storeAll(model: Model, plan: Plan, noted: Calibration | undefined): ReadonlyMap<string, Stored> {
  const { sites } = model.info;
  const stored = new Map<string, Stored>();
  const groups: Group[] = (noted?.inputs ?? []).map((group) => ({ ...group }));
  // Products come first: a table that is a head as well is stored as the head.
  for (const site of [...sites.filter(isProduct), ...sites.filter((s) => !isProduct(s))]) {
    if (!site.weight || isClassifier(site) || stored.has(site.weight.name)) continue;
    const { name, layout: own } = site.weight;
    // Rows of a table are outputs of a head.
    const layout = site.kind === "embedding" ? "out-in" : own;
    const weight = loadWeight(model.params[name]!);
    const group = groups.find((g) => g.sites.includes(site.path));
    const blocks = (plan.bits === 4 || plan.use === "decoding") && weight.shape[layout === "out-in" ? 1 : 0]! % 16 === 0;
    stored.set(
      name,
      blocks ? inBlocks(weight, layout, plan, group) : byRows(weight, layout, plan, site, group, noted?.gradients[site.path]),
    );
  }
  return stored;
}

function byRows(
  weight: HostTensor,
  layout: Layout,
  { use, outliers }: Plan,
  site: Site,
  group: Group | undefined,
  gradient: HostTensor | undefined,
): Stored {
  const made = quantizeWeight(widenToF32(weight), {
    layout,
    columns: group ? largestFew(group.largest, outliers) : [],
    gradientColumns: gradient ? largestFew(gradient, outliers) : [],
    // Gradients at a head are probabilities, most of them far smaller than the one of the label: eight bits lose them.
    transposed: use === "training" && isProduct(site) && site.kind !== "head",
  });
  const { mask, columns } = inCommon(group, made.forward);
  const tensors = { ...made, forward: { ...made.forward, mask, columns } };
  return {
    tensors,
    exact: false,
    traced: (at) => storedWeight(mapTree(tensors, isHostTensor, at) as QuantizedWeight<Tensor>, layout),
    value: () => dequantizeWeight(tensors, layout),
  };
}

function inBlocks(weight: HostTensor, layout: Layout, { bits, use, outliers }: Plan, group: Group | undefined): Stored {
  const wide = widenToF32(weight);
  const { matrix, block, exact } = quantizeToBlocks(layout === "out-in" ? wide : transposed(wide), {
    dtype: weight.dtype,
    ...(bits === 8 ? { bits, columns: group && standsOut(group.largest) ? largestFew(group.largest, outliers) : [] } : {}),
    ...(bits === 4 && group ? { importance: group.meanSquare } : {}),
  });
  const tensors = matrix.outliers ? { ...matrix, outliers: { ...matrix.outliers, ...inCommon(group, matrix.outliers) } } : matrix;
  const rounded = use === "decoding";
  return {
    tensors,
    exact: exact > 0.99,
    traced: (at) => storedBlocks(mapTree(tensors, isHostTensor, at) as BlockMatrix<Tensor>, { layout, block, rounded }),
    value: () => (layout === "out-in" ? blocksToF32(tensors, block) : transposed(blocksToF32(tensors, block))),
  };
}

function inCommon(group: Group | undefined, { mask, columns }: Shared): Shared {
  if (!group) return { mask, columns };
  group.shared ??= { mask, columns };
  return group.shared;
}

/**
 * Whether the largest column is far above the others. Where it is not, blocks lose little by it, and what is f32 costs a token more operations than
 * its product: with 8 medians as the bound SmolLM2's perplexity is what it is with columns in f32 everywhere.
 */
function standsOut(largest: HostTensor): boolean {
  const sorted = Float64Array.from(largest.data as Float32Array).sort();
  return sorted.at(-1)! >= 8 * sorted[Math.floor(sorted.length / 2)]!;
}

/** Of narrow layers no more than one of 24: what is f32 would outweigh what is not. */
function largestFew(largest: HostTensor, count: number): readonly number[] {
  return outlierColumns(largest, Math.min(count, Math.floor(largest.data.length / 24)));
}

/** Its head is small, decides alone, and may be what learns. */
function isClassifier({ role }: Site): boolean {
  return role === "classifier";
}

/** A name for each tensor, one that several weights have in common once. */
function namesOf(stored: ReadonlyMap<string, Stored>): ReadonlyMap<HostTensor, string> {
  const names = new Map<HostTensor, string>();
  for (const [name, { tensors }] of stored)
    for (const [path, t] of flattenTree<HostTensor>(tensors, isHostTensor, name)) if (!names.has(t)) names.set(t, path);
  return names;
}

function sizesOf(
  { info }: Model,
  stored: ReadonlyMap<string, Stored>,
  names: ReadonlyMap<HostTensor, string>,
): Omit<QuantizedBase, "model"> {
  const plain = (among: (name: string) => boolean): number =>
    Object.entries(info.params).reduce((n, [name, { shape }]) => (among(name) ? n + sizeOf(shape) * bytesPerElement.f32 : n), 0);
  const exact =
    plain((name) => stored.get(name)?.exact === true) /
    Math.max(
      1,
      plain((name) => stored.has(name)),
    );
  const held = [...names.keys()].reduce((n, t) => n + t.data.byteLength, 0);
  return { bytes: held + plain((name) => !stored.has(name)), plainBytes: plain(() => true), exact };
}
