import { i32, LfmError, type Model } from "@lfm/core";
import { readExamples } from "@lfm/data";
import type { HeldOutBatch } from "@lfm/reuse";
import { inOrder, labelledRows, taskKind, textBatch } from "@lfm/tuning";
import { classNames } from "./labels.js";
import { type OpenedModel, requireText } from "./models.js";
import type { Sources } from "./sources.js";

/**
 * Models that answer together, in their order.
 * @throws {LfmError} CONFIG_INVALID for members that do not answer the same questions, CAPABILITY_MISSING for members that answer values
 */
export async function openMembers(s: Sources): Promise<readonly Model[]> {
  const members = await s.members();
  const [first] = members;
  if (first === undefined || members.length < 2)
    throw new LfmError("CONFIG_INVALID", "lfm: an ensemble has two members or more", { hint: "--member ./a --member ./b" });
  const odd = members.find((m) => m.model.info.task !== first.model.info.task);
  if (odd)
    throw new LfmError("CONFIG_INVALID", `lfm: ${first.name} is a ${first.model.info.task}, ${odd.name} a ${odd.model.info.task}`, {
      hint: "members of an ensemble answer the same questions",
    });
  if (members.some((m) => m.model.info.classes === 1))
    throw new LfmError("CAPABILITY_MISSING", "lfm: an ensemble votes on classes; these models answer values", {
      hint: "measure them one by one: lfm eval --model …",
    });
  if (taskKind(first.model) === "classification") checkClasses(members);
  return members.map((m) => m.model);
}

function checkClasses(members: readonly OpenedModel[]): void {
  const [first, ...others] = members.map((m) => classNames(m).join(", "));
  const odd = others.findIndex((names) => names !== first);
  if (odd >= 0)
    throw new LfmError("CONFIG_INVALID", `lfm: ${members[0]!.name} answers ${first}; ${members[odd + 1]!.name} answers ${others[odd]}`, {
      hint: "members of an ensemble have the same classes, in the same order",
    });
}

/** The examples of --held-out in batches. @throws {LfmError} CAPABILITY_MISSING for members that are no classifiers */
export async function openHeldOut(s: Sources): Promise<readonly HeldOutBatch[]> {
  const m = await s.reader();
  if (taskKind(m.model) === "language")
    throw new LfmError("CAPABILITY_MISSING", `lfm: how members answer is learned for classifiers; ${m.name} is a language model`, {
      hint: "--ensemble weighted --weights 0.5,0.5",
    });
  const rows = labelledRows(readExamples(s.text("held-out")!, await s.columns()), classNames(m));
  const { tokenizer } = requireText(m);
  const { batchSize, maxLength } = s.batching;
  const { batch, perEpoch } = inOrder(rows.texts.length, batchSize);
  return Array.from({ length: perEpoch }, (_, i) => ({
    input: textBatch(rows, batch(i), tokenizer, maxLength),
    labels: i32(batch(i).map((k) => rows.labels[k]!)),
  }));
}
