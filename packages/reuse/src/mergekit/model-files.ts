import { existsSync, statSync } from "node:fs";
import { isAbsolute, join } from "node:path";
import { LfmError } from "@lfm/core";
import { isHubName, readModelFolder, tokenizerFilesIn } from "@lfm/formats";
import type { TensorSource } from "../merging/plan.js";
import { isStreamed, mergeAdapter } from "./adapters.js";
import type { ModelReference } from "./document.js";
import { isHead, type Layout, layoutOf } from "./layout.js";
import { shapeOf, storedTensor } from "./tensor-types.js";

/** Finds the folder of a model or adapter; undefined: look for it under its name. */
export type ResolveModel = (name: string, revision: string | undefined) => string | undefined | Promise<string | undefined>;

/** A model that takes part, its headers read. */
export interface ModelFiles {
  /** As the configuration names it. */
  readonly name: string;
  readonly folder: string;
  readonly adapterFolder?: string;
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: ReadonlyMap<string, TensorSource>;
  /** Where the tokenizer lies: beside an adapter that brings its own, else in `folder`. */
  readonly tokenizerFolder: string;
  readonly tokenizerFiles: readonly string[];
  readonly layout: Layout;
  /** Rows of the embedding. */
  readonly rows?: number;
  /** What its adapter changed beside weights. */
  readonly notes: readonly string[];
}

/** Writes a model with a delta multiplied into its weights into a folder, for deltas that no stream merges. @returns that folder */
export type MultiplyOut = (model: string, delta: string) => Promise<string>;

/** Opens the models of a configuration, each once. */
export function modelOpener(
  folder: string,
  resolve: ResolveModel | undefined,
  multiplyOut: MultiplyOut | undefined,
): (reference: ModelReference) => Promise<ModelFiles> {
  const open = new Map<string, Promise<ModelFiles>>();
  return (reference) => {
    const known = open.get(reference.text);
    if (known) return known;
    const files = openModel(reference, (name, revision) => findFolder(name, revision, folder, resolve), multiplyOut);
    open.set(reference.text, files);
    return files;
  };
}

/** @throws {LfmError} FILE_IO saying how to name a folder */
async function findFolder(name: string, revision: string | undefined, folder: string, resolve: ResolveModel | undefined): Promise<string> {
  const path = (await resolve?.(name, revision)) ?? (isAbsolute(name) ? name : join(folder, name));
  if (existsSync(path) && statSync(path).isDirectory()) return path;
  throw new LfmError("FILE_IO", `[@lfm/reuse] model "${name}": there is no folder ${path}`, {
    details: { model: name, folder: path },
    hint: isHubName(name)
      ? `fetch it first: hf download ${name}${revision ? ` --revision ${revision}` : ""} --local-dir ${path}`
      : "paths are relative to the configuration's folder; or write the whole path",
  });
}

async function openModel(
  reference: ModelReference,
  find: (name: string, revision: string | undefined) => Promise<string>,
  multiplyOut: MultiplyOut | undefined,
): Promise<ModelFiles> {
  const base = await find(reference.path, reference.revision);
  const delta = reference.lora ? await find(reference.lora.path, reference.lora.revision) : undefined;
  // A LoRA and rows of tokens are merged while they are read; anything else that changes weights must be multiplied out before.
  const streamed = delta === undefined || multiplyOut === undefined || isStreamed(delta);
  const folder = streamed ? base : await multiplyOut(base, delta);
  const { weights, config: own, tokenizerFiles } = readModelFolder(folder);
  const tensors = new Map<string, TensorSource>(Object.entries(weights).map(([name, t]) => [name, storedTensor(name, t)]));
  const adapterFolder = streamed ? delta : undefined;
  const { config, notes } =
    adapterFolder === undefined ? { config: own, notes: [] } : mergeAdapter(tensors, adapterFolder, own, reference.text);
  // An adapter that was trained with tokens of its own lies beside the tokenizer that has them.
  const withTokenizer = adapterFolder !== undefined && existsSync(join(adapterFolder, "tokenizer.json")) ? adapterFolder : folder;
  const layout = layoutOf(new Map([...tensors].map(([name, t]) => [name, shapeOf(t)])));
  const rows = layout.embedding === undefined ? undefined : shapeOf(tensors.get(layout.embedding)!)[0];
  return {
    name: reference.text,
    folder,
    ...(adapterFolder === undefined ? {} : { adapterFolder }),
    config: reference.architecture ? { ...config, architectures: [reference.architecture] } : config,
    tensors,
    tokenizerFolder: withTokenizer,
    tokenizerFiles: withTokenizer === folder ? tokenizerFiles : tokenizerFilesIn(withTokenizer),
    layout,
    notes,
    ...(rows === undefined ? {} : { rows }),
  };
}

/** A tensor of a model under the name that the reference model has for it; a missing output layer is its embedding. */
export interface FoundTensor {
  readonly name: string;
  readonly source: TensorSource;
  /** The model has no output layer of its own: this is its embedding. */
  readonly tied: boolean;
}

/** @param root what the reference model has in front of its stack where this one has `files.layout`'s: `transformer.` against nothing */
export function findTensor(files: ModelFiles, name: string, root: string): FoundTensor | undefined {
  const own = files.layout.stacks[0]?.root ?? root;
  const names = [name];
  // The reference has something in front of all of its body, `bert.` before `encoder.` and `embeddings.`.
  const front = root.endsWith(own) ? root.slice(0, root.length - own.length) : "";
  if (front !== "" && name.startsWith(front)) names.push(name.slice(front.length));
  if (own !== root && own.endsWith(root)) names.push(own.slice(0, own.length - root.length) + name);
  for (const one of names) {
    const source = files.tensors.get(one);
    if (source) return { name: one, source, tied: false };
  }
  const { embedding } = files.layout;
  if (!isHead(name) || embedding === undefined) return undefined;
  return { name: embedding, source: files.tensors.get(embedding)!, tied: true };
}
