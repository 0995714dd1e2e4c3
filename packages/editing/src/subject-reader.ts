import {
  compileModel,
  concat,
  dimEqual,
  dimSub,
  type Engine,
  full,
  type HostTensor,
  type Model,
  mul,
  type Site,
  slice,
  sum,
  type Tensor,
} from "@lfm/core";
import type { OnModel } from "./editor.js";
import { type EditBatch, editBatchSpec } from "./inputs.js";
import { captureSite, positionMask } from "./keys.js";
import { editThreads } from "./optimise.js";

/** Where a model is looked at, at the subject's last token. */
export interface ReadSites {
  /** Linear sites: what flows into them, the keys. */
  readonly inputs: readonly Site[];
  /** What these sites give. */
  readonly outputs: readonly Site[];
}

/** What was seen at each of the sites, f64 a row of the batch. */
export interface SubjectReadings {
  readonly inputs: readonly (readonly Float64Array[])[];
  readonly outputs: readonly (readonly Float64Array[])[];
}

/** Reads sites at each row's subject. No head is run. */
export interface SubjectReader extends OnModel {
  read(batch: EditBatch): Promise<SubjectReadings>;
}

export async function compileSubjectReader(engine: Engine, model: Model, sites: ReadSites): Promise<SubjectReader> {
  const f = await compileModel(engine, model, editBatchSpec, (b, params, at) => traceSubjects(at, params, b, sites), editThreads(model));
  return { read: async (batch) => readings(await f({ ...batch })), model: () => f.bound().model, swap: f.swap, dispose: f.dispose };
}

/** Mean of vectors of one length. */
export function meanOf(vectors: readonly Float64Array[]): Float64Array {
  return vectors[0]!.map((_, i) => vectors.reduce((s, v) => s + v[i]!, 0) / vectors.length);
}

/** The positions of the tokens alone: what prompts put in front left out. x — f32[batch, prefix + seq, d], at — f32[batch, seq, 1]. */
export function ownPositions(x: Tensor, at: Tensor): Tensor {
  const seq = at.dim(1);
  return dimEqual(x.dim(1), seq) ? x : slice(x, 1, dimSub(x.dim(1), seq), seq);
}

/** at — f32[batch, seq, 1] with zeros for what prompts put in front of y, f32[batch, prefix + seq, d]. */
export function padFront(at: Tensor, y: Tensor): Tensor {
  const front = dimSub(y.dim(1), at.dim(1));
  return dimEqual(front, 0) ? at : concat([full([at.dim(0), front, 1], 0), at], 1);
}

type Seen<T> = { readonly inputs: readonly T[]; readonly outputs: readonly T[] };

function traceSubjects(
  model: Model,
  params: Readonly<Record<string, Tensor>>,
  { tokens, mask, subject: at }: Readonly<Record<"tokens" | "mask" | "subject", Tensor>>,
  { inputs, outputs }: ReadSites,
): Seen<Tensor> {
  const [flowing, given] = [new Map<string, Tensor>(), new Map<string, Tensor>()];
  const hooks = [
    ...inputs.map((site) => captureSite(site, (x) => flowing.set(site.path, x))),
    ...outputs.map((site) => captureSite(site, (_x, y) => given.set(site.path, y))),
  ];
  model.forward(params, { tokens, mask }, { mode: "eval", hooks });
  const subject = positionMask(at, tokens);
  const atSubject = (seen: ReadonlyMap<string, Tensor>, { path }: Site): Tensor =>
    sum(mul(ownPositions(seen.get(path)!, subject), subject), 1);
  return { inputs: inputs.map((site) => atSubject(flowing, site)), outputs: outputs.map((site) => atSubject(given, site)) };
}

function readings({ inputs, outputs }: Seen<HostTensor>): SubjectReadings {
  return { inputs: inputs.map(rowsOf), outputs: outputs.map(rowsOf) };
}

/** Rows of f32[rows, width]. */
export function rowsOf({ data, shape }: HostTensor): Float64Array[] {
  return Array.from({ length: shape[0]! }, (_, r) =>
    Float64Array.from((data as Float32Array).subarray(r * shape[1]!, (r + 1) * shape[1]!)),
  );
}
