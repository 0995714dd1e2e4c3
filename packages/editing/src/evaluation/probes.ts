/** What of a model's behaviour a question looks at, seen from the edit: the axes that edits are judged by. */
export type EditAxis = "efficacy" | "generalisation" | "portability" | "locality";

/** One kind of question. */
export interface ProbeKind {
  readonly axis: EditAxis;
  /** What the right answer is: what the edit brings, or what it was before. */
  readonly expects: "new" | "old";
  readonly about: string;
}

/**
 * Every kind of question about an edit of the fact (subject, relation, object → new object), from the edit outwards. Locality is graded by
 * distance: what the edit may take along the most easily comes first. Efficacy, paraphrases and neighbours ("same-value") are CounterFact's
 * (arXiv 2202.05262, section 3.3); aliases, hops, inverses and other relations of the subject KnowEdit's (arXiv 2401.01286, section 4).
 */
export const probeKinds = {
  efficacy: { axis: "efficacy", expects: "new", about: "the prompt of the edit" },
  paraphrase: { axis: "generalisation", expects: "new", about: "the same in other words" },
  "unseen-form": { axis: "generalisation", expects: "new", about: "the same in a form that the model was never taught this fact in" },
  question: { axis: "generalisation", expects: "new", about: "the same as a question" },
  "long-context": { axis: "generalisation", expects: "new", about: "the prompt inside a longer text" },
  distractor: { axis: "generalisation", expects: "new", about: "the prompt behind a passage that says the same of somebody else" },
  alias: { axis: "portability", expects: "new", about: "the subject by another name" },
  "one-hop": { axis: "portability", expects: "new", about: "what follows from the new object" },
  inverse: { axis: "portability", expects: "new", about: "the subject, asked of the new object" },
  "same-subject": { axis: "locality", expects: "old", about: "other relations of the subject" },
  "same-value": { axis: "locality", expects: "old", about: "the relation of others who have the old object" },
  "same-relation": { axis: "locality", expects: "old", about: "the relation of others who have other objects" },
  unrelated: { axis: "locality", expects: "old", about: "facts that share neither subject nor relation nor object" },
} as const satisfies Readonly<Record<string, ProbeKind>>;
export type ProbeKindId = keyof typeof probeKinds;

/** In the order of the table. */
export const probeKindIds = Object.keys(probeKinds) as readonly ProbeKindId[];

/** A question to a model before and after an edit. */
export interface EditProbe {
  readonly kind: ProbeKindId;
  /** Ends where the answer begins. */
  readonly prompt: string;
  /** Right after the edit; any of {@link aliases} is right too where text is generated. */
  readonly answer: string;
  readonly aliases?: readonly string[];
  /** What the answer shall be likelier than: the old object where the new one is asked for, the new one where the old. */
  readonly rival?: string;
}
