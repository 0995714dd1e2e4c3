import type { EditQuestion, EditRecord } from "@lfm/data";
import type { EditProbe, ProbeKindId } from "./probes.js";

/** What is read of a record. */
export type AskedRecord = Pick<EditRecord, "subject" | "prompt" | "target" | "truth" | "questions">;

/**
 * The questions of a record of CounterFact, zsRE, KnowEdit or EasyEdit by kinds, with its own prompt as the first. What a file does not ask has
 * no question here; one whose right answer the file does not name is left out.
 */
export function recordProbes(record: AskedRecord): readonly EditProbe[] {
  const { prompt, target, truth } = record;
  const own: EditProbe = { kind: "efficacy", prompt, answer: target, ...rivalOf(truth) };
  return [own, ...record.questions.flatMap((question) => probeOf(question, record))];
}

function probeOf(question: EditQuestion, record: AskedRecord): EditProbe[] {
  const [answer, ...aliases] = question.answers;
  if (answer === undefined) return [];
  const kind = kindOf(question, record);
  const rival = kind === "same-value" ? { rival: record.target } : brings(kind) && answer === record.target ? rivalOf(record.truth) : {};
  return [{ kind, prompt: question.prompt, answer, ...(aliases.length > 0 ? { aliases } : {}), ...rival }];
}

/** Kinds whose right answer is the new object itself: the old one is what it shall be likelier than. */
function brings(kind: ProbeKindId): boolean {
  return kind === "paraphrase" || kind === "question" || kind === "alias";
}

function rivalOf([first]: readonly string[]): { readonly rival?: string } {
  return first === undefined ? {} : { rival: first };
}

function kindOf({ axis, kind, prompt, answers }: EditQuestion, record: AskedRecord): ProbeKindId {
  switch (axis) {
    case "paraphrase":
      return isQuestion(prompt) && !isQuestion(record.prompt) ? "question" : "paraphrase";
    case "portability":
      if (/alias/i.test(kind)) return "alias";
      // KnowEdit's logical generalisation is what the relation says the other way round.
      return /logical|inverse|revers/i.test(kind) ? "inverse" : "one-hop";
    case "locality":
      if (kind === "neighborhood") return "same-value";
      if (kind === "attribute") return "same-relation";
      if (/specificity|forget/i.test(kind) || prompt.includes(record.subject)) return "same-subject";
      // EasyEdit's files do not say what their locality prompts are: CounterFact's neighbours have the old object.
      return answers.some((text) => record.truth.includes(text)) ? "same-value" : "unrelated";
  }
}

function isQuestion(text: string): boolean {
  return /\?\s*$/.test(text);
}
