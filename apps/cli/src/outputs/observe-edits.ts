import { answersTo, openEdits } from "../inputs/edits.js";
import { requireTokenizer } from "../inputs/models.js";
import type { Sources } from "../inputs/sources.js";
import { conflictLine, conflictsOf, placedFacts, readPatch } from "../patches/patch.js";
import { patchesIn } from "../patches/stack.js";
import type { Found, Said } from "./found.js";

/** Facts that are told one by one; all of them stand in report.json. */
const SHOWN = 20;

/** What the model goes on with after the prompt of each fact, and which facts say other things than those before them. */
export async function observeAnswers(s: Sources): Promise<(found: Found) => Promise<Said>> {
  const [edits, m] = [await openEdits(s), await s.reader()];
  const tokenizer = requireTokenizer(m);
  const earlier = s
    .texts("delta")
    .flatMap(patchesIn)
    .flatMap(({ name, path }) => placedFacts(name, readPatch(path).facts));
  const own = edits.map(({ record, before }) => ({ ...record, truth: [...record.truth, tokenizer.decode(before).trim()] }));
  const conflicts = conflictsOf([...earlier, ...own]).filter(({ later }) => own.some((fact) => fact.at === later.at));
  for (const conflict of conflicts.slice(0, SHOWN)) s.job.log(conflictLine(conflict));
  return async ({ model }) => {
    const requests = edits.map((e) => e.request);
    const after = await answersTo(model!, requests, "after", s);
    const said = edits.map(({ record: { prompt, subject, target }, request, before }, i) => ({
      ...{ prompt, subject, target },
      before: tokenizer.decode(before),
      after: tokenizer.decode(after[i]!),
      written: after[i]!.join() === request.target.join(),
    }));
    const written = said.filter((e) => e.written).length;
    return {
      value: { edits: said, written, ...(conflicts.length > 0 ? { conflicts } : {}) },
      lines: [
        ...said
          .slice(0, SHOWN)
          .map((e) => `${e.prompt} … before: ${e.before}; after: ${e.after}${e.written ? "" : ` (asked for: ${e.target})`}`),
        ...(said.length > SHOWN ? [`… and ${said.length - SHOWN} more, in report.json`] : []),
        ...(said.length > 1 ? [`${written} of ${said.length} facts are answered as asked`] : []),
      ],
    };
  };
}
