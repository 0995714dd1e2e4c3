/** What `lfm meta` leaves: the network with what was learned in it, and beside it all that answers new tasks. */
import { existsSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { createRegistry, type Engine, LfmError, type Model } from "@lfm/core";
import { loadDelta, readJsonObject, saveDelta, writeTextFile } from "@lfm/formats";
import { type Episode, learnedAnswerer, metaMethods } from "@lfm/meta";
import { loadModel, saveModel } from "@lfm/models";
import { z } from "zod";
import { type Family, type ItemForm, taskOfItems } from "../inputs/families.js";
import type { Found } from "./found.js";

const PLACE = "learner";

const formSchema = z.strictObject({
  kind: z.enum(["pictures", "features"]),
  shape: z.array(z.number().int().positive()),
  encoder: z.string().exactOptional(),
  ink: z.boolean().exactOptional(),
});

/** @returns how to use it */
export async function saveLearner({ delta, norm }: Found, family: Family, folder: string, out: string): Promise<string> {
  const { model, form } = family;
  const params = Object.fromEntries(Object.entries(model.params).map(([name, w]) => [name, delta!.tensors[name] ?? w]));
  await saveModel(folder, { ...model, params, forward: (tree, input, context) => model.forward(tree, input, context) });
  if (!form) return "";
  const place = join(folder, PLACE);
  mkdirSync(place);
  await saveDelta(place, delta!);
  writeTextFile(join(place, "items.json"), `${JSON.stringify({ ...form, norm }, null, 2)}\n`);
  return `answer with it: lfm meta adapt ${out} --support labelled --ask unlabelled`;
}

/** A learner that was saved. */
export interface OpenedLearner {
  readonly method: string;
  readonly form: ItemForm;
  /** Where a batch norm takes its statistics. */
  readonly norm: string;
  /** Classes that its last layer tells apart, of methods that keep one. */
  readonly classes: number | undefined;
  /** f32[query, ways] of each episode. */
  answer(episodes: readonly Episode[], engine: Engine): ReturnType<ReturnType<typeof learnedAnswerer>>;
}

/** @throws {LfmError} FILE_IO for a folder that is no learner; as the readers of models and deltas */
export async function openLearner(folder: string): Promise<OpenedLearner> {
  const path = join(folder, PLACE, "items.json");
  if (!existsSync(path))
    throw new LfmError("FILE_IO", `lfm: ${folder} holds no learner of classes`, {
      hint: "lfm meta protonet --data FOLDER --out LEARNER makes one",
    });
  const { norm, ...stored } = readJsonObject(path);
  const parsed = formSchema.safeParse(stored);
  if (!parsed.success)
    throw new LfmError("FILE_FORMAT", `lfm: ${path} is not what lfm meta writes: ${z.prettifyError(parsed.error)}`, {
      hint: "learn it again with --overwrite",
    });
  const model: Model = (await loadModel(folder)).model;
  const delta = await loadDelta(join(folder, PLACE), createRegistry(metaMethods));
  const method = metaMethods.find((m) => `meta/${m.id}` === delta.method)!;
  const answer = learnedAnswerer(method, delta, { model, task: taskOfItems(parsed.data) });
  const keepsHead = "metaLr" in method.config.shape;
  return {
    method: delta.method,
    form: parsed.data,
    norm: String(norm),
    classes: keepsHead ? model.info.classes : undefined,
    answer: (episodes, engine) => answer(episodes, { engine }),
  };
}
