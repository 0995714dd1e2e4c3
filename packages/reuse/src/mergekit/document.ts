/** What one document of a mergekit file says, checked and with the short forms written out. */
export interface MergeDocument {
  /** Name of the stage, in files of several documents (mergekit-multi). */
  readonly name?: string;
  /** Stages that this one uses as models. */
  readonly needs: readonly string[];
  /** The document as it was written. */
  readonly text: string;
  readonly method: string;
  readonly base?: ModelReference;
  readonly body: DocumentBody;
  readonly parameters: Parameters;
  /** Type that inputs are rounded to when they are read, as written (`bfloat16`). */
  readonly dtype?: string;
  /** Type of the result, as written. */
  readonly outDtype?: string;
  readonly tokenizer?: TokenizerChoice;
  /** `auto`, a known name, or a Jinja template. */
  readonly chatTemplate?: string;
  readonly mode?: "mergekit" | "paper";
  /** Whose head for a task the result has; default: heads are merged like everything else, and must be for the same. */
  readonly heads?: HeadChoice;
  /** Remarks on keys that have no effect. */
  readonly notes: readonly string[];
  /** Where something stands, for messages: `merge.yml:12`. */
  readonly locate: (path: readonly (string | number)[]) => string;
}

/** Heads of all models merged, none, or those of one model as they are. */
export type HeadChoice =
  | { readonly kind: "merge" }
  | { readonly kind: "none" }
  | { readonly kind: "model"; readonly model: ModelReference };

export type DocumentBody =
  | { readonly kind: "models"; readonly models: readonly ModelInput[] }
  | { readonly kind: "slices"; readonly slices: readonly SliceOutput[] }
  | { readonly kind: "modules"; readonly modules: Readonly<Record<string, ModuleOutput>> };

export interface ModelInput {
  readonly model: ModelReference;
  readonly parameters: Parameters;
  /** Given though only slices have it; mergekit passes over it and takes all layers. */
  readonly layers?: readonly [number, number];
}

export interface SliceInput extends ModelInput {
  /** First layer, and the one after the last. */
  readonly layers: readonly [number, number];
}

export interface SliceOutput {
  readonly sources: readonly SliceInput[];
  readonly base?: ModelReference;
  readonly parameters: Parameters;
}

interface ModuleOutput {
  readonly models?: readonly ModelInput[];
  readonly slices?: readonly SliceOutput[];
  readonly parameters: Parameters;
}

/** A model as mergekit names it: `path[@revision][+adapter[@revision]]`. */
export interface ModelReference {
  readonly path: string;
  readonly revision?: string;
  readonly lora?: { readonly path: string; readonly revision?: string };
  /** Replaces `architectures` of its config.json. */
  readonly architecture?: string;
  /** The same model has the same text. */
  readonly text: string;
}

export type Scalar = boolean | number | string;

/** A value under a condition: `filter` is a part of the tensor's name, `*` or nothing takes all. */
export interface Conditional {
  readonly filter?: string;
  readonly value: Scalar | readonly Scalar[];
}

/** One value; a list over the depth (a gradient); or values under conditions, of which the first that fits counts. */
export type Setting = Scalar | readonly Scalar[] | readonly Conditional[];

export type Parameters = Readonly<Record<string, Setting>>;

export interface TokenizerChoice {
  readonly source: "union" | "base" | ModelReference;
  readonly tokens: Readonly<Record<string, TokenChoice>>;
  readonly padToMultipleOf?: number;
}

export interface TokenChoice {
  /** Where the row of the token comes from; undefined: as without a choice. */
  readonly source?:
    | { readonly kind: "zero" }
    | { readonly kind: "model"; readonly model: ModelReference }
    | { readonly kind: "token"; readonly model: ModelReference; readonly token: string | number };
  /** Also for models that have the token. */
  readonly force: boolean;
}

/** Every model that a document names, in the order of the file, the base first. */
export function referencedModels(document: MergeDocument): readonly ModelReference[] {
  const { base, body } = document;
  const ofSlices = (slices: readonly SliceOutput[]): ModelReference[] =>
    slices.flatMap((s) => [...(s.base ? [s.base] : []), ...s.sources.map((source) => source.model)]);
  const listed =
    body.kind === "models"
      ? body.models.map((m) => m.model)
      : body.kind === "slices"
        ? ofSlices(body.slices)
        : Object.values(body.modules).flatMap((m) => [...(m.models ?? []).map((one) => one.model), ...ofSlices(m.slices ?? [])]);
  const all = [...(base ? [base] : []), ...listed];
  return [...new Map(all.map((m) => [m.text, m])).values()];
}
