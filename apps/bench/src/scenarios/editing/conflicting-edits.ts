import { type Delta, deltaBytes, deltaSize, type Metric, throwIfAborted } from "@lfm/core";
import { createEditReader, type EditProbe, type ProbeReading, probeKinds, scoreProbe } from "@lfm/editing";
import { textRules } from "@lfm/models";
import { loadZoo, zooTokenizer } from "@lfm/models/zoo";
import { z } from "zod";
import type { Scenario } from "../../scenario.js";
import { points } from "./edit-metrics.js";
import { editorOptions, openEditor } from "./open-editor.js";
import { zooEdits } from "./zoo-edits.js";

const options = z.strictObject({
  ...editorOptions,
  edits: z.number().int().positive().default(20).describe("facts that are edited to and fro, each from the untouched model"),
});

/** Kinds that ask for the edited fact itself. */
const OWN: ReadonlySet<EditProbe["kind"]> = new Set(["efficacy", "paraphrase", "unseen-form", "question"]);

/** The same fact edited twice, and back (conflict and reversal: arXiv 2310.02129, section 3). */
export const conflictingEdits: Scenario = {
  id: "conflicting-edits",
  paradigm: "editing",
  model: "zoo-lm",
  summary:
    "A fact is edited to one value, then to another, then back to the truth, each edit on the one before. Score is the mean of: the later value is said in every form, the truth is said again, and all else is answered as if nothing had been edited.",
  headline: "score",
  access: ["weights", "grad", "activations", "logits", "tokenizer"],
  options,
  run: async (cell, context) => {
    const { engine, seed, signal } = context;
    const { edits: count, editorSteps } = options.parse(cell.options ?? {});
    const zoo = await context.shared("zoo", loadZoo);
    const { world } = zoo;
    const edits = await context.shared(`conflicting edits ${seed} ${count}`, () =>
      zooEdits(zoo, engine, { seed, count, people: "test", personsOnly: true }),
    );
    const reader = await createEditReader(engine, zoo.lm, textRules(zooTokenizer(world), { limits: zoo.lm.info }), { batchSize: 64 });
    const editor = await openEditor(zoo, cell, context, editorSteps);
    const [latest, stale, returned, roundTrip]: [number[], number[], number[], number[]] = [[], [], [], []];
    const started = performance.now();
    let deltas: readonly Delta[] = [];
    try {
      for (const [i, edit] of edits.entries()) {
        throwIfAborted(signal, `[@lfm/bench] fact ${i}`);
        const { fact, target, request, probes } = edit;
        const rng = context.rng.split(`conflict/${i}`);
        const other = rng.pick(world.values[fact.relation]!.filter((value) => value !== fact.value && value !== target));
        await reader.swap(zoo.lm);
        const before = await reader.read(probes, signal);
        const stack: Delta[] = [];
        const edited = async (value: string): Promise<readonly ProbeReading[]> => {
          const { delta, model } = await editor.edit([{ ...request, target: [world.vocabulary.id(value)] }], stack);
          stack.push(delta);
          await reader.swap(model);
          return reader.read(probes, signal);
        };
        await edited(target);
        const second = await edited(other);
        const back = await edited(fact.value);
        deltas = stack;
        for (const [p, probe] of probes.entries()) {
          if (OWN.has(probe.kind)) {
            latest.push(said(second[p]!, other));
            stale.push(said(second[p]!, target));
            returned.push(said(back[p]!, fact.value));
          } else if (probeKinds[probe.kind].axis === "locality" || probe.kind === "one-hop")
            roundTrip.push(scoreProbe(probe, back[p]!, before[p]!).unchanged!);
        }
        context.progress({ phase: "facts", done: i + 1, total: edits.length, unit: "fact" });
      }
      const share = (values: readonly number[]): number => (100 * values.reduce((a, b) => a + b, 0)) / values.length;
      const metrics: Record<string, Metric> = {
        score: points((share(latest) + share(returned) + share(roundTrip)) / 3, "mean of latest, returned and roundTrip"),
        latest: points(share(latest), "after A → B → C, prompts in any form that are gone on with by C"),
        stale: { ...points(share(stale), "those that still say B"), higherIsBetter: false },
        returned: points(share(returned), "after the edit back, those that say A again"),
        roundTrip: points(share(roundTrip), "other facts and consequences that are answered as before the three edits"),
      };
      return {
        metrics,
        retention: null,
        trainableParams: deltas.reduce((sum, delta) => sum + deltaSize(delta), 0),
        bytes: deltas.reduce((sum, delta) => sum + deltaBytes(delta), 0),
        queries: 0,
        dataUsed: 1,
        monitors: [],
        curves: {},
        phasesMs: { edit: performance.now() - started },
        modelHash: zoo.lmHash,
      };
    } finally {
      await editor.dispose();
      await reader.dispose();
    }
  },
};

function said({ generated }: ProbeReading, value: string): number {
  return generated?.text.split(" ")[0] === value ? 1 : 0;
}
