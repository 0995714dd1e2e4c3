import { type EditClaim, type EditConflict, type EditRecord, editConflicts, parseEdits } from "@lfm/data";
import { type DeltaHeader, readDeltaHeader } from "@lfm/formats";
import type { WrittenEdit } from "../inputs/edits.js";

/** What was asked of an edit, in words: it travels in the header of the delta's file, and reads back as a line of `lfm edit --requests`. */
export interface PatchedFact {
  readonly prompt: string;
  readonly subject: string;
  readonly target: string;
  readonly relation?: string;
  readonly truth?: readonly string[];
  /** What the model answered. */
  readonly before?: string;
}

/** A delta's file with what was asked of it; of one that no edit made, nothing. */
export interface Patch extends DeltaHeader {
  readonly facts: readonly PatchedFact[];
}

const FACTS = "facts";

/** What to save with a patch. @param answer text of tokens */
export function notesOf(edits: readonly WrittenEdit[], answer: (ids: readonly number[]) => string): Readonly<Record<string, string>> {
  const facts = edits.map(({ record: { prompt, subject, target, relation, truth }, before }) => ({
    ...{ prompt, subject, target },
    ...(relation === undefined ? {} : { relation }),
    ...(truth.length > 0 ? { truth } : {}),
    before: answer(before).trim(),
  }));
  return { [FACTS]: facts.map((fact) => JSON.stringify(fact)).join("\n") };
}

/** @param folder of the patch, or its file @throws {LfmError} FILE_IO, FILE_FORMAT */
export function readPatch(folder: string): Patch {
  const header = readDeltaHeader(folder);
  const text = header.notes[FACTS];
  return { ...header, facts: text === undefined ? [] : parseEdits(`${header.path}, ${FACTS}.jsonl`, text).map(factOf) };
}

function factOf({ prompt, subject, target, relation, truth, fields }: EditRecord): PatchedFact {
  const { before } = fields;
  return {
    ...{ prompt, subject, target },
    ...(relation === undefined ? {} : { relation }),
    ...(truth.length > 0 ? { truth } : {}),
    ...(typeof before === "string" ? { before } : {}),
  };
}

/** A fact that is looked at for conflicts, with where it stands. */
export interface PlacedFact extends EditClaim {
  readonly at: string;
}

/** The facts of patches, told apart by their patch and number. */
export function placedFacts(patch: string, facts: readonly PatchedFact[]): readonly PlacedFact[] {
  return facts.map(({ subject, target, relation, truth = [], before }, i) => ({
    at: facts.length === 1 ? patch : `${patch}, fact ${i + 1}`,
    ...{ subject, target },
    ...(relation === undefined ? {} : { relation }),
    truth: before === undefined ? truth : [...truth, before],
  }));
}

/** A conflict as data and in words. */
export interface SaidConflict {
  readonly kind: EditConflict["kind"];
  readonly subject: string;
  readonly relation: string;
  readonly earlier: { readonly at: string; readonly target: string };
  readonly later: { readonly at: string; readonly target: string };
}

export function conflictsOf(facts: readonly PlacedFact[]): readonly SaidConflict[] {
  return editConflicts(facts).map(({ kind, earlier, later }) => ({
    kind,
    subject: later.subject,
    relation: later.relation!,
    earlier: { at: earlier.at, target: earlier.target },
    later: { at: later.at, target: later.target },
  }));
}

const told: Readonly<Record<EditConflict["kind"], (c: SaidConflict) => string>> = {
  other: ({ earlier, later }) => `says "${later.target}", ${earlier.at} "${earlier.target}"`,
  back: ({ earlier, later }) => `goes back to "${later.target}", which ${earlier.at} made "${earlier.target}"`,
  again: ({ earlier, later }) => `says "${later.target}", as ${earlier.at} does`,
};

/** `⚠ more, fact 2 says "Rome", first "Paris": the home of Ada is` */
export function conflictLine(c: SaidConflict): string {
  return `⚠ ${c.later.at} ${told[c.kind](c)}: ${c.relation.includes("{}") ? c.relation.replace("{}", () => c.subject) : `${c.relation} of ${c.subject}`}`;
}
