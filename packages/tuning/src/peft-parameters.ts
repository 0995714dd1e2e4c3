import { f32, type HostTensor, LfmError, loadWeight, type Model, widenToF32 } from "@lfm/core";
import { namedRecord, type TokenRows } from "@lfm/formats";
import { ownWeight } from "./own-weights.js";
import { expectShape, otherSize } from "./peft-form.js";

/** What an adapter replaces, by the names in its file. */
export interface Replaced {
  readonly parameters: Readonly<Record<string, HostTensor>>;
  readonly rows: Readonly<Record<string, TokenRows>>;
  /** Modules that were trained in full: where they are one with another module, that one keeps the base's values. */
  readonly saved: readonly string[];
}

/**
 * Parameters that an adapter replaces, under the model's names. PEFT unties what it trains: where the output layer is the embedding and both come
 * out different, it gets a matrix of its own, `lm_head.weight`.
 * @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH
 */
export function replacedTensors(model: Model, replaced: Replaced): Record<string, HostTensor> {
  const out = namedRecord<HostTensor>();
  const heads = new Map(model.info.sites.flatMap((site) => (ownWeight(site) === undefined ? [] : [[ownWeight(site)!, site.weight!.name]])));
  for (const [name, t] of Object.entries(replaced.parameters)) {
    const own = parameterOf(model, name, heads);
    const shape = model.info.params[heads.get(own) ?? own]?.shape;
    if (shape) expectShape(name, t, shape, otherSize);
    out[own] = t;
  }
  for (const [head, embedding] of heads) {
    const shared = out[embedding];
    const isSaved = replaced.saved.some((module) => embedding.slice(0, -".weight".length).endsWith(module));
    if (!out[head] && shared && isSaved) out[head] = baseOf(model, embedding);
    if (out[head] && sameValues(out[head], shared ?? baseOf(model, embedding))) delete out[head];
  }
  for (const [path, rows] of Object.entries(replaced.rows)) {
    const name = parameterOf(model, `${path}.weight`, heads);
    const shared = heads.get(name);
    const filled = withRows(path, out[name] ?? (shared === undefined ? baseOf(model, name) : (out[shared] ?? baseOf(model, shared))), rows);
    // Rows of a tied output layer follow those of the embedding.
    if (shared !== undefined && out[shared] && sameValues(filled, out[shared])) continue;
    out[name] = filled;
    for (const [head, embedding] of heads) {
      const own = out[head];
      if (embedding === name && own && !(head.slice(0, -".weight".length) in replaced.rows)) out[head] = withRows(path, own, rows);
    }
  }
  return out;
}

function baseOf(model: Model, name: string): HostTensor {
  const weight = model.params[name];
  if (!weight)
    throw new LfmError("PARAM_NOT_FOUND", `[@lfm/tuning] the adapter needs the values of "${name}", and the model comes without weights`);
  return widenToF32(loadWeight(weight));
}

/** The head of an adapter for classes on an encoder has its place on the model that `withClassifier` makes. */
function parameterOf(model: Model, name: string, heads: ReadonlyMap<string, string>): string {
  if (heads.has(name)) return name;
  const names = Object.keys(model.info.params);
  const found = names.find((p) => p === name) ?? names.find((p) => name.endsWith(`.${p}`) || p.endsWith(`.${name}`));
  if (found !== undefined) return found;
  const linearHead = name === "classifier.weight" || name === "classifier.bias";
  if (model.info.task === "encoder" && linearHead && names.includes("pooler.dense.weight")) return name;
  throw new LfmError("PARAM_NOT_FOUND", `[@lfm/tuning] the model has no parameter "${name}", which the adapter replaces`, {
    ...(model.info.task === "encoder" && /^(classifier|pre_classifier|score)\./.test(name)
      ? { hint: "the adapter was trained with a head that this encoder has no place for: give the folder of the model with its head" }
      : {}),
  });
}

/** @throws {LfmError} SHAPE_MISMATCH */
function withRows(path: string, table: HostTensor, { rows, values }: TokenRows): HostTensor {
  const [count, width] = table.shape as readonly [number, number];
  const outside = rows.find((row) => row >= count);
  if (outside !== undefined || values.shape[1] !== width)
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/tuning] the adapter has rows [${values.shape}]${outside === undefined ? "" : ` up to ${outside}`} for "${path}", which is [${table.shape}]`,
    );
  const data = Float32Array.from(widenToF32(table).data as Float32Array);
  const own = widenToF32(values).data as Float32Array;
  for (const [i, row] of rows.entries()) data.set(own.subarray(i * width, (i + 1) * width), row * width);
  return f32(data, table.shape);
}

function sameValues(a: HostTensor, b: HostTensor): boolean {
  const [x, y] = [widenToF32(a).data, widenToF32(b).data];
  return a === b || (x.length === y.length && x.every((v, i) => v === y[i]));
}
