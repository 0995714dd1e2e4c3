import { type DType, isFloatType, LfmError } from "@lfm/core";
import type { PlannedInput, PlannedStatistics, PlannedTensor, TensorSource } from "../merging/plan.js";
import { isSameData } from "./buffers.js";
import type { MergeDocument, Parameters } from "./document.js";
import { headHint, isOfHead } from "./heads.js";
import { isBeforeLayers, isBuffer, isVocabulary } from "./layout.js";
import { type FoundTensor, findTensor, type ModelFiles } from "./model-files.js";
import { type NamedMethod, resolveParameters } from "./parameters.js";
import { type PlannedModule, type PlannedSlice, stackOf } from "./slices.js";
import { isAnyHead } from "./task-heads.js";
import { dtypeOf, promote, shapeOf } from "./tensor-types.js";

export interface TensorPlanning {
  readonly document: MergeDocument;
  readonly named: NamedMethod;
  readonly reference: ModelFiles;
  readonly mode?: "mergekit" | "paper";
  readonly dtype?: DType;
  readonly outDtype?: DType;
  /** The model whose heads the result has as they are. */
  readonly headsFrom?: ModelFiles;
  /** Rows for another vocabulary; absent: they stay as they are. */
  readonly gather?: (
    rowsOf: ReadonlyMap<ModelFiles, TensorSource>,
    name: string,
    base: ModelFiles | undefined,
  ) => ReadonlyMap<ModelFiles, TensorSource>;
  /** What is known of a tensor of a model, for methods that read statistics. */
  readonly statisticsOf?: (files: ModelFiles, parameters: Parameters, tensor: string) => PlannedStatistics | undefined;
}

/** What is planned, and all that is wrong with it. */
export interface PlannedTensors {
  readonly tensors: readonly PlannedTensor[];
  readonly problems: readonly LfmError[];
  /** Models whose output layer is their embedding, among others that have one. */
  readonly untied: readonly string[];
}

/** One tensor of the result before its inputs are looked up. */
interface Slot {
  readonly name: string;
  readonly slice: PlannedSlice;
  /** Depth in [0, 1]. */
  readonly t: number;
  /** Its name in the reference model's way of naming, by source. */
  readonly inputs: readonly string[];
}

/** All tensors of the result: those before the layers, the layers, those after, module by module. */
export function planTensors(modules: readonly PlannedModule[], planning: TensorPlanning): PlannedTensors {
  const problems: LfmError[] = [];
  const untied = new Set<string>();
  const tensors: PlannedTensor[] = [];
  for (const module of modules)
    for (const slot of slotsOf(module, planning.reference)) {
      try {
        tensors.push(planTensor(slot, module, planning, untied));
      } catch (error) {
        if (!(error instanceof LfmError)) throw error;
        problems.push(error);
      }
    }
  return { tensors, problems, untied: [...untied] };
}

function slotsOf(module: PlannedModule, reference: ModelFiles): Slot[] {
  const [first, last] = [module.slices[0]!, module.slices.at(-1)!];
  const rootless = reference.layout.stacks[0]?.root ?? "";
  const loose = (slice: PlannedSlice, before: boolean): Slot[] =>
    union([reference, ...slice.sources.map((s) => s.files)].map((files) => looseNames(files, module.name, rootless)))
      .filter((name) => isBeforeLayers(name) === before)
      // Only what some source has: of the reference only the order is taken.
      .filter((name) => slice.sources.some(({ files }) => findTensor(files, name, rootless)?.tied === false))
      .map((name) => ({ name, slice, t: 0, inputs: slice.sources.map(() => name) }));
  const prefix = stackOf(reference, module.name)?.prefix ?? "";
  const layers: Slot[] = [];
  let out = 0;
  for (const slice of module.slices)
    for (let i = 0; i < slice.layers; i++, out++) {
      // As mergekit: a slice of one layer is at the end of its gradient.
      const t = slice.layers > 1 ? i / (slice.layers - 1) : 1;
      const suffixes = union(slice.sources.map(({ files, from }) => stackOf(files, module.name)?.suffixes.get(from + i) ?? []));
      for (const suffix of suffixes)
        layers.push({
          name: `${prefix}${out}.${suffix}`,
          slice,
          t,
          inputs: slice.sources.map(({ from }) => `${prefix}${from + i}.${suffix}`),
        });
    }
  return [...loose(first, true), ...layers, ...loose(last, false)];
}

/** In the reference model's way of naming: `transformer.wte.weight`, also where a file has `wte.weight`. */
function looseNames(files: ModelFiles, module: string, root: string): string[] {
  const own = files.layout.stacks[0]?.root ?? "";
  const names = files.layout.loose.get(module) ?? [];
  if (own === root) return [...names];
  if (root.endsWith(own)) return names.map((n) => (isAnyHead(n) || n.startsWith(root) ? n : root.slice(0, root.length - own.length) + n));
  return names.map((n) =>
    own.endsWith(root) && n.startsWith(own.slice(0, own.length - root.length)) ? n.slice(own.length - root.length) : n,
  );
}

function union(lists: readonly (readonly string[])[]): string[] {
  return [...new Set(lists.flat())];
}

interface Input {
  readonly files: ModelFiles;
  readonly found: FoundTensor;
  readonly source: TensorSource;
  /** Name that filters look at. */
  readonly name: string;
  readonly own: Parameters;
  readonly listed: boolean;
}

function planTensor(slot: Slot, module: PlannedModule, planning: TensorPlanning, untied: Set<string>): PlannedTensor {
  const { document, named, reference } = planning;
  const { slice, name } = slot;
  const inputs = gathered(ofHead(slot, planning) ?? findInputs(slot, reference, untied), slot, planning);
  const [first] = inputs;
  const shape = shapeOf(first!.source);
  for (const input of inputs) checkShape(name, first!, input, planning);
  const types = inputs.map((i) => dtypeOf(i.source));
  const isBase = (i: Input): boolean => slice.base !== undefined && i.files === slice.base;
  if (types.some((t) => !isFloatType(t)) || isBuffer(name, shape)) return copied(name, inputs, inputs.find(isBase) ?? first!);
  const working = planning.dtype ?? promote(types);
  const scopes = [slice.parameters, module.parameters, document.parameters];
  const { shared, perModel } = named.method.merging;
  const paper = planning.mode === undefined || !("mode" in shared.shape) ? {} : { mode: planning.mode };
  // mergekit has no default for these; ours are for programs and flags.
  const needed = named.ofMergekit ? ["weight", "t"].filter((key) => named.defaults[key] === undefined) : [];
  const parameters = resolveParameters(shared, { name, t: slot.t, scopes: [paper, ...scopes], defaults: named.defaults, needed });
  const planned = (input: Input): PlannedInput => ({
    model: input.files.name,
    source: input.source,
    ...statisticsOf(input, planning),
    parameters: resolveParameters(perModel, {
      name: input.name,
      t: slot.t,
      scopes: [input.own, ...scopes],
      defaults: named.defaults,
      model: `"${input.files.name}"`,
      needed,
    }),
  });
  const common = { name, shape, dtype: planning.outDtype ?? working, ...(planning.dtype ? { workingDtype: planning.dtype } : {}) };
  if (inputs.length < slice.sources.length) return { ...common, ...passedThrough(first!) };
  const models = inputs.filter((i) => !isBase(i));
  const base = inputs.find(isBase);
  if (models.length === 0) return { ...common, ...passedThrough(base!) };
  return {
    ...common,
    method: named.method.id,
    parameters,
    models: models.map(planned),
    ...(base ? { base: { model: base.files.name, source: base.source, parameters: base.listed ? ofBase(planned, base) : {} } } : {}),
  };
}

/** @throws {LfmError} OP_UNSUPPORTED where rows are those of another vocabulary */
function statisticsOf({ files, found, source, own }: Input, planning: TensorPlanning): Pick<PlannedInput, "statistics"> {
  const statistics = planning.statisticsOf?.(files, own, found.name);
  if (!statistics) return {};
  // Rows of an [out, in] weight are outputs: what flows in is the same for any vocabulary.
  if (source !== found.source && statistics.layout !== "out-in")
    throw new LfmError(
      "OP_UNSUPPORTED",
      `[@lfm/reuse] "${found.name}" of "${files.name}" gets rows for another vocabulary, its statistics do not`,
      {
        hint: "leave tokenizer out; models with tokenizers of their own are merged by regmean, which averages embeddings",
      },
    );
  return { statistics };
}

function passedThrough({ files, source }: Input): Pick<PlannedTensor, "method" | "parameters" | "models"> {
  return { method: "passthrough", parameters: {}, models: [{ model: files.name, source, parameters: { scale: 1 } }] };
}

/** Integers and buffers are copied, not merged; integers must be equal in all models, as mergekit demands. */
function copied(name: string, inputs: readonly Input[], kept: Input): PlannedTensor {
  const dtype = dtypeOf(kept.source);
  const other = isFloatType(dtype) ? undefined : inputs.find((i) => !isSameData(kept.source, i.source));
  if (other)
    throw new LfmError(
      "DTYPE_UNSUPPORTED",
      `[@lfm/reuse] "${name}" holds ${dtype} values that differ between "${kept.files.name}" and "${other.files.name}"`,
      { details: { tensor: name }, hint: "integers cannot be merged; quantised weights must be dequantised first" },
    );
  return { name, shape: shapeOf(kept.source), dtype, ...passedThrough(kept) };
}

/** mergekit's methods of task vectors ask a base for nothing; what a configuration says about it is kept where it is complete. */
function ofBase(planned: (input: Input) => PlannedInput, base: Input): PlannedInput["parameters"] {
  if (Object.keys(base.own).length === 0) return {};
  return planned(base).parameters;
}

/** The one input of a tensor of the head that is kept; undefined for everything else. */
function ofHead({ name, slice }: Slot, { headsFrom, reference }: TensorPlanning): Input[] | undefined {
  if (!headsFrom) return undefined;
  const isHeads = isOfHead(
    name,
    headsFrom,
    slice.sources.map(({ files }) => files),
  );
  const found = isHeads ? findTensor(headsFrom, name, reference.layout.stacks[0]?.root ?? "") : undefined;
  return found ? [{ files: headsFrom, found, source: found.source, name, own: {}, listed: true }] : undefined;
}

/** @throws {LfmError} PARAM_NOT_FOUND naming tensor and model */
function findInputs(slot: Slot, reference: ModelFiles, untied: Set<string>): Input[] {
  const root = reference.layout.stacks[0]?.root ?? "";
  const referencePrefixes = reference.layout.stacks.map((s) => s.prefix);
  const found = slot.slice.sources.map(({ files, parameters, listed }, i) => {
    const name = slot.inputs[i]!;
    const tensor = findTensor(files, name, root) ?? inOwnStack(files, name, referencePrefixes, reference);
    return { files, name, own: parameters, listed, tensor };
  });
  const owner = found.find((f) => f.tensor && !f.tensor.tied);
  const inputs: Input[] = [];
  for (const { tensor, ...rest } of found) {
    if (!tensor)
      throw new LfmError(
        "PARAM_NOT_FOUND",
        `[@lfm/reuse] ${slot.slice.where}: "${rest.files.name}" has no tensor "${rest.name}", which "${owner?.files.name}" has`,
        {
          details: { tensor: rest.name, model: rest.files.name },
          hint: isAnyHead(rest.name)
            ? headHint
            : `merge models of one architecture; leave "${rest.files.name}" or "${owner?.files.name}" out`,
        },
      );
    if (tensor.tied) untied.add(rest.files.name);
    inputs.push({ ...rest, found: tensor, source: tensor.source });
  }
  return inputs;
}

/** A layer's tensor of a model whose stack is called otherwise. */
function inOwnStack(files: ModelFiles, name: string, prefixes: readonly string[], reference: ModelFiles): FoundTensor | undefined {
  const prefix = prefixes.find((p) => name.startsWith(p));
  const module = reference.layout.stacks.find((s) => s.prefix === prefix)?.module;
  const own = module === undefined ? undefined : stackOf(files, module);
  if (prefix === undefined || !own) return undefined;
  const renamed = own.prefix + name.slice(prefix.length);
  const source = files.tensors.get(renamed);
  return source ? { name: renamed, source, tied: false } : undefined;
}

/** Where the configuration makes a new vocabulary: rows of every input in its order. */
function gathered(inputs: readonly Input[], slot: Slot, { gather }: TensorPlanning): readonly Input[] {
  if (!gather) return inputs;
  const hasRows = inputs.every(({ files, found }) => isVocabulary(found.name, shapeOf(found.source), files.layout, files.rows));
  if (!hasRows) return inputs;
  const sources = gather(new Map(inputs.map((i) => [i.files, i.source])), slot.name, slot.slice.configuredBase);
  return inputs.map((i) => ({ ...i, source: sources.get(i.files)! }));
}

function checkShape(name: string, first: Input, other: Input, { document }: TensorPlanning): void {
  const [a, b] = [shapeOf(first.source), shapeOf(other.source)];
  if (a.length === b.length && a.every((d, i) => d === b[i])) return;
  const rowsOnly = isVocabulary(first.found.name, a, first.files.layout, first.files.rows) && a.slice(1).join() === b.slice(1).join();
  throw new LfmError(
    "SHAPE_MISMATCH",
    `[@lfm/reuse] "${name}" is [${a.join(", ")}] in "${first.files.name}" and [${b.join(", ")}] in "${other.files.name}"`,
    {
      details: { tensor: name, shapes: { [first.files.name]: a, [other.files.name]: b } },
      hint:
        rowsOnly && !document.tokenizer
          ? "the vocabularies differ; add: tokenizer: {source: base} (or, where token ids mean the same, --unsafe-truncate-embeddings)"
          : isAnyHead(name)
            ? headHint
            : "merge models of one architecture and size",
    },
  );
}
