import { type Engine, type HostTensor, loadWeight, plainWeights, widenToF32 } from "@lfm/core";
import { editConflicts } from "@lfm/data";
import { engineOf } from "../inputs/engine.js";
import { loadDeltas, type OpenedModel, openPlain } from "../inputs/models.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatTable } from "../render/table.js";
import { sentence } from "./list.js";
import { type PatchedFact, readPatch } from "./patch.js";
import { patchesIn } from "./stack.js";

/** How two patches change one parameter. */
interface ChangedParameter {
  readonly parameter: string;
  /** ‖ΔW‖ of each, in units of ‖W‖. */
  readonly first: number;
  readonly second: number;
  /** Of the two changes; null where one of them changes nothing there. */
  readonly cosine: number | null;
}

/** `lfm patch diff`. @throws {LfmError} CAPABILITY_MISSING, with a model, for a patch that is more than weights; PARENT_MISMATCH, FILE_FORMAT */
export async function comparePatches(first: string, second: string, request: JobRequest, job: JobContext): Promise<JobResult> {
  const [a, b] = [factsOf(first), factsOf(second)];
  const [onlyFirst, onlySecond] = [without(a, b), without(b, a)];
  const others = b.flatMap((later) => {
    const [conflict] = a.flatMap((fact) => editConflicts([fact, later])).filter((c) => c.kind !== "again");
    return conflict ? [{ first: conflict.earlier, second: later }] : [];
  });
  const { model } = request;
  const base = typeof model === "string" ? await openPlain(model, job) : undefined;
  const parameters = base ? await changes(await engineOf(request), base, first, second) : null;
  return {
    value: { first, second, common: a.length - onlyFirst.length, onlyFirst, onlySecond, others, parameters },
    text: [
      `${a.length - onlyFirst.length} facts in both`,
      ...onlyFirst.map((fact) => `< ${sentence(fact)}`),
      ...onlySecond.map((fact) => `> ${sentence(fact)}`),
      ...others.map((o) => `⚠ ${first} says ${sentence(o.first)}, ${second} ${o.second.target.trim()}`),
      ...(parameters ? [tableOf(parameters)] : []),
    ].join("\n"),
  };
}

function factsOf(path: string): readonly PatchedFact[] {
  return patchesIn(path).flatMap((p) => readPatch(p.path).facts);
}

/** Those that the others do not say as well. */
function without(facts: readonly PatchedFact[], others: readonly PatchedFact[]): readonly PatchedFact[] {
  const key = ({ prompt, subject, target }: PatchedFact): string => JSON.stringify([prompt, subject, target.trim()]);
  const there = new Set(others.map(key));
  return facts.filter((fact) => !there.has(key(fact)));
}

async function changes(engine: Engine, base: OpenedModel, first: string, second: string): Promise<readonly ChangedParameter[]> {
  const weights = async (path: string): Promise<Readonly<Record<string, HostTensor>>> =>
    plainWeights(engine, base.model, await loadDeltas([path], base));
  const [a, b] = [await weights(first), await weights(second)];
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].sort().map((parameter) => {
    const was = widenToF32(loadWeight(base.model.params[parameter]!)).data as Float32Array;
    const change = (t: HostTensor | undefined): Float64Array =>
      Float64Array.from(was, (w, i) => (t === undefined ? 0 : (t.data as Float32Array)[i]! - w));
    const [x, y] = [change(a[parameter]), change(b[parameter])];
    const [size, nx, ny] = [norm(was), norm(x), norm(y)];
    return { parameter, first: nx / size, second: ny / size, cosine: nx === 0 || ny === 0 ? null : inner(x, y) / (nx * ny) };
  });
}

function inner(x: ArrayLike<number>, y: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < x.length; i++) sum += x[i]! * y[i]!;
  return sum;
}

function norm(x: ArrayLike<number>): number {
  return Math.sqrt(inner(x, x));
}

function tableOf(parameters: readonly ChangedParameter[]): string {
  return formatTable(parameters, [
    { title: "parameter", value: (p) => p.parameter },
    { title: "‖Δ‖/‖W‖ first", value: (p) => p.first.toExponential(2), align: "right" },
    { title: "second", value: (p) => p.second.toExponential(2), align: "right" },
    { title: "cosine", value: (p) => p.cosine?.toFixed(4) ?? "–", align: "right" },
  ]);
}
