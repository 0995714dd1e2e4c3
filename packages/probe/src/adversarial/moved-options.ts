import { z } from "zod";
import { type ProbedExamples, probedInput, type VictimInputs, victimInputs } from "../inputs.js";

/** What attacks on single inputs are given. */
export interface InputAttackInputs extends VictimInputs {
  readonly examples: ProbedExamples;
}

/** Declarations of {@link InputAttackInputs}. */
export const inputAttackInputs = {
  ...victimInputs,
  examples: { kind: probedInput, as: "data", about: "that are changed until the model errs" },
} as const;

/** How far inputs are moved: options of the attacks that move them. */
export const movedFields = {
  epsilon: z
    .number()
    .min(0)
    .default(0.1)
    .describe("how far an input may be moved, ε: of pixels and features as they are, of texts in mean lengths of a token's vector"),
  norm: z
    .enum(["inf", "2"])
    .default("inf")
    .describe("inf: every coordinate by ε (in texts ε / √hidden of the mean length); 2: an input as a whole by length ε"),
  low: z.number().optional().describe("smallest value that a pixel or feature may take"),
  high: z.number().optional().describe("largest value that a pixel or feature may take"),
};

export type MovedOptions = z.output<z.ZodObject<typeof movedFields>>;

/** The range of values. */
export function rangeOf({ low, high }: MovedOptions): readonly [number, number] {
  return [low ?? Number.NEGATIVE_INFINITY, high ?? Number.POSITIVE_INFINITY];
}

/** ε in the units of the inputs. @param unit, hidden — mean length of a token's vector, 1 for other inputs, and its width */
export function epsilonOf({ norm }: Pick<MovedOptions, "norm">, epsilon: number, unit: number, hidden: number | undefined): number {
  return epsilon * unit * (norm === "inf" && hidden !== undefined ? 1 / Math.sqrt(hidden) : 1);
}
