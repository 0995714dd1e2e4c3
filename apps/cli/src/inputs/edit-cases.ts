import { LfmError, Rng } from "@lfm/core";
import { counterfacts, type EditRecord, editOf, readEdits } from "@lfm/data";
import type { EditCase } from "@lfm/editing";
import { idsOfText, type TextRules } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { joint } from "@lfm/tuning";
import { requireText } from "./models.js";
import type { Sources } from "./sources.js";

/** People of the zoo's world whose facts editors learn from and layers are chosen by; edits that are reported are about the others. */
const DEVELOPMENT_PEOPLE = 128;
/** New values that each of their facts is given. */
const VALUES = 4;

/**
 * The facts of --requests with their other wordings, and what has nothing to do with them; zoo-lm brings its own. Facts that the model cannot read
 * are left out, and told.
 * @throws {LfmError} CONFIG_INVALID where no file is given, or the model can read none of its facts; FILE_FORMAT, FILE_IO
 */
export function openEditCases(s: Sources): Promise<readonly EditCase[]> {
  return s.once("edit cases", async () => {
    const m = await s.reader();
    const rules = requireText(m);
    const file = s.text("requests");
    if (file === undefined && m.name !== "zoo-lm")
      throw new LfmError("CONFIG_INVALID", "lfm: no facts are given", {
        hint: "--requests edits.json: CounterFact, zsRE, KnowEdit or EasyEdit; or prompt, subject and target a line",
      });
    const records = file === undefined ? await worldRecords(s.batching.seed) : readEdits(file);
    const cases = records.flatMap((record) => caseOf(rules, record) ?? []);
    if (cases.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: ${m.name} can read none of the ${records.length} facts`);
    if (cases.length < records.length)
      s.job.log(`${records.length - cases.length} of ${records.length} facts are left out: ${m.name} cannot read them`);
    return cases;
  });
}

/** Facts about people of the zoo's world, each with several new values. */
async function worldRecords(seed: number): Promise<readonly EditRecord[]> {
  const { world } = await loadZoo();
  const people = new Set(world.entities.slice(0, DEVELOPMENT_PEOPLE));
  const count = world.facts.filter((f) => people.has(f.subject)).length;
  const rng = new Rng(seed).split("edit cases");
  return Array.from({ length: VALUES }, () =>
    counterfacts(world, { seed: rng.uint32(), count, accept: (f) => people.has(f.subject) }).map((fields, i) =>
      editOf({ at: `zoo-lm, fact ${i + 1}`, fields: { ...fields } }),
    ),
  ).flat();
}

/** A record as the model reads it; undefined for a prompt without its subject, and for what it has no tokens for. */
function caseOf(rules: TextRules, record: EditRecord): EditCase | undefined {
  const { subject, subjectStart, prompt, target, questions } = record;
  if (subjectStart === undefined) return undefined;
  const encode = (text: string): readonly number[] => [...rules.start, ...idsOfText(rules, text)];
  const asked = answered(rules, prompt, target);
  const paraphrases = questions.filter((q) => q.axis === "paraphrase").map((q) => answered(rules, q.prompt, target));
  const unrelated = questions.filter((q) => q.axis === "locality").map((q) => encode(q.prompt));
  if (!asked) return undefined;
  const subjectEnd = encode(prompt.slice(0, subjectStart + subject.length)).length - 1;
  return {
    subject,
    relation: record.relation ?? prompt,
    request: { ...asked, subjectEnd, start: rules.start.length },
    paraphrases: paraphrases.filter((p) => p !== undefined),
    unrelated: unrelated.filter((row) => row.length > 0 && readable(rules, row)),
  };
}

/** Tokens of a prompt, and of the answer as it follows it: those that are added when both are read together. */
function answered(
  rules: TextRules,
  prompt: string,
  target: string,
): { readonly prompt: readonly number[]; readonly target: readonly number[] } | undefined {
  const ids = [...rules.start, ...idsOfText(rules, prompt)];
  const whole = [...rules.start, ...idsOfText(rules, `${prompt}${joint(prompt, target)}`)];
  const answer = whole.slice(ids.length);
  return answer.length > 0 && ids.every((id, i) => whole[i] === id) && readable(rules, whole) ? { prompt: ids, target: answer } : undefined;
}

function readable({ tokenizer, maxLength }: TextRules, ids: readonly number[]): boolean {
  const { unk } = tokenizer.specials;
  return ids.length <= (maxLength ?? ids.length) && (unk === undefined || !ids.includes(unk));
}
