import { LfmError, type MethodContext } from "@lfm/core";
import type { MembershipInputs, ReferenceModel } from "../inputs.js";
import type { Signals } from "./signals.js";
import { askBoth, type BothSides } from "./told-apart.js";

/** What attacks with models of the attacker's own are given. */
export interface ReferenceInputs extends MembershipInputs {
  readonly references: readonly ReferenceModel[];
}

/** Answers of one reference model to one side, and which of it the model learned from. */
export interface ReferenceAnswers {
  readonly signals: Signals;
  /** Absent: it saw none of it. */
  readonly saw: readonly boolean[] | undefined;
}

/** Answers of all references to both sides. */
export interface BothReferences {
  readonly members: readonly ReferenceAnswers[];
  readonly nonMembers: readonly ReferenceAnswers[];
}

/**
 * Asks the references about both sides.
 * @throws {LfmError} CONFIG_INVALID where there is none, or one does not say of each example whether it saw it
 */
export async function askReferences(inputs: ReferenceInputs, victim: BothSides, context: MethodContext): Promise<BothReferences> {
  if (inputs.references.length === 0)
    throw new LfmError("CONFIG_INVALID", "[@lfm/probe] this attack needs a reference model: of the same kind, trained on other examples", {
      hint: "--reference MODEL+DELTA, with --reference-data for what it was trained on",
    });
  const both: { members: ReferenceAnswers[]; nonMembers: ReferenceAnswers[] } = { members: [], nonMembers: [] };
  for (const { model, saw } of inputs.references) {
    const said = await askBoth({ ...inputs, victim: model }, context);
    for (const side of ["members", "nonMembers"] as const) {
      const [own, count] = [saw?.[side], victim[side].losses.length];
      if (own && own.length !== count)
        throw new LfmError(
          "CONFIG_INVALID",
          `[@lfm/probe] a reference says of ${own.length} ${side} whether it saw them; there are ${count}`,
        );
      both[side].push({ signals: said[side], saw: own });
    }
  }
  return both;
}

/** Values of an example under the references that learned from it, and under those that did not. */
export function inAndOut(
  references: readonly ReferenceAnswers[],
  i: number,
  read: (signals: Signals) => Float64Array,
): { readonly in: readonly number[]; readonly out: readonly number[] } {
  const split: { in: number[]; out: number[] } = { in: [], out: [] };
  for (const { signals, saw } of references) split[saw?.[i] ? "in" : "out"].push(read(signals)[i]!);
  return split;
}

/** Scores of both sides, example by example. */
export function scoreBoth(
  victim: BothSides,
  references: BothReferences,
  score: (own: Signals, references: readonly ReferenceAnswers[], i: number) => number,
): { readonly members: Float64Array; readonly nonMembers: Float64Array } {
  const of = (side: keyof BothSides): Float64Array => victim[side].losses.map((_, i) => score(victim[side], references[side], i));
  return { members: of("members"), nonMembers: of("nonMembers") };
}

/** Examples that the victim was asked about: once each. */
export function asked({ members, nonMembers }: BothSides): number {
  return members.losses.length + nonMembers.losses.length;
}
