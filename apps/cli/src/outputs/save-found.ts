import { copyFileSync, existsSync } from "node:fs";
import { join } from "node:path";
import { type Delta, firstNonFinite, isPlain, LfmError, type Model, plainWeights, withDeltas } from "@lfm/core";
import { writeTrecRun } from "@lfm/data";
import { saveEditor } from "@lfm/editing";
import { copyTokenizer, saveDelta, writePeftAdapter, writeTextFile } from "@lfm/formats";
import { hasHubClass, modelFromConfig, type SaveOptions, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { hasPeftForm, loadingLine, peftRecipe, toPeft } from "@lfm/tuning";
import { openEdits } from "../inputs/edits.js";
import { openFamily } from "../inputs/families.js";
import { type OpenedModel, requireTokenizer, withHead } from "../inputs/models.js";
import type { Sources } from "../inputs/sources.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";
import { notesOf } from "../patches/patch.js";
import type { Found } from "./found.js";
import { saveLearner } from "./learner.js";

/**
 * Writes a result into a folder, in the form that what it holds has.
 * @param out the folder's name in the end
 * @returns how to use it; empty where that goes without saying
 */
export async function saveFound(found: Found, s: Sources, folder: string, out: string): Promise<string> {
  requireFinite(found);
  if (found.run) {
    writeTrecRun(join(folder, "run.trec"), found.run);
    return "";
  }
  if (found.answers) {
    writeTextFile(join(folder, "answers.jsonl"), found.answers.map((a) => `${JSON.stringify(a)}\n`).join(""));
    return "";
  }
  // All of it stands in report.json.
  if (found.findings) return "";
  if (found.editor) {
    await saveEditor(folder, found.editor);
    const { name } = await s.reader();
    return `edit with it: lfm edit ${found.editor.method} --model ${name} --editor ${out} --prompt "…" --subject … --target …`;
  }
  if (found.adapter) {
    await writePeftAdapter(folder, found.adapter);
    return `use it with --delta ${out}, or in Python with PeftModel.from_pretrained(model, ${JSON.stringify(out)})`;
  }
  if (staysDelta(found, s) && s.request.whole === true) {
    const base = await learner(s);
    if (isPlain(base, found.delta)) return saveLearnedWhole(base, found.delta, s, folder, out);
    s.job.log(`what ${found.delta.method} learned is more than weights: it is saved as a delta`);
  }
  if (staysDelta(found, s)) {
    const [reader, goal] = [await s.reader(), s.declares("task") ? await s.goal() : undefined];
    const labels = goal?.kind === "classes" ? goal.names : undefined;
    const notes = s.declares("edit-requests") ? notesOf(await openEdits(s), (ids) => requireTokenizer(reader).decode(ids)) : {};
    await saveDelta(folder, found.delta, { notes });
    if (labels) writeTextFile(join(folder, "labels.json"), `${JSON.stringify(labels)}\n`);
    // What PEFT knows too is written in its form as well, so that Python loads the same folder.
    const model = found.model ?? reader.model;
    const peft = hasPeftForm(found.delta, model);
    const given = { base: reader.name, ...(labels ? { labels } : {}) };
    if (peft) await toPeft(folder, found.delta, model, given);
    const below = s.texts("delta");
    const stack = [...below, out].map((folder) => `--delta ${folder}`).join(" ");
    // Python has no zoo, and knows nothing of the deltas below this one.
    const python = peft && reader.folder !== undefined && below.length === 0;
    return `use it with --model ${reader.name} ${stack}${python ? `, or in Python: ${peftRecipe(model, { ...given, folder: out }).line}` : ""}`;
  }
  if (s.declares("episodes")) return saveLearner(found, await openFamily(s), folder, out);
  const donor = await s.reader();
  await saveWhole(folder, { ...donor, model: wholeModel(found, donor.model) }, s.text("dtype") as SaveOptions["dtype"]);
  return "";
}

/** The model that learned, before it did, with the names of its classes. */
async function learner(s: Sources): Promise<Model> {
  const [{ model }, goal] = [await s.reader(), await s.goal()];
  const base = goal ? withHead(model, goal, s.batching.seed) : model;
  if (goal?.kind !== "classes") return base;
  const id2label = Object.fromEntries(goal.names.map((name, i) => [String(i), name]));
  return { ...base, info: { ...base.info, config: { ...base.info.config, id2label } } };
}

/** The model with what was learned in its weights, under the names and the config that transformers' class has for it. */
async function saveLearnedWhole(base: Model, delta: Delta, s: Sources, folder: string, out: string): Promise<string> {
  const params = { ...base.params, ...(await plainWeights(s.context.engine, base, [delta])) };
  await saveWhole(folder, { ...(await s.reader()), model: { ...base, params } });
  const python = hasHubClass(base.info) ? `, or in Python: ${loadingLine(base, out)}` : "";
  return `use it with --model ${out}${python}`;
}

/** @throws {LfmError} NUMERIC_DIVERGED for what was learned, where it holds NaN: nobody could use it */
function requireFinite({ delta, adapter, editor, params }: Found): void {
  const broken = firstNonFinite({ ...delta?.tensors, ...adapter?.tensors, ...editor?.tensors, ...params });
  if (broken === undefined) return;
  throw new LfmError("NUMERIC_DIVERGED", `lfm: "${broken}" of the result is not finite: it is not saved`, {
    hint: "lower --lr, or look for values that are not finite in the inputs",
  });
}

/** Writes a model with the tokenizer and the generation settings of the folder that it comes from. @param folder empty */
export async function saveWhole(folder: string, from: Pick<OpenedModel, "model" | "folder">, dtype?: SaveOptions["dtype"]): Promise<void> {
  await saveModel(folder, from.model, dtype ? { dtype } : {});
  if (from.folder === undefined) return saveZooTokenizer(folder, await loadZoo());
  copyTokenizer(from.folder, folder);
  const generation = join(from.folder, "generation_config.json");
  if (existsSync(generation)) copyFileSync(generation, join(folder, "generation_config.json"));
}

/** Whether a result is kept as a delta. Students, merges and initialisations are kept as models: there it is all of their weights. */
export function staysDelta(found: Found, s: Sources): found is Found & { readonly delta: Delta } {
  return found.delta !== undefined && (s.declares("parent") || s.declares("deltas"));
}

function wholeModel({ model, student, config, params, delta }: Found, from: Model | undefined): Model {
  const whole = model ?? student;
  if (whole) return whole;
  return config ? modelFromConfig(config, params!) : withDeltas(from!, [delta!]);
}
