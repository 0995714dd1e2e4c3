import { existsSync } from "node:fs";
import { join } from "node:path";
import { createEngine, type Delta, joinDeltas, LfmError, type Model, plainWeights, withDeltas } from "@lfm/core";
import type { Tokenizer } from "@lfm/formats";
import { hashWeights, isDeltaFolder, isHubName, loadDelta, pullModel, readJsonObject } from "@lfm/formats";
import {
  classifierWeight,
  initWeights,
  loadModel,
  modelFromConfig,
  type SentenceConfig,
  type TextRules,
  textRules,
  withClassifier,
} from "@lfm/models";
import { loadZoo, zooTokenizer } from "@lfm/models/zoo";
import { fromAdapterFolder, type Goal, isAdapterFolder, outputsOf } from "@lfm/tuning";
import { loadRegistry } from "../paradigms.js";
import { expandStack, isStack } from "../patches/stack.js";
import type { JobContext } from "../program/job.js";
import { learnedClasses } from "./labels.js";
import { type BaseWish, withBase } from "./quantized.js";

export interface OpenedModel {
  readonly name: string;
  readonly model: Model;
  readonly tokenizer: Tokenizer | undefined;
  /** How text becomes ids and what ends it; there where a tokenizer is. */
  readonly text: TextRules | undefined;
  /** How a sentence-transformers folder wants it used. */
  readonly sentence?: SentenceConfig;
  /** Where it lies; `zoo-lm` has no folder. */
  readonly folder: string | undefined;
  /** Hash of the weights: the parent that a delta records. All of them are read for it. */
  hash(): Promise<string>;
}

export interface NamedModel extends Omit<OpenedModel, "hash"> {
  readonly hash: string;
  /** Deltas on it, in their order. */
  readonly deltas: readonly Delta[];
  /** The model without them. */
  readonly base: Model;
}

/**
 * `zoo-lm`, a folder with config.json and safetensors, or a repository of the hub.
 * @param base how its frozen weights are held; default as they lie in their files
 * @throws {LfmError} CONFIG_INVALID for a name that is none of these; FILE_FORMAT; PARENT_MISMATCH for a delta of another model
 */
export async function resolveModel(
  name: string,
  deltaFolders: readonly string[],
  context: JobContext,
  base?: BaseWish,
): Promise<NamedModel> {
  const opened = await withBase(await openModel(name, context), base, context);
  const hash = await opened.hash();
  const deltas = await loadDeltas(deltaFolders, opened);
  const model = withDeltas(withLearnedHead(opened.model, deltas, deltaFolders), deltas);
  return { ...opened, hash, model, deltas, base: opened.model };
}

/**
 * Deltas that lfm, PEFT or the library adapters wrote; of a stack of patches each, neighbours of one kind as one.
 * @throws {LfmError} PARENT_MISMATCH for one of another model, FILE_FORMAT, OP_UNSUPPORTED
 */
export async function loadDeltas(folders: readonly string[], base: OpenedModel): Promise<readonly Delta[]> {
  if (folders.length === 0) return [];
  const [registry, parentHash] = [await loadRegistry(), await base.hash()];
  const deltas: Delta[] = [];
  for (const folder of folders) {
    if (isStack(folder)) {
      const patches: Delta[] = [];
      for (const patch of expandStack(folder)) patches.push(await loadDelta(patch, registry, { parentHash }));
      deltas.push(...joinDeltas(patches));
    } else if (!isDeltaFolder(folder) && isAdapterFolder(folder)) deltas.push(fromAdapterFolder(folder, base.model));
    else deltas.push(await loadDelta(folder, registry, { parentHash }));
  }
  return deltas;
}

/** The same where each folder is wanted as one delta. @throws {LfmError} CAPABILITY_MISSING for a stack that does not become one */
export async function loadEach(folders: readonly string[], base: OpenedModel): Promise<readonly Delta[]> {
  const each: Delta[] = [];
  for (const folder of folders) {
    const [delta, ...more] = await loadDeltas([folder], base);
    if (!delta || more.length > 0)
      throw new LfmError(
        "CAPABILITY_MISSING",
        `lfm: ${folder} is a stack of ${more.length + (delta ? 1 : 0)} deltas, and one is wanted here`,
        {
          hint: "lfm patch merge writes a model with all of them in its weights",
        },
      );
    each.push(delta);
  }
  return each;
}

/** An encoder or decoder that deltas made a classifier of, with a head of their size and the names of their classes; PEFT's adapters may have none. */
function withLearnedHead(model: Model, deltas: readonly Delta[], folders: readonly string[]): Model {
  const name = classifierWeight(model.info);
  const bare = model.info.task === "encoder" || model.info.task === "causal-lm";
  const head = bare ? deltas.findLast((d) => name in d.tensors)?.tensors[name] : undefined;
  const whole = head ? withClassifier(model, head.shape[0]!, 0) : model;
  const { classes, config } = whole.info;
  const own = config.id2label as Readonly<Record<string, string>> | null | undefined;
  const unnamed = head && Object.keys(own ?? {}).length !== classes ? Array.from({ length: classes! }, (_, i) => `LABEL_${i}`) : undefined;
  const names = learnedClasses(folders, classes) ?? unnamed;
  return names ? { ...whole, info: { ...whole.info, config: { ...config, id2label: { ...names } } } } : whole;
}

/**
 * A model with a head for a goal: an encoder with a fresh one, a classifier with its own.
 * @throws {LfmError} CONFIG_INVALID for a classifier with another number of outputs
 */
export function withHead(model: Model, goal: Goal, seed: number): Model {
  const outputs = outputsOf(goal);
  if (model.info.task !== "classifier") return withClassifier(model, outputs, seed);
  if (model.info.classes === outputs) return model;
  throw new LfmError("CONFIG_INVALID", `lfm: the model's head has ${model.info.classes} outputs; ${outputs} are wanted`, {
    hint: "give the encoder without its head, or examples of its classes",
  });
}

/** `MODEL+DELTA+…` taken apart. A folder that has such a name stays whole. */
export function splitDeltas(name: string): { readonly base: string; readonly deltas: readonly string[] } {
  const [base, ...deltas] = existsSync(name) ? [name] : name.split("+");
  return { base: base!, deltas };
}

/**
 * A model of plain weights: `MODEL`, or `MODEL+DELTA`, the delta put into the weights.
 * @throws {LfmError} CAPABILITY_MISSING for a delta that is more than weights; as {@link resolveModel}
 */
export async function openPlain(name: string, context: JobContext, wish?: BaseWish): Promise<OpenedModel> {
  const { base, deltas } = splitDeltas(name);
  const opened = deltas.length === 0 ? await openModel(base, context) : { ...(await openMultiplied(base, deltas, context)), name };
  return withBase(opened, wish, context);
}

/** The same of a model and the folders of its deltas. */
export async function openMultiplied(base: string, deltas: readonly string[], context: JobContext): Promise<OpenedModel> {
  const opened = await openModel(base, context);
  const loaded = await loadDeltas(deltas, opened);
  const whole = withLearnedHead(opened.model, loaded, deltas);
  const model = { ...whole, params: { ...whole.params, ...(await plainWeights(await createEngine(), whole, loaded)) } };
  return { ...opened, model, hash: () => hashWeights(model.params) };
}

/** @throws {LfmError} CONFIG_INVALID for a name that is none of these; FILE_FORMAT */
async function openModel(name: string, context: JobContext): Promise<OpenedModel> {
  if (name === "zoo-lm") {
    const zoo = await loadZoo();
    const tokenizer = zooTokenizer(zoo.world);
    return {
      name,
      model: zoo.lm,
      tokenizer,
      text: textRules(tokenizer, { limits: zoo.lm.info }),
      folder: undefined,
      hash: async () => zoo.lmHash,
    };
  }
  if (existsSync(join(name, "config.json"))) return openFolder(name, name);
  if (existsSync(name)) throw new LfmError("FILE_FORMAT", `lfm: ${name} is no model folder: it has no config.json`);
  if (!isHubName(name)) {
    throw new LfmError("CONFIG_INVALID", `lfm: no model "${name}"`, {
      hint: "give zoo-lm, a folder with config.json and *.safetensors, or org/name on the hub",
    });
  }
  return openFolder(
    name,
    await pullModel(name, { progress: (p) => context.progress(p), ...(context.signal ? { signal: context.signal } : {}) }),
  );
}

async function openFolder(name: string, folder: string): Promise<OpenedModel> {
  const { model, tokenizer, text, sentence, hash } = await loadModel(folder);
  return { name, model, tokenizer, text, ...(sentence ? { sentence } : {}), folder, hash };
}

/** @throws {LfmError} CAPABILITY_MISSING */
export function requireTokenizer(m: Pick<NamedModel, "name" | "text">): Tokenizer {
  return requireText(m).tokenizer;
}

/** @throws {LfmError} CAPABILITY_MISSING */
export function requireText(m: Pick<NamedModel, "name" | "text">): TextRules {
  if (m.text) return m.text;
  throw new LfmError("CAPABILITY_MISSING", `lfm: ${m.name} comes without a tokenizer`, {
    hint: "put its tokenizer.json, or its vocabulary files, into the folder",
  });
}

/** Says where examples are cut earlier than was asked, because the model reads no more. */
export function sayLimit({ name, text }: Pick<OpenedModel, "name" | "text">, maxLength: number, job: JobContext): void {
  if (text?.maxLength !== undefined && maxLength > text.maxLength)
    job.log(`${name} reads ${text.maxLength} tokens: longer examples are cut there (--max-length ${maxLength})`);
}

/** A folder with weights goes on from them; one with config.json alone starts fresh. */
export async function openStudent(folder: string, seed: number, job: JobContext): Promise<Model> {
  const config = join(folder, "config.json");
  if (existsSync(config) && !existsSync(join(folder, "model.safetensors")) && !existsSync(join(folder, "model.safetensors.index.json"))) {
    const parsed = readJsonObject(config);
    return modelFromConfig(parsed, initWeights(modelFromConfig(parsed).info, { seed }));
  }
  return (await openPlain(folder, job)).model;
}

/** Shape of one input, without the batch. @throws {LfmError} CAPABILITY_MISSING, CONFIG_INVALID */
export function shapeOfItem(model: Model): readonly number[] {
  const { config, input } = model.info;
  if (input === "tokens")
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${model.info.architecture} reads tokens: inputs of no fixed shape cannot be made up`, {
      hint: "choose a method that learns on data: lfm methods ls --paradigm distillation",
    });
  if (input === "features") return [config.input_size as number];
  const [channels, size] = [(config.channels ?? config.num_channels) as number, config.image_size as number];
  if (!channels || !size)
    throw new LfmError("CONFIG_INVALID", `lfm: the config of ${model.info.architecture} does not say the size of its images`);
  return [channels, size, size];
}
