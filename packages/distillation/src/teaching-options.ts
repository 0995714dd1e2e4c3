import { z } from "zod";

/** Options that every method has whose student learns on data. */
export const teachingFields = {
  steps: z.number().int().positive().default(300).describe("optimizer steps"),
  lr: z.number().positive().default(1e-3).describe("learning rate η of AdamW"),
  weightDecay: z.number().min(0).default(0.01).describe("decoupled decay λ of AdamW, per unit of η"),
  accumulate: z.number().int().positive().default(1).describe("batches whose gradients make one optimizer step"),
};

/** Options of methods that compare hidden layers, beside {@link teachingFields}. */
export const layerFields = {
  layers: z
    .array(z.string())
    .default([])
    .describe("pairs STUDENT=TEACHER of layers, by number from 0 or by path; none: at equal shares of the depth"),
};

/** Weights of the two terms of logit distillation where a method has them beside its own. */
export const answerFields = {
  labels: z.number().min(0).default(1).describe("weight of the labels' cross entropy"),
  kd: z.number().min(0).default(0).describe("weight of the teacher's softened outputs (T²·KL)"),
  temperature: z.number().positive().default(4).describe("softening T of both distributions in kd"),
};

export type TeachingConfig = z.output<z.ZodObject<typeof teachingFields>>;
