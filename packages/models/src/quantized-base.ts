import {
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
  type QuantizedMatrix,
  type QuantizedWeight,
  quantizeWeight,
  type Site,
  sizeOf,
  storedWeight,
  type Tensor,
  widenToF32,
} from "@lfm/core";
import { type Calibration, calibrate, isProduct } from "./calibration.js";

export interface QuantizedBaseOptions {
  /** i32[batch, seq]: ids of a text, on which the columns are found whose values are far larger than the others'. Default: no such columns. */
  readonly calibration?: HostTensor;
  /** Columns of a layer's input that stay f32. Default 16, or 32 with `training`. */
  readonly outliers?: number;
  /** A transposed copy of every matrix but the head's for the backward pass. Default false: gradients go through the weights widened in the run. */
  readonly training?: boolean;
}

export interface QuantizedBase {
  readonly model: Model;
  /** Bytes of all parameters as the forward pass (and the backward pass) has them. */
  readonly bytes: number;
  /** Bytes of all parameters in f32. */
  readonly plainBytes: number;
}

/**
 * The model with the weights of its linear layers and token embeddings in 8 bits, the head of a classifier excepted: layers multiply 8 bits by 8
 * bits, a scale for every row of activations and for every output, outlier columns in f32 (arXiv 2208.07339). Weights are read one at a time;
 * a table that is also a head is stored once. The parameters stay what they are in `params`, and the hash of the base stays its own.
 */
export async function quantizeBase(engine: Engine, model: Model, options: QuantizedBaseOptions = {}): Promise<QuantizedBase> {
  const { calibration, training = false } = options;
  const { outliers = training ? 32 : 16 } = options;
  const noted = calibration && outliers > 0 ? await calibrate(engine, model, calibration, { gradients: training }) : undefined;
  const stored = storeAll(model, outliers, training, noted);
  const names = namesOf(stored);
  return {
    model: {
      ...model,
      params: { ...model.params, ...Object.fromEntries([...names].map(([t, name]) => [name, t])) },
      quantized: Object.fromEntries([...stored].map(([name, { layout, tensors }]) => [name, () => dequantizeWeight(tensors, layout)])),
      forward: (params, input, context) => {
        const weights = [...stored].map(([name, { layout, tensors }]) => {
          const traced = mapTree(tensors, isHostTensor, (t) => params[names.get(t)!]!) as QuantizedWeight<Tensor>;
          return [name, storedWeight(traced, layout)] as const;
        });
        return model.forward({ ...params, ...Object.fromEntries(weights) }, input, context);
      },
    },
    ...sizesOf(model, stored, names),
  };
}

interface Stored {
  readonly layout: "out-in" | "in-out";
  readonly tensors: QuantizedWeight<HostTensor>;
}

/** By name of the parameter. */
function storeAll(model: Model, outliers: number, training: boolean, noted: Calibration | undefined): ReadonlyMap<string, Stored> {
  const { sites } = model.info;
  const stored = new Map<string, Stored>();
  const groups = (noted?.inputs ?? []).map(({ sites, largest }) => ({
    sites,
    columns: largestFew(largest, outliers),
    first: undefined as QuantizedMatrix<HostTensor> | undefined,
  }));
  // Products come first: a table that is a head as well is stored as the head.
  for (const site of [...sites.filter(isProduct), ...sites.filter((s) => !isProduct(s))]) {
    if (!site.weight || isClassifier(site) || stored.has(site.weight.name)) continue;
    const { name } = site.weight;
    // Rows of a table are outputs of a head.
    const layout = site.kind === "embedding" ? "out-in" : site.weight.layout;
    const group = groups.find((g) => g.sites.includes(site.path));
    const gradient = noted?.gradients[site.path];
    const made = quantizeWeight(widenToF32(loadWeight(model.params[name]!)), {
      layout,
      columns: group?.columns ?? [],
      gradientColumns: gradient ? largestFew(gradient, outliers) : [],
      // Gradients at a head are probabilities, most of them far smaller than the one of the label: eight bits lose them.
      transposed: training && isProduct(site) && site.kind !== "head",
    });
    // Layers that read the same values have these in common, so that what is made of the values is made once.
    const shared = group?.first ?? made.forward;
    if (group) group.first = shared;
    stored.set(name, { layout, tensors: { ...made, forward: { ...made.forward, mask: shared.mask, columns: shared.columns } } });
  }
  return stored;
}

/** Of narrow layers no more than an eighth: what is f32 would be the layer. */
function largestFew(largest: HostTensor, count: number): readonly number[] {
  return outlierColumns(largest, Math.min(count, Math.floor(largest.data.length / 8)));
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
): Pick<QuantizedBase, "bytes" | "plainBytes"> {
  const plain = (among: (name: string) => boolean): number =>
    Object.entries(info.params).reduce((n, [name, { shape }]) => (among(name) ? n + sizeOf(shape) * bytesPerElement.f32 : n), 0);
  const held = [...names.keys()].reduce((n, t) => n + t.data.byteLength, 0);
  return { bytes: held + plain((name) => !stored.has(name)), plainBytes: plain(() => true) };
}
