import { type FieldInput, LfmError, type Model } from "@lfm/core";
import { type Examples, readExamples } from "@lfm/data";
import type { LabelledTexts, ProbedExamples, ReferenceModel } from "@lfm/probe";
import { labelledRows } from "@lfm/tuning";
import { classNames } from "./labels.js";
import { requireText, resolveModel, splitDeltas } from "./models.js";
import type { Sources } from "./sources.js";
import { heldOutRows, inTheirOrder } from "./validation.js";

/** The model before its deltas; nothing where it has none, or where it has no head without them. */
export async function openBefore(s: Sources): Promise<Model | undefined> {
  const { base, deltas, model } = await s.victim({ name: "model" });
  if (deltas.length === 0) return undefined;
  if (base.info.task === model.info.task && base.info.classes === model.info.classes) return base;
  s.job.log("without its deltas the model has no head that could be attacked: there is no before");
  return undefined;
}

/** Examples of a file in their order; nothing where none is given. @throws {LfmError} CAPABILITY_MISSING for a victim without a head */
export async function openProbed({ name }: FieldInput, s: Sources): Promise<ProbedExamples | undefined> {
  const file = s.text(name);
  if (file === undefined) return undefined;
  const [victim, goal] = [await s.reader(), await s.goal()];
  if (goal && victim.model.info.task !== "classifier")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `lfm: ${victim.name} is an encoder without a head: it answers nothing that could be attacked`,
      {
        hint: "give the --delta that lfm tune wrote, with the head that it learned",
      },
    );
  const held = heldOutRows(file, await s.columns(), goal, requireText(victim), s.batching.maxLength, (m) => s.job.log(m));
  return (await inTheirOrder(name, held, s)).task;
}

/** Texts of classes of a file. @throws {LfmError} CAPABILITY_MISSING for a victim that is no classifier of single texts */
export async function openProbedTexts({ name }: FieldInput, s: Sources): Promise<LabelledTexts> {
  const victim = await s.reader();
  if (victim.model.info.task !== "classifier")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `lfm: ${victim.name} is no classifier of texts: there is no class that a text could be taken for`,
    );
  const { texts, pairs, labels } = labelledRows(readExamples(s.text(name)!, await s.columns()), classNames(victim));
  if (pairs) throw new LfmError("CAPABILITY_MISSING", "lfm: single texts are attacked, no pairs");
  return { texts, labels: Array.from(labels) };
}

/** The models of --reference, each with what --reference-data says it has seen of the examples. */
export async function openReferences(s: Sources): Promise<readonly ReferenceModel[]> {
  const files = s.texts("reference-data");
  const read = async (file: string): Promise<readonly string[]> => keysOf(readExamples(file, await s.columns()));
  const [members, nonMembers] = files.length > 0 ? [await read(s.text("data")!), await read(s.text("non-members")!)] : [[], []];
  const references: ReferenceModel[] = [];
  for (const [i, name] of s.texts("reference").entries()) {
    const { base, deltas } = splitDeltas(name);
    const { model } = await resolveModel(base, deltas, s.job);
    if (files.length === 0) references.push({ model });
    else {
      const seen = new Set(await read(files[i]!));
      const saw = { members: members.map((key) => seen.has(key)), nonMembers: nonMembers.map((key) => seen.has(key)) };
      if (![...saw.members, ...saw.nonMembers].some(Boolean)) s.job.log(`${files[i]} holds none of the examples: ${name} saw none of them`);
      references.push({ model, saw });
    }
  }
  return references;
}

/** An example by what it says, wherever it stands. */
function keysOf({ rows }: Examples): readonly string[] {
  return rows.map(({ at: _, ...said }) => JSON.stringify(Object.entries(said).sort(([a], [b]) => (a < b ? -1 : 1))));
}
