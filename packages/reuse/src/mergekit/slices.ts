import { LfmError } from "@lfm/core";
import type { MergeDocument, ModelInput, ModelReference, Parameters, SliceInput, SliceOutput } from "./document.js";
import type { ModelFiles } from "./model-files.js";
import type { NamedMethod } from "./parameters.js";

/** Layers that follow each other in the result, and where they come from. */
export interface PlannedSlice {
  readonly sources: readonly PlannedSource[];
  /** Only where the method works on differences to it. */
  readonly base?: ModelFiles;
  /** The base that the configuration names, whatever the method makes of it. */
  readonly configuredBase?: ModelFiles;
  readonly parameters: Parameters;
  readonly layers: number;
  /** For messages: `merge.yml:8`. */
  readonly where: string;
}

interface PlannedSource {
  readonly files: ModelFiles;
  readonly parameters: Parameters;
  /** First layer that is taken. */
  readonly from: number;
  /** The configuration lists it; a base that it does not list is added. */
  readonly listed: boolean;
}

export interface PlannedModule {
  readonly name: string;
  readonly parameters: Parameters;
  readonly slices: readonly PlannedSlice[];
}

type Open = (reference: ModelReference) => ModelFiles;
type Path = readonly (string | number)[];

/**
 * Brings models, slices and modules to one form: modules of slices, as mergekit does.
 * @param reference the base or the first model, which says what modules there are
 * @throws {LfmError} CONFIG_INVALID naming slice and model
 */
export function modulesOf(document: MergeDocument, named: NamedMethod, reference: ModelFiles, open: Open): PlannedModule[] {
  const { body, base } = document;
  const { modules } = reference.layout;
  const planOf = (
    name: string,
    inputs: { models?: readonly ModelInput[]; slices?: readonly SliceOutput[]; parameters: Parameters },
    path: Path,
  ): PlannedModule => {
    const slices = inputs.models
      ? [
          {
            sources: wholeModels(inputs.models, base, name, open, (i) => document.locate([...path, "models", i, "layer_range"])),
            parameters: {},
          },
        ]
      : (inputs.slices ?? []).map((s) => ({ ...s, sources: s.sources.map((source) => ({ ...source, listed: true })) }));
    const at = (i: number): Path => (inputs.models ? [...path, "models"] : [...path, "slices", i]);
    return {
      name,
      parameters: inputs.parameters,
      slices: slices.map((s, i) => planSlice(s, name, document.locate(at(i)), { document, named, open })),
    };
  };
  if (body.kind === "modules") {
    const matched = Object.keys(body.modules).map((name) => [name, moduleName(name, reference, document)] as const);
    const twice = matched.find(([, found], i) => matched.findIndex(([, other]) => other === found) < i);
    if (twice)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/reuse] ${document.locate(["modules", twice[0]])}: module "${twice[1]}" is described twice, here as "${twice[0]}"`,
        { hint: `the model has: ${modules.join(", ")}` },
      );
    const missing = modules.filter((m) => !matched.some(([, found]) => found === m));
    if (missing.length > 0)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/reuse] ${document.locate(["modules"])}: nothing is said about module ${missing.map((m) => `"${m}"`).join(", ")}`,
        {
          hint: `the model has: ${modules.join(", ")}`,
        },
      );
    return matched.map(([name, found]) => planOf(found, body.modules[name]!, ["modules", name]));
  }
  if (body.kind === "models") return modules.map((name) => planOf(name, { models: body.models, parameters: {} }, []));
  if (modules.length > 1)
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/reuse] ${document.locate(["slices"])}: the model has several modules: ${modules.join(", ")}`,
      {
        hint: `write the slices under modules: {${modules[0]}: {slices: […]}, …}`,
      },
    );
  return [planOf(modules[0] ?? "default", { slices: body.slices, parameters: {} }, [])];
}

/** The module that a configuration means: its own name here, or mergekit's for a part of its kind. */
function moduleName(name: string, reference: ModelFiles, document: MergeDocument): string {
  const { modules, embedding, loose } = reference.layout;
  if (modules.includes(name)) return name;
  if (modules.length === 1) return modules[0]!;
  const withTokens = modules.find((m) => embedding !== undefined && loose.get(m)?.includes(embedding));
  const byKind =
    name === "text_decoder" || name === "language_model"
      ? withTokens
      : /^vision_(tower|model)$/.test(name)
        ? modules.find((m) => /vis/.test(m))
        : modules.filter((m) => m.endsWith(`.${name}`))[0];
  if (byKind !== undefined) return byKind;
  throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${document.locate(["modules", name])}: the model has no module "${name}"`, {
    hint: `it has: ${modules.join(", ")}`,
  });
}

interface Source extends SliceInput {
  readonly listed: boolean;
}

/** All layers of every model; the base, which mergekit adds where it is not listed, last. */
function wholeModels(
  models: readonly ModelInput[],
  base: ModelReference | undefined,
  module: string,
  open: Open,
  locate: (place: number) => string,
): Source[] {
  const layersOf = (m: ModelReference): [number, number] => [0, layerCount(open(m), module)];
  for (const [i, { model, layers }] of models.entries()) {
    const [, count] = layersOf(model);
    if (layers && (layers[0] !== 0 || layers[1] !== count))
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/reuse] ${locate(i)}: under models "${model.text}" is taken with all ${count} layers, not [${layers.join(", ")}]`,
        { hint: `slices: [{sources: [{model: ${model.text}, layer_range: [${layers.join(", ")}]}, …]}]` },
      );
  }
  const listed = models.map((m) => ({ ...m, layers: layersOf(m.model), listed: true }));
  const hasBase = base === undefined || models.some((m) => m.model.text === base.text);
  return hasBase ? listed : [...listed, { model: base, parameters: {}, layers: layersOf(base), listed: false }];
}

/** How many layers a model has in a module; one stack is that of any module. */
function layerCount(files: ModelFiles, module: string): number {
  return stackOf(files, module)?.count ?? 0;
}

export function stackOf(files: ModelFiles, module: string): ModelFiles["layout"]["stacks"][number] | undefined {
  const { stacks } = files.layout;
  return stacks.find((s) => s.module === module) ?? (module === "default" ? stacks[0] : undefined);
}

interface SliceContext {
  readonly document: MergeDocument;
  readonly named: NamedMethod;
  readonly open: Open;
}

function planSlice(
  slice: { readonly sources: readonly Source[]; readonly base?: ModelReference; readonly parameters: Parameters },
  module: string,
  where: string,
  { document, named, open }: SliceContext,
): PlannedSlice {
  const fail = (message: string, hint?: string): LfmError =>
    new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${where}: ${message}`, hint ? { hint } : {});
  const [first] = slice.sources;
  const length = first!.layers[1] - first!.layers[0];
  const seen = new Set<string>();
  for (const { model, layers } of slice.sources) {
    if (seen.has(model.text)) throw fail(`model "${model.text}" is listed twice`);
    seen.add(model.text);
    const has = layerCount(open(model), module);
    if (layers[1] > has)
      throw fail(`layers [${layers.join(", ")}] are asked of "${model.text}", which has ${has}`, `layer_range: [${layers[0]}, ${has}]`);
    if (layers[1] - layers[0] !== length)
      throw fail(
        `${length} layers of "${first!.model.text}" meet ${layers[1] - layers[0]} of "${model.text}"`,
        "give every model of a slice the same number of layers",
      );
  }
  const { base: need, models: limits } = named.method.merging;
  const base = slice.base ?? document.base;
  if (need === "required" && !base)
    throw fail(`${document.method} works on the difference to a base model`, "add base_model: the model that the others were trained from");
  if (base && need !== "none" && !seen.has(base.text))
    throw fail(`base model "${base.text}" is not among the sources`, `add it: - model: ${base.text}`);
  const hasBase = base !== undefined && need !== "none";
  const models = slice.sources.length - (hasBase ? 1 : 0);
  const [least, most] = limits;
  // mergekit gives back the base where methods of any number of task vectors have none.
  const onlyBase = models === 0 && hasBase && need === "required" && most > 2 && least <= 1;
  if (!onlyBase && (models < least || models > most)) {
    const expected =
      least === most
        ? `${least} model${least === 1 ? "" : "s"}`
        : most === Number.POSITIVE_INFINITY
          ? `at least ${least} models`
          : `${least} to ${most} models`;
    const added = slice.sources.find((s) => !s.listed);
    throw fail(
      `${document.method} merges ${expected}${hasBase ? " beside the base" : ""}, got ${models}`,
      added && need === "none" ? `base_model "${added.model.text}" counts as one: leave the line out` : undefined,
    );
  }
  return {
    sources: slice.sources.map((s) => ({ files: open(s.model), parameters: s.parameters, from: s.layers[0], listed: s.listed })),
    ...(hasBase ? { base: open(base) } : {}),
    ...(base ? { configuredBase: open(base) } : {}),
    parameters: slice.parameters,
    layers: length,
    where,
  };
}
