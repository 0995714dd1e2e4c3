import { has, stringOf } from "../examples/fields.js";
import { formatError, isRecord } from "../files.js";
import type { FileRecord } from "../records.js";
import { presentOf, promptsOf, questionsOf, textsOf, withinOf, wordsOf } from "./edit-fields.js";
import { type EditForm, type EditRecord, placeOfSubject } from "./edit-record.js";

type Content = Omit<EditRecord, "at" | "form" | "fields">;

interface FormReader {
  readonly form: EditForm;
  is(r: FileRecord): boolean;
  read(r: FileRecord): Content;
}

/** What the forms are known by, for messages. */
export const EDIT_FORMS =
  'a line each: {"prompt": "the home of {} is", "subject": "Ada", "target": "Paris"}; or the records of CounterFact, zsRE (MEND), KnowEdit or EasyEdit';

/** In this order: the first that knows a record reads it. */
export const formReaders: readonly FormReader[] = [
  { form: "counterfact", is: (r) => has(r, "requested_rewrite"), read: readCounterfact },
  { form: "zsre", is: (r) => has(r, "src") && has(r, "alt"), read: readZsre },
  { form: "knowedit", is: (r) => targetOf(r) !== undefined && isKnowEdit(r), read: readKnowEdit },
  { form: "easyedit", is: (r) => targetOf(r) !== undefined, read: readEasyEdit },
  { form: "short", is: (r) => has(r, "target"), read: readShort },
];

/** CounterFact (arXiv 2202.05262, appendix C); with `portability` and `locality`, as the records of the generated world have them. */
function readCounterfact(r: FileRecord): Content {
  const rewrite = withinOf(r, "requested_rewrite");
  const [target, truth] = [namedValue(rewrite, "target_new"), has(rewrite, "target_true") ? [namedValue(rewrite, "target_true")] : []];
  return {
    ...factOf(rewrite, "prompt", "subject", target),
    truth,
    questions: [
      ...promptsOf(r, "paraphrase_prompts", "paraphrase", "paraphrase", [target]),
      ...promptsOf(r, "neighborhood_prompts", "locality", "neighborhood", truth),
      // Their true answer is the new one: an edit has nothing to do with them either.
      ...promptsOf(r, "attribute_prompts", "locality", "attribute", [target]),
      ...questionsOf(r, "portability"),
      ...questionsOf(r, "locality"),
    ],
    generation: textsOf(r, "generation_prompts"),
  };
}

/** `{str, id}`, or a text. */
function namedValue(r: FileRecord, name: string): string {
  return isRecord(r.fields[name]) ? wordsOf(withinOf(r, name), "str") : wordsOf(r, name);
}

/** zsRE as MEND's files have it (arXiv 2110.11309), with the portability of "Editing Large Language Models" (arXiv 2305.13172). */
function readZsre(r: FileRecord): Content {
  const target = wordsOf(r, "alt");
  const portable = isRecord(r.fields.portability) ? withinOf(r, "portability") : undefined;
  return {
    ...factOf(r, "src", "subject", target),
    truth: textsOf(r, "answers"),
    questions: [
      ...promptsOf(r, "rephrase", "paraphrase", "rephrase", [target]),
      ...promptsOf(r, "loc", "locality", "loc", textsOf(r, "loc_ans")),
      ...(portable && has(portable, "New Question")
        ? promptsOf(portable, "New Question", "portability", "New Question", textsOf(portable, "New Answer"))
        : questionsOf(r, "portability")),
    ],
    generation: [],
  };
}

/** KnowEdit (arXiv 2401.01286): WikiBio has `text`, `labels` and `concept`. */
function readKnowEdit(r: FileRecord): Content {
  return {
    ...factOf(r, presentOf(r, "prompt", "text") ?? "prompt", presentOf(r, "subject", "concept") ?? "subject", wordsOf(r, targetOf(r)!)),
    truth: textsOf(r, "ground_truth"),
    questions: [...rephrasings(r), ...questionsOf(r, "portability"), ...questionsOf(r, "locality")],
    generation: [],
  };
}

/** EasyEdit's own files (arXiv 2308.07269), and the requests that its editor makes of them. */
function readEasyEdit(r: FileRecord): Content {
  return {
    ...factOf(r, "prompt", "subject", wordsOf(r, targetOf(r)!)),
    truth: textsOf(r, "ground_truth"),
    questions: [
      ...rephrasings(r),
      ...promptsOf(r, "portability_prompt", "portability", "portability", textsOf(r, "portability_ground_truth")),
      ...promptsOf(r, "locality_prompt", "locality", "locality", textsOf(r, "locality_ground_truth")),
      ...questionsOf(r, "portability"),
      ...questionsOf(r, "locality"),
    ],
    generation: [],
  };
}

/** What `lfm edit` takes and writes down. */
function readShort(r: FileRecord): Content {
  return { ...factOf(r, "prompt", "subject", wordsOf(r, "target")), truth: textsOf(r, "truth"), questions: [], generation: [] };
}

function targetOf(r: FileRecord): string | undefined {
  return presentOf(r, "target_new", "labels");
}

/** Its questions stand in lists by kind; WikiBio has names of its own. */
function isKnowEdit(r: FileRecord): boolean {
  const listed = (name: string): boolean => {
    const value = r.fields[name];
    return isRecord(value) && Object.values(value).some(Array.isArray);
  };
  return presentOf(r, "labels", "text", "concept", "rephrase") !== undefined || listed("portability") || listed("locality");
}

function rephrasings(r: FileRecord): Content["questions"] {
  const target = wordsOf(r, targetOf(r)!);
  return ["rephrase_prompt", "rephrase"].flatMap((name) => promptsOf(r, name, "paraphrase", "rephrase", [target]));
}

/** The fact itself. A prompt may hold `{}` where its subject stands, or the subject. */
function factOf(
  r: FileRecord,
  promptField: string,
  subjectField: string,
  target: string,
): Pick<EditRecord, "subject" | "prompt" | "subjectStart" | "target" | "relation"> {
  const [given, subject] = [wordsOf(r, promptField), wordsOf(r, subjectField)];
  const [before, after, ...more] = given.split("{}");
  if (more.length > 0) throw formatError(r.at, `the prompt must hold {} once, where the subject stands; it does ${more.length + 1} times`);
  const prompt = after === undefined ? given : `${before}${subject}${after}`;
  const start = after === undefined ? placeOfSubject(prompt, subject) : before!.length;
  const id = presentOf(r, "relation_id", "relation");
  const template = start === undefined ? undefined : `${prompt.slice(0, start)}{}${prompt.slice(start + subject.length)}`;
  const relation = id === undefined ? template : stringOf(r, id);
  return {
    subject,
    prompt,
    ...(start === undefined ? {} : { subjectStart: start }),
    target,
    ...(relation === undefined ? {} : { relation }),
  };
}
