import { type HostTensor, LfmError, type Model, parseConfig, trainableParams } from "@lfm/core";
import { inputsOf } from "@lfm/core/method-inputs";
import { tuningMethods } from "@lfm/tuning";
import { openInputs } from "../inputs/openers.js";
import { Sources } from "../inputs/sources.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";
import { formatBytes, formatTable } from "../render/table.js";

/** `lfm tune METHOD --plan`: what would learn, and which layers would not; nothing is trained and nothing written. */
export async function plan(request: JobRequest, job: JobContext): Promise<JobResult> {
  const method = tuningMethods.find((m) => `tuning/${m.id}` === request.method);
  if (!method?.start) throw new LfmError("INTERNAL", `lfm: ${request.method} has no plan`);
  const config: Readonly<Record<string, unknown>> = parseConfig(method, request.config, request.preset);
  const context = await methodContext(request, job);
  const s = new Sources(request, config, context, job, inputsOf(method));
  const given = await openInputs(method, s);
  const { learned, carried = {} } = method.start(given, config, context);
  const also = trainableParams(given.model, given.alsoTrain ?? []);
  const groups = groupsOf({ ...learned, ...also });
  const left = untouched(given.model, [...Object.keys(learned), ...Object.keys(carried), ...Object.keys(also)]);
  const values = (tensors: Readonly<Record<string, HostTensor>>): number => Object.values(tensors).reduce((n, t) => n + t.data.length, 0);
  const [trained, total] = [values({ ...learned, ...also }), values(trainableParams(given.model))];
  // AdamW keeps two moments beside each value, f32.
  const value = {
    method: request.method,
    ...s.asked(),
    config,
    learns: groups,
    frozen: groupsOf(carried),
    untouched: left,
    trained,
    total,
    bytes: 4 * trained,
    optimizerBytes: momentsOf(config.optimizer) * 4 * trained,
  };
  const columns = [
    { title: "learns", value: (g: Group) => g.name },
    { title: "shape", value: (g: Group) => g.shapes.map((shape) => `[${shape.join(", ")}]`).join(" ") },
    { title: "tensors", value: (g: Group) => String(g.tensors), align: "right" as const },
    { title: "values", value: (g: Group) => g.values.toLocaleString("en"), align: "right" as const },
  ];
  const share = ((100 * trained) / total).toPrecision(3);
  const lines = [
    formatTable(groups, columns),
    ...(left.length > 0 ? [`not among them: ${left.map(({ name, sites }) => (sites > 1 ? `${name} (${sites})` : name)).join(", ")}`] : []),
    `${trained.toLocaleString("en")} values learn beside ${total.toLocaleString("en")} parameters (${share} %): ${formatBytes(value.bytes)} in f32, ${formatBytes(value.optimizerBytes)} of optimizer state`,
  ];
  return { value, text: lines.join("\n") };
}

/** Tensors whose names differ in numbers alone: layers. */
interface Group {
  readonly name: string;
  readonly shapes: readonly (readonly number[])[];
  readonly tensors: number;
  readonly values: number;
}

const overLayers = (name: string): string => name.replaceAll(/(?<=^|\.)\d+(?=\.|$)/g, "*");

function groupsOf(tensors: Readonly<Record<string, HostTensor>>): readonly Group[] {
  const groups = new Map<string, Group>();
  for (const [own, { shape, data }] of Object.entries(tensors)) {
    const name = overLayers(own);
    const before = groups.get(name) ?? { name, shapes: [], tensors: 0, values: 0 };
    const shapes = before.shapes.some((s) => s.join() === shape.join()) ? before.shapes : [...before.shapes, shape];
    groups.set(name, { name, shapes, tensors: before.tensors + 1, values: before.values + data.length });
  }
  return [...groups.values()];
}

/** Layers with weights of which nothing learns: what targets may have missed. */
function untouched({ info }: Model, names: readonly string[]): readonly { readonly name: string; readonly sites: number }[] {
  const groups = new Map<string, number>();
  for (const { path, kind, weight } of info.sites) {
    if (!weight || (kind !== "linear" && kind !== "head" && kind !== "embedding")) continue;
    if (names.some((name) => name === weight.name || name.startsWith(`${path}.`))) continue;
    groups.set(overLayers(path), (groups.get(overLayers(path)) ?? 0) + 1);
  }
  return [...groups].map(([name, sites]) => ({ name, sites }));
}

/** Tensors that an optimizer keeps beside each parameter; adafactor's are sums over rows and columns. */
function momentsOf(optimizer: unknown): number {
  return { adam: 2, adamw: 2, sgd: 0, momentum: 1, lion: 1, adafactor: 0 }[String(optimizer)] ?? 0;
}
