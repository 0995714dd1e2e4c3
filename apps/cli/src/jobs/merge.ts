import { copyFileSync, existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { LfmError, nearestName, runMethod } from "@lfm/core";
import { saveModel } from "@lfm/models";
import { type MergeOutput, reuseMethods } from "@lfm/reuse";
import { parse } from "yaml";
import { z } from "zod";
import { resolveModel } from "../inputs/models.js";
import { formatSeconds } from "../render/progress.js";
import type { JobRequest, JobResult } from "../verbs.js";
import { type JobContext, methodContext } from "./context.js";

interface MergeRequest extends JobRequest {
  readonly mergeConfig: string;
  readonly base?: string;
  readonly model?: readonly string[];
  readonly dtype?: "f32" | "bf16" | "f16";
  readonly out: string;
}

interface Plan {
  readonly method: string;
  readonly base: string | undefined;
  readonly models: readonly string[];
  readonly config: Readonly<Record<string, unknown>>;
  readonly dtype: "f32" | "bf16" | "f16" | undefined;
}

/** `lfm merge cfg.yml out/` or `lfm merge METHOD --model A --model B`. */
export async function merge(request: MergeRequest, job: JobContext): Promise<JobResult> {
  const plan = /\.ya?ml$/i.test(request.mergeConfig) ? readPlan(request.mergeConfig) : planOfFlags(request);
  const context = await methodContext(request, job);
  const named = async (name: string): Promise<{ name: string; model: Awaited<ReturnType<typeof resolveModel>>["model"] }> => ({
    name,
    model: (await resolveModel(name, [], job)).model,
  });
  const base = plan.base === undefined ? undefined : await named(plan.base);
  const models = [];
  for (const name of plan.models) models.push(await named(name));
  const method = reuseMethods.find((m) => m.id === plan.method)!;
  const started = performance.now();
  const inputs = {
    models: Object.fromEntries(models.map((m, i) => [`${i}:${m.name}`, m.model.params])),
    ...(base ? { base: base.model.params } : {}),
  };
  const output = (await runMethod(method, inputs as never, plan.config as never, context)) as MergeOutput;
  const first = base ?? models[0]!;
  await saveModel(
    request.out,
    { ...first.model, params: output.params, forward: first.model.forward },
    plan.dtype === undefined ? {} : { dtype: plan.dtype },
  );
  copyTokenizer(first.name, request.out);
  const seconds = (performance.now() - started) / 1000;
  const parameters = Object.values(output.params).reduce((n, t) => n + t.data.length, 0);
  return {
    value: {
      method: `reuse/${plan.method}`,
      base: plan.base ?? null,
      models: plan.models,
      config: plan.config,
      parameters,
      seconds,
      out: request.out,
    },
    text: `${plan.method} of ${plan.models.length} models${plan.base ? ` on ${plan.base}` : ""}: ${parameters.toLocaleString("en")} parameters in ${formatSeconds(seconds)}, saved to ${request.out}`,
  };
}

function planOfFlags(request: MergeRequest): Plan {
  const mergeable = reuseMethods.filter((m) => m.id !== "ensemble").map((m) => m.id);
  if (!mergeable.includes(request.mergeConfig)) {
    const near = nearestName(request.mergeConfig, mergeable);
    throw new LfmError("CONFIG_INVALID", `lfm: "${request.mergeConfig}" is neither a .yml file nor a merge method`, {
      hint: near ? `did you mean "${near}"?` : `methods: ${mergeable.join(", ")}`,
    });
  }
  if (!request.model || request.model.length === 0)
    throw new LfmError("CONFIG_INVALID", "lfm: nothing to merge", { hint: "--model A --model B" });
  return { method: request.mergeConfig, base: request.base, models: request.model, config: request.config ?? {}, dtype: request.dtype };
}

const parametersSchema = z.strictObject({
  weight: z.number().optional(),
  density: z.number().optional(),
  normalize: z.boolean().optional(),
  lambda: z.number().optional(),
});
const dtypes = { float32: "f32", bfloat16: "bf16", float16: "f16" } as const;
const fileSchema = z.strictObject({
  merge_method: z.enum(["linear", "task_arithmetic", "ties"]),
  base_model: z.string().optional(),
  models: z.array(z.strictObject({ model: z.string(), parameters: parametersSchema.optional() })).min(1),
  parameters: parametersSchema.optional(),
  dtype: z.enum(["float32", "bfloat16", "float16"]).optional(),
  out_dtype: z.enum(["float32", "bfloat16", "float16"]).optional(),
});

/** A mergekit file of the methods that are here: models with weights and densities. Paths are taken relative to the file. */
export function readPlan(path: string): Plan {
  if (!existsSync(path)) throw new LfmError("FILE_IO", `lfm: cannot read ${path}`);
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, "utf8"));
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `lfm: ${path} is not YAML: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
  const parsed = fileSchema.safeParse(raw);
  if (!parsed.success) {
    const unknown = parsed.error.issues.flatMap((i) => (i.code === "unrecognized_keys" ? i.keys : []));
    const near = unknown
      .map((k) => nearestName(k, [...Object.keys(fileSchema.shape), ...Object.keys(parametersSchema.shape)]))
      .filter((k) => k !== undefined);
    throw new LfmError(
      "CONFIG_INVALID",
      `lfm: ${path}: ${z.prettifyError(parsed.error)}`,
      near.length > 0 ? { hint: `did you mean ${near.map((k) => `"${k}"`).join(", ")}?` } : {},
    );
  }
  const file = parsed.data;
  const local = (name: string): string => (!isAbsolute(name) && existsSync(join(dirname(path), name)) ? join(dirname(path), name) : name);
  // As mergekit: the base model may stand among the models; for task vectors it adds nothing there.
  const listed = file.models.filter((m) => file.merge_method === "linear" || m.model !== file.base_model);
  const own = (key: "weight" | "density", fallback: number): number[] =>
    listed.map((m) => m.parameters?.[key] ?? file.parameters?.[key] ?? fallback);
  const densities = new Set(own("density", 1));
  if (densities.size > 1)
    throw new LfmError("CONFIG_INVALID", `lfm: ${path}: one density for all models`, { hint: "put density under the global parameters" });
  const normalize = file.parameters?.normalize;
  const scale = file.parameters?.lambda;
  const shared = { weight: own("weight", 1), ...(normalize === undefined ? {} : { normalize }) };
  const dtype = file.out_dtype ?? file.dtype;
  return {
    method: { linear: "average", task_arithmetic: "task-arithmetic", ties: "ties" }[file.merge_method],
    base: file.base_model === undefined ? undefined : local(file.base_model),
    models: listed.map((m) => local(m.model)),
    config: {
      ...shared,
      ...(file.merge_method !== "linear" && scale !== undefined ? { lambda: scale } : {}),
      ...(file.merge_method === "ties" ? { density: [...densities][0]! } : {}),
    },
    dtype: dtype === undefined ? undefined : dtypes[dtype],
  };
}

function copyTokenizer(from: string, to: string): void {
  if (!existsSync(from)) return;
  for (const file of readdirSync(from)) {
    if (/^(tokenizer.*|special_tokens_map|vocab|merges|added_tokens|generation_config)\.(json|txt|model)$/.test(file))
      copyFileSync(join(from, file), join(to, file));
  }
}
