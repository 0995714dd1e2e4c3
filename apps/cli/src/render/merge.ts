import { bytesPerElement, sizeOf } from "@lfm/core";
import type { DocumentPlan, ExplainedInput, ExplainedTensor, MergeCheck, MergeResources } from "@lfm/reuse";
import { formatBytes, formatTable } from "./table.js";

const parameters = (values: Readonly<Record<string, unknown>>): string =>
  Object.entries(values)
    .map(([key, value]) => `${key} ${typeof value === "number" ? Number(value.toPrecision(6)) : String(value)}`)
    .join(", ");

const input = ({ model, from, as, statistics, parameters: own }: ExplainedInput): string =>
  [`${model}${from ? `:${from}` : ""}${as ? ` (${as.join(", ")})` : ""}`, parameters(own), statistics ? "with statistics" : ""]
    .filter(Boolean)
    .join(" ");

/** Every tensor with what it is made of. */
export function renderExplanation(tensors: readonly ExplainedTensor[]): string {
  return formatTable(tensors, [
    { title: "tensor", value: (t) => t.tensor },
    { title: "shape", value: (t) => `${t.dtype} [${t.shape.join(", ")}]` },
    { title: "method", value: (t) => [t.method, parameters(t.parameters)].filter(Boolean).join(": ") },
    { title: "base", value: (t) => (t.base ? input(t.base) : "–") },
    { title: "models", value: (t) => t.models.map(input).join(" | ") },
  ]);
}

/** What is about to be done, in one line, and as data. */
export function renderPlan(
  method: string,
  plan: DocumentPlan,
  { threads, memoryPerThread }: MergeResources,
  maxMemory: number | undefined,
): { readonly text: string; readonly value: Readonly<Record<string, unknown>> } {
  const bytes = plan.tensors.reduce((n, t) => n + sizeOf(t.shape) * bytesPerElement[t.dtype], 0);
  const models = plan.models.map((m) => m.name);
  const granted = formatBytes(maxMemory ?? 2 ** 30);
  return {
    text: `plan: ${method} of ${models.length} models, ${plan.tensors.length} tensors, ${formatBytes(bytes)} to write; ${threads} ${threads === 1 ? "thread" : "threads"}, memory ${granted} in all, buffers of ${formatBytes(memoryPerThread)} for each`,
    value: { method, models, tensors: plan.tensors.length, bytes, threads, memoryPerThread, maxMemory: maxMemory ?? 2 ** 30 },
  };
}

export function renderCheck(check: MergeCheck): string {
  const problems = alike(check.problems).map(
    ([p, ...more]) =>
      `✖ ${p!.message}${more.length > 0 ? ` (and ${more.length} more tensors)` : ""}${p!.hint ? `\n  hint: ${p!.hint}` : ""}`,
  );
  const notes = check.notes.map((n) => `note: ${n}`);
  if (!check.ok) return [...problems, ...notes].join("\n");
  const table = formatTable(check.models, [
    { title: "model", value: (m) => m.model },
    { title: "architecture", value: (m) => m.architecture ?? "–" },
    { title: "tensors", value: (m) => String(m.tensors), align: "right" },
    { title: "parameters", value: (m) => m.parameters.toLocaleString("en"), align: "right" },
    { title: "types", value: (m) => Object.keys(m.dtypes).join(", ") },
    { title: "vocabulary", value: (m) => `${m.rows ?? "–"} rows${m.tokens === undefined ? "" : `, ${m.tokens} tokens`}` },
    { title: "tied", value: (m) => (m.tied ? "yes" : "no") },
  ]);
  const { output } = check;
  const ready = output
    ? [
        `✔ ${output.tensors} tensors, ${output.parameters.toLocaleString("en")} parameters; reads ${formatBytes(check.bytesRead)} at least once, writes ${formatBytes(check.bytesWritten)}`,
      ]
    : [];
  return [table, ...notes, ...ready].join("\n");
}

/** The same complaint about several tensors comes once. */
function alike(problems: MergeCheck["problems"]): MergeCheck["problems"][number][][] {
  const groups = new Map<string, MergeCheck["problems"][number][]>();
  for (const problem of problems) {
    const { message, tensor } = problem;
    const key = tensor === undefined ? message : message.replaceAll(`"${tensor}"`, "");
    groups.set(key, [...(groups.get(key) ?? []), problem]);
  }
  return [...groups.values()];
}
