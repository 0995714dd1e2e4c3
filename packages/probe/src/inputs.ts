import { inputKind, LfmError, type Model } from "@lfm/core";
import type { Batch, LearningTask } from "@lfm/train";

/**
 * Examples that a model is asked about: how it reads them, what is right, and its batches, each example once (`perEpoch` is set; see
 * {@link LearningTask}).
 */
export type ProbedExamples = LearningTask;

/** A model of the attacker's own, and what it was trained on. */
export interface ReferenceModel {
  readonly model: Model;
  /** Of each member and non-member, in their order, whether this model learned from it. Absent: it saw none of them. */
  readonly saw?: { readonly members: readonly boolean[]; readonly nonMembers: readonly boolean[] };
}

/** The model under attack, with everything that lies on it. */
export const victimInput = inputKind<Model>("victim");
/** The same without the deltas on it: what there was before the adaptation. */
export const victimBeforeInput = inputKind<Model>("victim-before");
/** Examples that a victim is asked about. */
export const probedInput = inputKind<ProbedExamples>("probed");
/** Texts of classes, as they are written. */
export interface LabelledTexts {
  readonly texts: readonly string[];
  /** Numbers of classes. */
  readonly labels: readonly number[];
}

/** Texts of classes. */
export const probedTextsInput = inputKind<LabelledTexts>("probed-texts");
/** Models of the attacker's own. */
export const referencesInput = inputKind<readonly ReferenceModel[]>("references");

/** What an attack on a model is given at least. */
export interface VictimInputs {
  readonly victim: Model;
  /** Attacked in the same way, so that what the adaptation changed is seen. */
  readonly before?: Model;
}

/** What attacks that tell members from others are given. */
export interface MembershipInputs extends VictimInputs {
  /** Examples that the victim was trained on. */
  readonly members: ProbedExamples;
  /** Examples of the same kind that it was not trained on. */
  readonly nonMembers: ProbedExamples;
}

/** Declarations of {@link VictimInputs}. */
export const victimInputs = { victim: { kind: victimInput, as: "model" }, before: { kind: victimBeforeInput, optional: true } } as const;

/** Declarations of {@link MembershipInputs}. */
export const membershipInputs = {
  ...victimInputs,
  members: { kind: probedInput, as: "data", about: "that the model was trained on" },
  nonMembers: { kind: probedInput, about: "of the same kind that it was not trained on" },
} as const;

/** The batches of examples, each example once. @throws {LfmError} CONFIG_INVALID for examples without an end */
export function batchesOf(examples: ProbedExamples): readonly Batch[] {
  if (examples.perEpoch === undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/probe] the examples of "${examples.name}" have no end: perEpoch is not set`);
  return Array.from({ length: examples.perEpoch }, (_, i) => examples.batches(i));
}

/** Examples in a batch. */
export function sizeOfBatch(batch: Batch): number {
  const [first] = Object.values(batch);
  return first?.shape[0] ?? 0;
}
