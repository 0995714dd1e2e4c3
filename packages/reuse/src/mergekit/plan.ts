import { type DType, LfmError, nearestName } from "@lfm/core";
import type { MergePlan, PlannedTensor } from "../merging/plan.js";
import { type MergeDocument, type ModelReference, referencedModels } from "./document.js";
import { chooseHeads } from "./heads.js";
import { type ModelFiles, modelOpener } from "./model-files.js";
import { outputFiles } from "./output-files.js";
import { checkParameterNames, findMethod, type NamedMethod } from "./parameters.js";
import type { PlanMergeOptions } from "./plan-options.js";
import { planTensors } from "./plan-tensors.js";
import { modulesOf } from "./slices.js";
import { findStatisticsFiles } from "./statistics-files.js";
import { commonRows, mergeVocabularies } from "./vocabulary.js";

/** A plan that also says what it was made of. */
export interface DocumentPlan extends MergePlan {
  readonly models: readonly ModelFiles[];
  /** What a user should know: options without effect, models that were untied, … */
  readonly notes: readonly string[];
}

/**
 * Decides everything that a configuration of mergekit asks for, from the headers of the models' files: which tensors the result has, what
 * each is made of, with which parameters, and what stands beside the weights.
 * @throws {LfmError} CONFIG_INVALID, FILE_IO, FILE_FORMAT; PARAM_NOT_FOUND, SHAPE_MISMATCH, DTYPE_UNSUPPORTED naming tensor and model, with
 * all that was found in `details.problems`; PARENT_MISMATCH for statistics of another model; OP_UNSUPPORTED for adapters that cannot be merged; CAPABILITY_MISSING for tokenizers
 */
export async function planMerge(document: MergeDocument, options: PlanMergeOptions): Promise<DocumentPlan> {
  const { methods } = options;
  const named = findMethod(document, methods);
  const notes = [...document.notes, ...checkParameterNames(document, named, methods)];
  const [dtype, outDtype] = [
    dtypeOf(document.dtype, document, "dtype"),
    dtypeOf(options.outDtype ?? document.outDtype, document, "out_dtype"),
  ];
  const mode = options.mode ?? document.mode;
  if (mode === "paper" && !("mode" in named.method.merging.shared.shape))
    notes.push(`mode: paper changes nothing: ${document.method} is the same in its paper and in mergekit`);
  const heads = chooseHeads(document, await openAll(document, options));
  const { opened } = heads;
  const open = (reference: ModelReference): ModelFiles => opened.get(reference.text)!;
  const models = referencedModels(document).map(open);
  // A head's config and names go with it.
  const donor = heads.from ?? models[0]!;
  const modules = modulesOf(document, named, donor, open);
  const vocabulary = document.tokenizer ? mergeVocabularies(document, models, open) : undefined;
  const statistics = await findStatisticsFiles(document, named, modules, options);
  const { tensors, problems, untied } = planTensors(modules, {
    document,
    named,
    reference: donor,
    ...(mode ? { mode } : {}),
    ...(dtype ? { dtype } : {}),
    ...(outDtype ? { outDtype } : {}),
    ...(heads.from ? { headsFrom: heads.from } : {}),
    ...(vocabulary ? { gather: vocabulary.gather } : options.unsafeTruncateEmbeddings ? { gather: commonRows } : {}),
    ...(statistics ? { statisticsOf: statistics.of } : {}),
  });
  if (problems.length > 0) throw together(problems);
  refuseMixedModels(tensors, named, document);
  const resultDtype = outDtype ?? dtype;
  // Without a vocabulary to fill, rows are only taken where a matrix is cut.
  const cut = vocabulary
    ? undefined
    : tensors.find((t) => [...t.models, ...(t.base ? [t.base] : [])].some((i) => i.source.kind === "gathered"));
  const rows = vocabulary?.rows ?? cut?.shape[0];
  if (cut) notes.push(`embeddings are cut to ${rows} rows: tokens from id ${rows} on are gone, others are taken to mean the same`);
  const files = outputFiles({
    document: options.outDtype === undefined ? document : { ...document, outDtype: options.outDtype },
    method: named.method,
    modules,
    donor,
    models,
    ...(document.base ? { base: open(document.base) } : {}),
    ...(vocabulary ? { vocabulary } : {}),
    ...(rows === undefined ? {} : { rows }),
    ...(resultDtype ? { dtype: resultDtype } : {}),
    names: tensors.map((t) => t.name),
    untied,
  });
  return {
    tensors,
    texts: files.texts,
    copies: files.copies,
    seed: options.seed ?? 0,
    models,
    notes: [
      ...notes,
      ...heads.notes,
      ...models.flatMap((m) => m.notes),
      ...(statistics?.notes(tensors) ?? []),
      ...(vocabulary?.notes ?? []),
      ...files.notes,
    ],
  };
}

/** The models, and those whose tokens the tokenizer takes. */
async function openAll(document: MergeDocument, options: PlanMergeOptions): Promise<ReadonlyMap<string, ModelFiles>> {
  const { tokenizer } = document;
  const opener = modelOpener(options.folder ?? ".", options.resolve, options.multiplyOut);
  const tokenModels = Object.values(tokenizer?.tokens ?? {}).flatMap(({ source }) =>
    source && source.kind !== "zero" ? [source.model] : [],
  );
  const source = tokenizer && typeof tokenizer.source !== "string" ? [tokenizer.source] : [];
  const opened = new Map<string, ModelFiles>();
  for (const reference of [...referencedModels(document), ...source, ...tokenModels])
    if (!opened.has(reference.text)) opened.set(reference.text, await opener(reference));
  return opened;
}

const DTYPES: Readonly<Record<string, DType>> = { bfloat16: "bf16", float16: "f16", float32: "f32", float64: "f64" };

/** @throws {LfmError} CONFIG_INVALID with the nearest name */
function dtypeOf(name: string | undefined, document: MergeDocument, key: string): DType | undefined {
  if (name === undefined) return undefined;
  const plain = name.replace(/^torch\./, "");
  if (Object.hasOwn(DTYPES, plain)) return DTYPES[plain];
  const short: Readonly<Record<string, string>> = {
    bf16: "bfloat16",
    fp16: "float16",
    f16: "float16",
    half: "float16",
    fp32: "float32",
    f32: "float32",
    fp64: "float64",
  };
  const near = Object.hasOwn(short, plain) ? short[plain] : nearestName(plain, Object.keys(DTYPES));
  throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${document.locate([key])}: there is no ${key} "${name}"`, {
    hint: near ? `did you mean "${near}"?` : `there are: ${Object.keys(DTYPES).join(", ")}`,
  });
}

/** What a method finds out about whole models goes by their places. @throws {LfmError} CONFIG_INVALID where slices have others */
function refuseMixedModels(tensors: readonly PlannedTensor[], { method }: NamedMethod, document: MergeDocument): void {
  const { survey } = method.merging;
  const surveyed = tensors.filter((t) => t.method === method.id && (survey?.rounds(t.parameters) ?? 0) > 0);
  const namesOf = (t: PlannedTensor): string => t.models.map((m) => m.model).join(", ");
  const other = surveyed.find((t) => namesOf(t) !== namesOf(surveyed[0]!));
  if (other)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/reuse] ${document.locate(["slices"])}: ${document.method} looks at whole models first, but "${surveyed[0]!.name}" is made of ${namesOf(surveyed[0]!)} and "${other.name}" of ${namesOf(other)}`,
      { hint: `list the same models in every slice, or, for fisher: parameters: {normalize: false}` },
    );
}

/** The first problem, and with it all others. */
function together(problems: readonly LfmError[]): LfmError {
  const [first] = problems;
  if (problems.length === 1) return first!;
  return new LfmError(first!.code, `${first!.message} (and ${problems.length - 1} more)`, {
    ...(first!.hint === undefined ? {} : { hint: first!.hint }),
    details: { ...first!.details, problems: problems.map((p) => p.toJSON()) },
    cause: first,
  });
}
