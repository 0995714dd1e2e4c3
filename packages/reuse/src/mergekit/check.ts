import { bytesPerElement, type DType, LfmError, type LfmErrorCode, sizeOf } from "@lfm/core";
import { type MergePlan, partsOfSource, type TensorSource } from "../merging/plan.js";
import { type MergeDocument, referencedModels } from "./document.js";
import { isHead } from "./layout.js";
import { type ModelFiles, modelOpener } from "./model-files.js";
import { type DocumentPlan, planMerge } from "./plan.js";
import type { PlanMergeOptions } from "./plan-options.js";
import { dtypeOf, shapeOf } from "./tensor-types.js";
import { readTokenizerFile } from "./tokenizer-file.js";

/** What can be said about a merge from configuration and headers alone. */
export interface MergeCheck {
  /** Nothing stands in the way. */
  readonly ok: boolean;
  readonly problems: readonly MergeProblem[];
  readonly notes: readonly string[];
  readonly models: readonly CheckedModel[];
  /** Absent where there are problems. */
  readonly output?: {
    readonly tensors: number;
    readonly parameters: number;
    readonly bytes: number;
    readonly dtypes: Readonly<Record<string, number>>;
    /** Tensors by method. */
    readonly methods: Readonly<Record<string, number>>;
  };
  /** Bytes of weights that are read once; methods of several passes read them again. */
  readonly bytesRead: number;
  readonly bytesWritten: number;
}

export interface MergeProblem {
  readonly code: LfmErrorCode;
  readonly message: string;
  /** The tensor that it is about. */
  readonly tensor?: string;
  readonly hint?: string;
}

export interface CheckedModel {
  readonly model: string;
  readonly folder: string;
  readonly architecture?: string;
  readonly tensors: number;
  readonly parameters: number;
  readonly bytes: number;
  /** Tensors by type. */
  readonly dtypes: Readonly<Record<string, number>>;
  /** Layers by module. */
  readonly layers: Readonly<Record<string, number>>;
  /** Rows of the embedding. */
  readonly rows?: number;
  /** Tokens of its tokenizer; fewer than rows: the embedding is padded. */
  readonly tokens?: number;
  /** It has no output layer of its own. */
  readonly tied: boolean;
  readonly adapter?: string;
}

/**
 * Reports on a plan, or on a configuration that may not even give one: then everything that is wrong with it is listed. Reads headers only.
 * @param options for a document: as for {@link planMerge}
 */
export async function checkMerge(merge: DocumentPlan | MergeDocument, options?: PlanMergeOptions): Promise<MergeCheck> {
  if ("tensors" in merge) return checkPlan(merge);
  if (!options) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] a document is checked with the options that it would be planned with");
  try {
    return checkPlan(await planMerge(merge, options));
  } catch (error) {
    if (!(error instanceof LfmError)) throw error;
    const listed = (error.details.problems ?? [error.toJSON()]) as readonly (MergeProblem & { readonly details?: { tensor?: string } })[];
    const problems = listed.map(({ code, message, hint, details }) => ({
      code,
      message,
      ...(details?.tensor === undefined ? {} : { tensor: details.tensor }),
      ...(hint === undefined ? {} : { hint }),
    }));
    return { ok: false, problems, notes: [...merge.notes], models: await openable(merge, options), bytesRead: 0, bytesWritten: 0 };
  }
}

/** The models that can be opened; why others cannot is among the problems. */
async function openable(document: MergeDocument, options: PlanMergeOptions): Promise<CheckedModel[]> {
  const open = modelOpener(options.folder ?? ".", options.resolve, options.multiplyOut);
  const opened = await Promise.allSettled(referencedModels(document).map(async (reference) => checkModel(await open(reference))));
  return opened.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
}

function checkPlan(plan: DocumentPlan): MergeCheck {
  const parameters = plan.tensors.reduce((n, t) => n + sizeOf(t.shape), 0);
  const bytes = plan.tensors.reduce((n, t) => n + sizeOf(t.shape) * bytesPerElement[t.dtype], 0);
  const models = plan.models.map(checkModel);
  const architectures = [...new Set(models.flatMap((m) => m.architecture ?? []))];
  const mixed = architectures.length > 1 ? [`models of different architectures are mixed: ${architectures.join(", ")}`] : [];
  return {
    ok: true,
    problems: [],
    notes: [...plan.notes, ...mixed],
    models,
    output: {
      tensors: plan.tensors.length,
      parameters,
      bytes,
      dtypes: counts(plan.tensors.map((t) => t.dtype)),
      methods: counts(plan.tensors.map((t) => t.method)),
    },
    bytesRead: bytesOnce(plan),
    bytesWritten: bytes,
  };
}

function checkModel(files: ModelFiles): CheckedModel {
  const sources = [...files.tensors.values()];
  const architecture =
    (files.config.architectures as readonly string[] | undefined)?.[0] ?? (files.config.model_type as string | undefined);
  const tokenizer = files.tokenizerFiles.includes("tokenizer.json")
    ? readTokenizerFile(files.tokenizerFolder, files.tokenizerFiles, files.name)
    : undefined;
  return {
    model: files.name,
    folder: files.folder,
    ...(architecture === undefined ? {} : { architecture }),
    tensors: sources.length,
    parameters: sources.reduce((n, s) => n + sizeOf(shapeOf(s)), 0),
    bytes: sources.reduce((n, s) => n + sizeOf(shapeOf(s)) * bytesPerElement[dtypeOf(s)], 0),
    dtypes: counts(sources.map(dtypeOf)),
    layers: Object.fromEntries(files.layout.stacks.map((s) => [s.module, s.count])),
    ...(files.rows === undefined ? {} : { rows: files.rows }),
    ...(tokenizer ? { tokens: tokenizer.vocabulary.size } : {}),
    tied: files.layout.embedding !== undefined && ![...files.tensors.keys()].some(isHead),
    ...(files.adapterFolder === undefined ? {} : { adapter: files.adapterFolder }),
  };
}

function counts(values: readonly (DType | string)[]): Record<string, number> {
  const found: Record<string, number> = {};
  for (const v of values) found[v] = (found[v] ?? 0) + 1;
  return found;
}

/** Tensors that several parts of the plan use count once. */
function bytesOnce(plan: MergePlan): number {
  const seen = new Map<string, number>();
  const visit = (source: TensorSource): void => {
    if (source.kind === "stored") seen.set(`${source.file}@${source.position}`, sizeOf(source.shape) * bytesPerElement[source.dtype]);
    for (const one of partsOfSource(source)) visit(one);
  };
  for (const t of plan.tensors)
    for (const { source, statistics } of [...t.models, ...(t.base ? [t.base] : [])])
      for (const one of [source, ...(statistics ? [statistics.source] : [])]) visit(one);
  return [...seen.values()].reduce((a, b) => a + b, 0);
}
