/** What a method that merges whole models, in memory, is given. */
export interface ModelMerge {
  /** The model that all others were tuned from. */
  readonly base: boolean;
  /** `each`: a file of examples per model. `any`: files for all models together. */
  readonly data: "none" | "each" | "any";
  /** What the examples are for. */
  readonly use?: string;
}

/** Methods that run models, or look at all of their weights at once. */
export const modelMerges: Readonly<Record<string, ModelMerge>> = {
  "ada-merging": {
    base: true,
    data: "each",
    use: "its answers to them are made certain; which of its labels an example has is not looked at",
  },
  "greedy-soup": { base: false, data: "any", use: "held-out: their score decides who comes in" },
  "moe-upcycling": { base: true, data: "each", use: "what the expert shall answer (gates that are not random)" },
  "ot-fusion": { base: false, data: "any", use: "for activations; labels are not looked at" },
  "re-basin": { base: false, data: "any", use: "for activations; labels are not looked at" },
  "regmean-plus-plus": { base: true, data: "each", use: "what its layers read is measured; labels are not looked at" },
  smile: { base: true, data: "none" },
  wemoe: { base: true, data: "each", use: "answers to them are made certain; which of its labels an example has is not looked at" },
  zipit: { base: false, data: "any", use: "for activations; labels are not looked at" },
};

/** Methods whose result is an adapter. */
export const adapterMerges: readonly string[] = ["extract-lora", "lora-hub", "merge-lora"];
