import { LfmError } from "@lfm/core";
import { readEdits } from "@lfm/data";
import { caseOfRecord, type EditCase, worldCases } from "@lfm/editing";
import { loadZoo } from "@lfm/models/zoo";
import { requireText } from "./models.js";
import type { Sources } from "./sources.js";

/**
 * The facts of --requests with their other wordings, and what has nothing to do with them; zoo-lm brings its own. Facts that the model cannot read
 * are left out, and told.
 * @throws {LfmError} CONFIG_INVALID where no file is given, or the model can read none of its facts; FILE_FORMAT, FILE_IO
 */
export function openEditCases(s: Pick<Sources, "once" | "reader" | "text" | "batching" | "job">): Promise<readonly EditCase[]> {
  return s.once("edit cases", async () => {
    const m = await s.reader();
    const rules = requireText(m);
    const file = s.text("requests");
    if (file === undefined) {
      if (m.name === "zoo-lm") return worldCases((await loadZoo()).world, rules, s.batching.seed);
      throw new LfmError("CONFIG_INVALID", "lfm: no facts are given", {
        hint: "--requests edits.json: CounterFact, zsRE, KnowEdit or EasyEdit; or prompt, subject and target a line",
      });
    }
    const records = readEdits(file);
    const cases = records.flatMap((record) => caseOfRecord(rules, record) ?? []);
    if (cases.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: ${m.name} can read none of the ${records.length} facts of ${file}`);
    if (cases.length < records.length)
      s.job.log(`${records.length - cases.length} of the ${records.length} facts of ${file} are left out: ${m.name} cannot read them`);
    return cases;
  });
}
