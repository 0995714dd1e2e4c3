import { LfmError } from "@lfm/core";
import { pathFlaw } from "@lfm/formats";
import { type Document, isCollection, isMap, isScalar, LineCounter, type Node, parseAllDocuments, type Tags, visit } from "yaml";
import {
  type DocumentBody,
  type HeadChoice,
  type MergeDocument,
  type ModelInput,
  type ModelReference,
  referencedModels,
  type SliceOutput,
  type TokenizerChoice,
} from "./document.js";
import { documentSchema, type RawDocument } from "./schema.js";
import { surplusKeys } from "./surplus-keys.js";

/** The longest files have a slice for every layer, with conditions: some ten thousands of characters. */
const MAX_CHARACTERS = 2 ** 18;

export interface ParseMergeOptions {
  /** Name of the file, for messages. */
  readonly file?: string;
}

/**
 * Reads a merge configuration of mergekit 0.1.5: one document, or several named ones (mergekit-multi) in the order in which they can run.
 * Beside mergekit's keys there are `mode: mergekit | paper` and `heads: merge | none | MODEL`. Keys that are
 * unknown are remarks ({@link MergeDocument.notes}) where mergekit passes over them, and errors where they are misspelt or misplaced.
 * @throws {LfmError} CONFIG_INVALID with file, line and the nearest name
 */
export function parseMergeConfig(text: string, options: ParseMergeOptions = {}): MergeDocument[] {
  const file = options.file ?? "merge configuration";
  if (text.length > MAX_CHARACTERS)
    throw invalid(`${file} has ${text.length} characters: this is no merge configuration`, `one has ${MAX_CHARACTERS} at most`);
  const lines = new LineCounter();
  const parsed = yamlDocuments(text, file, lines);
  const documents = parsed.map((one) => readDocument(one, text, file, lines));
  if (documents.length === 0) throw invalid(`${file} holds no document`, "begin with merge_method: linear");
  return inOrder(documents, file);
}

function yamlDocuments(text: string, file: string, lineCounter: LineCounter): Document.Parsed[] {
  let parsed: readonly Document.Parsed[];
  try {
    const options = {
      version: "1.1",
      customTags: asPyYaml,
      lineCounter,
      prettyErrors: false,
      logLevel: "error",
      uniqueKeys: false,
    } as const;
    parsed = [...parseAllDocuments(text, options)];
  } catch (cause) {
    throw invalid(`${file} is not YAML: ${message(cause)}`, undefined, cause);
  }
  for (const one of parsed) {
    const [error] = one.errors;
    if (error) throw invalid(`${file}:${lineCounter.linePos(error.pos[0]).line}: ${error.message}`);
    const twice = keyTwice(one);
    if (twice) throw invalid(`${file}:${lineCounter.linePos(twice.at).line}: "${twice.key}" stands here twice; keys must be unique`);
  }
  // A `---` at the end begins a document with nothing in it.
  return parsed.filter((one) => one.contents !== null && !(isScalar(one.contents) && one.contents.value === null));
}

/** A key that a map has twice; the parser's own way to look takes a time that grows with the square of their number. */
function keyTwice(document: Document.Parsed): { readonly key: string; readonly at: number } | undefined {
  let found: { readonly key: string; readonly at: number } | undefined;
  visit(document, {
    Map: (_, { items }) => {
      const keys = new Set<string>();
      for (const { key } of items) {
        // A merge key may be repeated: each brings what the others did not.
        if (!isScalar(key) || key.value === "<<") continue;
        const name = `${typeof key.value} ${String(key.value)}`;
        if (keys.has(name)) {
          found = { key: String(key.value), at: key.range?.[0] ?? 0 };
          return visit.BREAK;
        }
        keys.add(name);
      }
      return undefined;
    },
  });
  return found;
}

/** YAML 1.1 as PyYAML reads it: `y` and `n` are strings; dates stay text, since no value here is one. */
function asPyYaml(tags: Tags): Tags {
  const kept: Tags[number][] = [];
  for (const tag of tags) {
    if (typeof tag !== "object" || tag.collection !== undefined) kept.push(tag);
    else if (tag.tag === "tag:yaml.org,2002:bool")
      kept.push({
        ...tag,
        test: tag.test?.test("true") ? /^([Yy]es|YES|[Tt]rue|TRUE|[Oo]n|ON)$/ : /^([Nn]o|NO|[Ff]alse|FALSE|[Oo]ff|OFF)$/,
      });
    else if (tag.tag !== "tag:yaml.org,2002:timestamp") kept.push(tag);
  }
  return kept;
}

function readDocument(yaml: Document.Parsed, text: string, file: string, lines: LineCounter): MergeDocument {
  const locate = (path: readonly (string | number)[]): string => {
    const at = offsetOf(yaml.contents, path);
    return at === undefined ? file : `${file}:${lines.linePos(at).line}`;
  };
  let value: unknown;
  try {
    value = yaml.toJS();
  } catch (cause) {
    throw invalid(`${locate([])}: ${message(cause)}`, undefined, cause);
  }
  // First: a misspelt key also leaves the right one missing, and what is wrong is to be said, not what follows from it.
  const notes = surplusKeys(value, locate);
  const checked = documentSchema.safeParse(value);
  if (!checked.success) {
    const issue = checked.error.issues[0]!;
    const path = issue.path.filter((p) => typeof p !== "symbol");
    const [said, hint] = issue.message.split("\n");
    const what = said!
      .replace(/^Invalid input: expected (\w+), received undefined$/, "is missing: give a $1")
      .replace(/^Invalid input: /, "");
    const where = path.length > 0 ? `${path.join(".")}: ` : "";
    throw invalid(`${locate(path)}: ${where}${what}`, hint);
  }
  const [from, , to] = yaml.range;
  return documentOf(checked.data, text.slice(from, to).replace(/^---[ \t]*\r?\n/, ""), locate, notes);
}

/** Where in the text the key at the end of a path stands; of its nearest ancestor where it has no place. */
function offsetOf(node: unknown, path: readonly (string | number)[]): number | undefined {
  let [at, found] = [node, (node as Node | null)?.range?.[0]];
  for (const key of path) {
    if (!isCollection(at)) break;
    if (isMap(at)) {
      const pair = at.items.find((p) => String(isScalar(p.key) ? p.key.value : p.key) === String(key));
      if (!pair) break;
      found = (pair.key as Node | null)?.range?.[0] ?? found;
      at = pair.value;
    } else {
      at = at.items[Number(key)];
      found = (at as Node | undefined)?.range?.[0] ?? found;
    }
  }
  return found;
}

function documentOf(raw: RawDocument, text: string, locate: MergeDocument["locate"], notes: string[]): MergeDocument {
  const parts = (["models", "slices", "modules"] as const).filter((key) => Object.keys(raw[key] ?? {}).length > 0);
  if (parts.length !== 1)
    throw invalid(
      `${locate(parts.length > 1 ? [parts[1]!] : [])}: ${parts.length === 0 ? "nothing to merge" : `${parts.join(" and ")} stand side by side`}`,
      "give exactly one of models, slices and modules",
    );
  if (raw.tokenizer_source && raw.tokenizer)
    throw invalid(
      `${locate(["tokenizer_source"])}: tokenizer_source and tokenizer stand side by side`,
      "write tokenizer: {source: …} alone",
    );
  const body = bodyOf(raw, locate, notes);
  const tokenizer = tokenizerOf(raw);
  return {
    ...(raw.name ? { name: raw.name } : {}),
    needs: [],
    text,
    method: raw.merge_method,
    ...(raw.base_model ? { base: raw.base_model } : {}),
    body,
    parameters: raw.parameters ?? {},
    ...(raw.dtype ? { dtype: raw.dtype } : {}),
    ...(raw.out_dtype ? { outDtype: raw.out_dtype } : {}),
    ...(tokenizer ? { tokenizer } : {}),
    ...(raw.chat_template ? { chatTemplate: raw.chat_template } : {}),
    ...(raw.mode ? { mode: raw.mode } : {}),
    ...(raw.heads ? { heads: headsOf(raw.heads) } : {}),
    notes,
    locate,
  };
}

function bodyOf(raw: RawDocument, locate: MergeDocument["locate"], notes: string[]): DocumentBody {
  const models = (list: NonNullable<RawDocument["models"]>): ModelInput[] =>
    list.map((m) => ({ model: m.model, parameters: m.parameters ?? {}, ...(m.layer_range ? { layers: m.layer_range } : {}) }));
  const slices = (list: NonNullable<RawDocument["slices"]>, path: readonly (string | number)[]): SliceOutput[] =>
    list.map((slice, i) => {
      if (slice.residual_weight) notes.push(`${locate([...path, i, "residual_weight"])}: residual_weight has no effect, as in mergekit`);
      const sources = slice.sources.map((s, j) => {
        const [from, to] = s.layer_range;
        if (to <= from)
          throw invalid(
            `${locate([...path, i, "sources", j, "layer_range"])}: layer_range [${from}, ${to}] holds no layer`,
            "the second number is one past the last layer",
          );
        return { model: s.model, parameters: s.parameters ?? {}, layers: s.layer_range };
      });
      return { sources, ...(slice.base_model ? { base: slice.base_model } : {}), parameters: slice.parameters ?? {} };
    });
  if (raw.models && raw.models.length > 0) return { kind: "models", models: models(raw.models) };
  if (raw.slices && raw.slices.length > 0) return { kind: "slices", slices: slices(raw.slices, ["slices"]) };
  const modules = Object.entries(raw.modules ?? {}).map(([name, module]) => {
    const [m, s] = [module.models ?? [], module.slices ?? []];
    if (m.length > 0 === s.length > 0)
      throw invalid(`${locate(["modules", name])}: module "${name}" needs exactly one of models and slices`);
    const inputs = m.length > 0 ? { models: models(m) } : { slices: slices(s, ["modules", name, "slices"]) };
    return [name, { ...inputs, parameters: module.parameters ?? {} }] as const;
  });
  return { kind: "modules", modules: Object.fromEntries(modules) };
}

function headsOf(given: ModelReference): HeadChoice {
  return given.text === "none" || given.text === "merge" ? { kind: given.text } : { kind: "model", model: given };
}

function tokenizerOf(raw: RawDocument): TokenizerChoice | undefined {
  const choice = (source: ModelReference | null | undefined): TokenizerChoice["source"] =>
    !source || source.text === "union" ? "union" : source.text === "base" ? "base" : source;
  if (raw.tokenizer_source) return { source: choice(raw.tokenizer_source), tokens: {} };
  if (!raw.tokenizer) return undefined;
  const tokens = Object.entries(raw.tokenizer.tokens ?? {}).map(
    ([token, { source, force }]) => [token, { ...(source ? { source } : {}), force }] as const,
  );
  const pad = raw.tokenizer.pad_to_multiple_of;
  return { source: choice(raw.tokenizer.source), tokens: Object.fromEntries(tokens), ...(pad ? { padToMultipleOf: pad } : {}) };
}

/** Stages before those that use them; the one without a name last. @throws {LfmError} CONFIG_INVALID for a cycle, a name twice */
function inOrder(documents: readonly MergeDocument[], file: string): MergeDocument[] {
  const byName = new Map<string, MergeDocument>();
  for (const d of documents) {
    if (d.name === undefined) continue;
    const flaw = documents.length > 1 ? pathFlaw(d.name) : undefined;
    if (flaw !== undefined)
      throw invalid(
        `${d.locate(["name"])}: a stage cannot be called "${d.name}": that ${flaw}`,
        `name: ${
          d.name
            .replace(/[^\w-]+/g, "-")
            .replace(/^-+|-+$/g, "")
            .slice(0, 60) || "stage"
        }`,
      );
    if (byName.has(d.name)) throw invalid(`${d.locate(["name"])}: two stages are called "${d.name}"`);
    byName.set(d.name, d);
  }
  if (documents.length - byName.size > 1)
    throw invalid(`${file} has ${documents.length - byName.size} documents without a name`, "give all but the last a name: line");
  // A document alone is no stage: a model may be called as it is.
  const needs = (d: MergeDocument): string[] =>
    documents.length === 1 ? [] : [...new Set(referencedModels(d).map((m) => m.path))].filter((path) => byName.has(path));
  const ordered: MergeDocument[] = [];
  const done = new Set<MergeDocument>();
  const add = (d: MergeDocument, under: readonly string[]): void => {
    if (done.has(d)) return;
    const name = d.name ?? "";
    if (under.includes(name)) {
      const cycle = [...under.slice(under.indexOf(name)), name].join(" → ");
      throw invalid(
        `${d.locate(["name"])}: stages use each other in a circle: ${cycle}`,
        "a stage can only use stages that do not need it",
      );
    }
    const all = needs(d);
    for (const need of all) add(byName.get(need)!, [...under, name]);
    done.add(d);
    ordered.push({ ...d, needs: all });
  };
  for (const d of [...byName.values(), ...documents.filter((one) => one.name === undefined)]) add(d, []);
  return ordered;
}

const message = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

function invalid(text: string, hint?: string, cause?: unknown): LfmError {
  return new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${text}`, { ...(hint ? { hint } : {}), ...(cause === undefined ? {} : { cause }) });
}
