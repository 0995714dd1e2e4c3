import { inputKind, LfmError, type Rng } from "@lfm/core";
import type { EditDemonstration } from "./inputs.js";

/**
 * An edit with what must follow from it and what must stay, tokenised: what an editor learns from, what layers are chosen by, and what edits are
 * measured by.
 */
export interface EditCase extends EditDemonstration {
  /** Who or what it is about, and what is said of it: cases are held apart by both. */
  readonly subject: string;
  readonly relation: string;
  /** Index in the prompt of the subject's first token. Default its last. */
  readonly subjectStart?: number;
}

/** Edits with what must follow from them and what must stay. */
export const editCasesInput = inputKind<readonly EditCase[]>("edit-cases");

export interface SplitCases {
  readonly train: readonly EditCase[];
  readonly heldOut: readonly EditCase[];
}

/**
 * Sets cases aside that share neither subject nor relation with those that stay; cases that share one of them with both sides are in neither.
 * @param share of the subjects, and of the relations, that are set aside, in (0, 1); at least one of each
 * @throws {LfmError} CONFIG_INVALID where a side would be empty
 */
export function splitCases(cases: readonly EditCase[], share: number, rng: Rng): SplitCases {
  const aside = (name: "subject" | "relation"): ReadonlySet<string> => {
    const all = [...new Set(cases.map((r) => r[name]))];
    return new Set(
      rng
        .split(name)
        .shuffle(all)
        .slice(0, Math.max(1, Math.round(share * all.length))),
    );
  };
  const [subjects, relations] = [aside("subject"), aside("relation")];
  const train = cases.filter((r) => !subjects.has(r.subject) && !relations.has(r.relation));
  const heldOut = cases.filter((r) => subjects.has(r.subject) && relations.has(r.relation));
  if (train.length > 0 && heldOut.length > 0) return { train, heldOut };
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/editing] of ${cases.length} cases none ${train.length > 0 ? "to hold out" : "to learn from"} share neither subject nor relation with the others`,
    { hint: "give cases of several subjects and several relations (--requests), or hold out another share (--held-out 0.5)" },
  );
}
