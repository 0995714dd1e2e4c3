import { z } from "zod";

/** Programs write null for what they leave at its default; so does PEFT where the default is none. */
export const orDefault = <S extends z.ZodType>(schema: S, value: z.output<S>) => schema.nullish().transform((given) => given ?? value);

export const names = z.union([z.array(z.string()), z.string()]).nullish();
export const count = z.number().int().positive();

/** Options of every kind. */
export const commonFields = {
  task_type: z.enum(["SEQ_CLS", "SEQ_2_SEQ_LM", "CAUSAL_LM", "TOKEN_CLS", "QUESTION_ANS", "FEATURE_EXTRACTION"]).nullish(),
  base_model_name_or_path: z.string().nullish(),
  revision: z.string().nullish(),
  inference_mode: orDefault(z.boolean(), true),
  peft_version: z.string().nullish(),
  modules_to_save: z.array(z.string()).nullish(),
};

/** Those of kinds that stand on layers, too. */
export const layerFields = {
  ...commonFields,
  target_modules: names,
  layers_to_transform: z.union([z.number().int(), z.array(z.number().int())]).nullish(),
  layers_pattern: names,
};
