import { type Engine, type MethodContext, Rng, runMethod } from "@lfm/core";
import { packTextItems, statement, textTasks } from "@lfm/data";
import { textRules } from "@lfm/models";
import { loadZoo, zooTokenizer } from "@lfm/models/zoo";
import { languageModelTask, type ValidationSet } from "@lfm/train";
import { full, inOrder, languageBatch, learnedRows, predictedRows, type TokenRow, type TuningOutput } from "../src/index.js";

/** The zoo's language model on its first task at a rate that destroys it, watched on sentences of the world that it was trained on. */
export async function forgettingRun(engine: Engine) {
  const zoo = await loadZoo();
  const [mood] = textTasks(zoo.world, { train: 256 });
  const rules = textRules(zooTokenizer(zoo.world), { limits: zoo.lm.info });
  const sentences = (every: number, from: number): readonly TokenRow[] => {
    const facts = zoo.world.facts.filter((_, i) => i % every === from);
    const texts = facts.map((fact, i) => ({ text: statement(zoo.world, fact, i % zoo.world.relation(fact.relation).templates.length) }));
    return learnedRows({ kind: "text", rows: texts }, rules, { maxLength: 32 }, () => {});
  };
  const rows = sentences(12, 0).slice(0, 64);
  const { batch, perEpoch } = inOrder(rows.length, 16);
  const batches = (n: number) => languageBatch(batch(n).map((i) => rows[i]!));
  const retained: ValidationSet = { task: languageModelTask("world", batches, perEpoch, predictedRows(rows)) };
  return async (seed: number): Promise<TuningOutput & { readonly log: readonly string[] }> => {
    const log: string[] = [];
    const context: MethodContext = { engine, rng: new Rng(seed), access: ["weights", "grad"], log: (m) => log.push(m), progress: () => {} };
    const items = new Rng(seed).shuffle(mood!.train);
    const task = languageModelTask("mood", (step) => packTextItems(zoo.world, items.slice((step % 16) * 16, (step % 16) * 16 + 16)));
    return { ...(await runMethod(full, { model: zoo.lm, task, retained }, { steps: 6, lr: 1e-2 }, context)), log };
  };
}
