import { defineMethod, type Method, type MethodContext } from "@lfm/core";
import type { z } from "zod";
import type { VictimInputs } from "./inputs.js";
import type { Share } from "./statistics/binomial.js";
import type { AttackScores, Interval, RocPoint } from "./statistics/roc.js";

/** A risk: how far an attack gets, 0..1, with the interval that it lies in. */
export type Risk = Share | Interval;

/** What an attack found of one model. */
export interface Findings {
  /** How far it gets, by name; the first is the one that is shown alone. */
  readonly risks: Readonly<Record<string, Risk>>;
  /** What it was measured beside: accuracies and losses, numbers of words, sizes. */
  readonly measured: Readonly<Record<string, number>>;
  /** Scores behind the risks, where members are told from others. */
  readonly scores?: { readonly members: readonly number[]; readonly nonMembers: readonly number[] };
  /** Share of members found against share of others taken for them. */
  readonly roc?: readonly RocPoint[];
  /** Other curves: name → points. */
  readonly curves?: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** Rows that the victim was asked about; what an attacker does with models of its own costs none. */
  readonly queries: number;
  /** Single cases, for the eye. */
  readonly cases?: readonly Readonly<Record<string, string | number | boolean>>[];
  /** What has to be known to read the numbers. */
  readonly warnings?: readonly string[];
}

/** What a probe hands back. */
export interface ProbeOutput {
  readonly findings: Findings;
  /** Of the model as it was before its adaptation, attacked in the same way. */
  readonly before?: Findings;
}

/** An attack as its file writes it: on one model. */
export interface ProbeDefinition<Inputs extends VictimInputs, Schema extends z.ZodObject>
  extends Omit<Method<Inputs, ProbeOutput, Schema>, "paradigm" | "run"> {
  /** Attacks `inputs.victim`; a failing attack is a finding, not an error. Stops within one step of the signal. */
  attack(inputs: Inputs, config: z.output<Schema>, context: MethodContext): Promise<Findings>;
}

/** A probe as the platform runs it. */
export type Probe<Inputs extends VictimInputs, Schema extends z.ZodObject> = Method<Inputs, ProbeOutput, Schema>;

/** Makes a method of an attack: it is run on the victim, and in the same way on what the victim was before, where that is given. */
export function defineProbe<Inputs extends VictimInputs, Schema extends z.ZodObject>({
  attack,
  ...method
}: ProbeDefinition<Inputs, Schema>): Probe<Inputs, Schema> {
  return defineMethod<Inputs, ProbeOutput, Schema>({
    ...method,
    paradigm: "probe",
    run: async (inputs, config, context) => {
      const findings = await attack(inputs, config, context);
      if (!inputs.before) return { findings };
      return { findings, before: await attack({ ...inputs, victim: inputs.before }, config, context) };
    },
  });
}

/** Scores as findings keep them. */
export function plainScores({ members, nonMembers }: AttackScores): NonNullable<Findings["scores"]> {
  return { members: Array.from(members), nonMembers: Array.from(nonMembers) };
}
