import { type Delta, deltaBytes, deltaSize, forgettingMonitor, LfmError, type Model, type Rng, throwIfAborted } from "@lfm/core";
import { COMPACT, promptFor, trainedTemplates, type World } from "@lfm/data";
import {
  axisScores,
  createEditReader,
  type EditProbe,
  type EditReader,
  EditTally,
  keysOfEdits,
  overallScore,
  type ProbeReading,
  rankOfKeys,
} from "@lfm/editing";
import { textRules } from "@lfm/models";
import { loadZoo, type Zoo, zooTokenizer } from "@lfm/models/zoo";
import { z } from "zod";
import type { CellContext, CellMethod, Scenario } from "../../scenario.js";
import { retentionOf } from "../zoo/retention.js";
import { editMetrics, points, wrongOutputs } from "./edit-metrics.js";
import { copyOf, editorOptions, openEditor, sameWeights } from "./open-editor.js";
import { type OtherScores, openOtherTasks, otherMetrics } from "./other-tasks.js";
import { isControl, isDevelopment, type ZooEdit, zooEdits } from "./zoo-edits.js";

const options = z.strictObject({
  ...editorOptions,
  edits: z.number().int().positive().default(100).describe("edits in all"),
  asked: z
    .number()
    .int()
    .positive()
    .default(24)
    .describe("edits that are asked about at each look: the first ones, the last ones, some between"),
  control: z.number().int().positive().default(64).describe("facts of people without any edit that are asked at each look"),
  people: z.enum(["test", "development"]).default("test").describe("whose facts: settings are chosen on those of development"),
});
type Sizes = z.output<typeof options>;

/** Looks are taken after 1, 10, 100 … edits, and at the end. */
export function looksAt(edits: number): readonly number[] {
  const looks: number[] = [];
  for (let n = 1; n < edits; n *= 10) looks.push(n);
  return [...looks, edits];
}

/** So many of the first edits are asked about again and again. */
const FIRST = 10;

/** Edits one after the other, each into the model with those before. */
export const sequentialEdits = manyEdits({
  id: "sequential-edits",
  summary:
    "Edits in sequence, each into the model with those before it: how many of them hold, how the first ones fare, what is left of other people's facts, of reading and of an adapter, and what perplexity becomes. Score as in single-edits, after the last edit.",
  make: async (editor, edits, looks, look) => {
    const previous: Delta[] = [];
    for (const [i, edit] of edits.entries()) {
      const { delta, model } = await editor.edit([edit.request], previous);
      previous.push(delta);
      await look(i + 1, looks.includes(i + 1) ? model : undefined, previous);
    }
  },
});

/** The same edits all at once. */
export const batchEdits = manyEdits({
  id: "batch-edits",
  summary:
    "Edits in one batch of 1, 10, 100 … on the untouched model: how many hold, and what is left of everything else. Score as in single-edits, of the largest batch.",
  make: async (editor, edits, looks, look) => {
    for (const n of looks) {
      const { delta, model } = await editor.edit(edits.slice(0, n).map((edit) => edit.request));
      await look(n, model, [delta]);
    }
  },
});

type Editor = Awaited<ReturnType<typeof openEditor>>;

interface Way {
  readonly id: string;
  readonly summary: string;
  /** Calls `look` after every edit or batch; with the model where it is to be asked. */
  make(
    editor: Editor,
    edits: readonly ZooEdit[],
    looks: readonly number[],
    look: (edits: number, model: Model | undefined, deltas: readonly Delta[]) => Promise<void>,
  ): Promise<void>;
}

function manyEdits(way: Way): Scenario {
  return {
    id: way.id,
    paradigm: "editing",
    model: "zoo-lm",
    summary: way.summary,
    headline: "score",
    access: ["weights", "grad", "activations", "logits", "tokenizer"],
    options,
    run: async (cell, context) => {
      const { engine, seed, signal } = context;
      const sizes = options.parse(cell.options ?? {});
      const zoo = await context.shared("zoo", loadZoo);
      const key = `${sizes.people} ${seed} ${sizes.edits}`;
      const edits = await context.shared(`many edits ${key}`, () =>
        zooEdits(zoo, engine, { seed, count: sizes.edits, people: sizes.people, personsOnly: true, keepsControl: true }),
      );
      const reader = await createEditReader(engine, zoo.lm, textRules(zooTokenizer(zoo.world), { limits: zoo.lm.info }), { batchSize: 64 });
      const others = await openOtherTasks(zoo, seed, context);
      const editor = await openEditor(zoo, cell, context, sizes.editorSteps);
      try {
        const weights = copyOf(zoo.lm);
        const looks = looksAt(edits.length);
        const control = await context.shared(`control facts ${seed} ${sizes.people} ${sizes.control}`, () =>
          readControl(controlProbes(zoo.world, context.rng.split("control"), sizes), reader, zoo, signal),
        );
        const probes = await context.shared(`many edits before ${key}`, () => readProbes(edits, reader, zoo, signal));
        const otherBefore = await context.shared(`other tasks before ${seed}`, () => others.measure(zoo.lm, signal));
        const ranks = await keyRanks(cell, zoo, edits, looks, context);
        const curves = new Curves();
        const lasting: number[] = [];
        let [began, last, other]: [number, Look | undefined, OtherScores] = [performance.now(), undefined, otherBefore];
        let [bytes, size] = [0, 0];
        await way.make(editor, edits, looks, async (n, model, deltas) => {
          throwIfAborted(signal, `[@lfm/bench] edit ${n}`);
          lasting.push(performance.now() - began);
          if (model) {
            await reader.swap(model);
            last = await lookAt(n, edits, probes, control, sizes, reader, signal);
            other = await others.measure(model, signal);
            curves.add(n, last, other, ranks);
            bytes = deltas.reduce((sum, delta) => sum + deltaBytes(delta), 0);
            size = deltas.reduce((sum, delta) => sum + deltaSize(delta), 0);
          }
          context.progress({ phase: "edits", done: n, total: edits.length, unit: "edit" });
          began = performance.now();
        });
        if (!sameWeights(zoo.lm, weights))
          throw new LfmError("INTERNAL", `[@lfm/bench] ${cell.method.id}: the model is not what it was after its edits were dropped`);
        const retention = { ...retentionOf(otherBefore.reading, other.reading), of: "answers that stand in passages" };
        const { tally, first } = last!;
        return {
          metrics: {
            ...editMetrics(tally.scores()),
            ...otherMetrics([other], otherBefore),
            firstEdits: points(
              first,
              `of the first ${Math.min(FIRST, edits.length)} edits, those whose prompt is still gone on with as they want`,
            ),
            keyRank: {
              value: ranks.at(-1)!.effective,
              unit: "count",
              higherIsBetter: true,
              note: `directions that the keys of all edits span, by how much each is used; the layer is ${ranks.at(-1)!.width} wide`,
            },
            ...timeMetrics(lasting, edits.length),
            edits: { value: edits.length, unit: "count", higherIsBetter: true, note: "edits that were made" },
          },
          outputs: wrongOutputs(tally.worst()),
          retention,
          trainableParams: size,
          bytes,
          queries: 0,
          dataUsed: edits.length,
          monitors: [forgettingMonitor(retention)],
          curves: curves.of,
          phasesMs: { edit: lasting.reduce((a, b) => a + b, 0) },
          modelHash: zoo.lmHash,
        };
      } finally {
        await editor.dispose();
        await reader.dispose();
        await others.dispose();
      }
    },
  };
}

/** Facts of people of whom nothing is edited; all are of development. */
function controlProbes(world: World, rng: Rng, { control, people }: Sizes): readonly EditProbe[] {
  const facts = rng.sample(
    world.facts.filter((fact) => (people === "test" ? isDevelopment(world, fact) : isControl(world, fact))),
    control,
  );
  return facts.map((fact) => {
    const forms = trainedTemplates(world, fact.subject, fact.relation).filter((form) => form !== COMPACT);
    const { prompt, answer } = promptFor(world, fact, rng.pick(forms));
    return { kind: "unrelated", prompt, answer };
  });
}

interface Asked {
  readonly probes: readonly EditProbe[];
  readonly before: readonly ProbeReading[];
}

async function readControl(probes: readonly EditProbe[], reader: EditReader, { lm }: Zoo, signal: AbortSignal | undefined): Promise<Asked> {
  await reader.swap(lm);
  return { probes, before: await reader.read(probes, signal) };
}

/**
 * What is asked of each edit: what it should bring, other facts of its subject where no other edit is of that, and the relation of others of whom
 * nothing is edited.
 */
async function readProbes(
  edits: readonly ZooEdit[],
  reader: EditReader,
  { lm }: Zoo,
  signal: AbortSignal | undefined,
): Promise<readonly Asked[]> {
  const subjects = new Map<string, number>();
  for (const { fact } of edits) subjects.set(fact.subject, (subjects.get(fact.subject) ?? 0) + 1);
  await reader.swap(lm);
  const asked: Asked[] = [];
  for (const { probes, fact } of edits) {
    const own = probes.filter(({ kind, prompt }) => {
      if (kind === "same-subject") return subjects.get(fact.subject) === 1;
      if (kind === "same-value" || kind === "same-relation") return !prompt.split(" ").some((word) => subjects.has(word));
      return kind === "efficacy" || kind === "paraphrase" || kind === "unseen-form" || kind === "one-hop";
    });
    asked.push({ probes: own, before: await reader.read(own, signal) });
  }
  return asked;
}

interface Look {
  readonly tally: EditTally;
  /** Points of the first edits' prompts. */
  readonly first: number;
}

async function lookAt(
  n: number,
  edits: readonly ZooEdit[],
  asked: readonly Asked[],
  control: Asked,
  sizes: Sizes,
  reader: EditReader,
  signal: AbortSignal | undefined,
): Promise<Look> {
  const tally = new EditTally();
  let [held, counted] = [0, 0];
  for (const i of chosen(n, sizes.asked)) {
    const { probes, before } = asked[i]!;
    const after = await reader.read(probes, signal);
    tally.add(edits[i]!.name, probes, before, after);
    if (i < FIRST) {
      counted++;
      held += after[0]!.generated!.text.split(" ")[0] === edits[i]!.target ? 1 : 0;
    }
  }
  tally.add(`${n} edits of others`, control.probes, control.before, await reader.read(control.probes, signal));
  return { tally, first: (100 * held) / counted };
}

/** The first edits, as many of the last, and the rest evenly between. */
export function chosen(n: number, count: number): readonly number[] {
  if (n <= count) return Array.from({ length: n }, (_, i) => i);
  const ends = Math.min(FIRST, Math.floor(count / 3));
  const between = count - 2 * ends;
  const gap = n - 2 * ends;
  const middle = Array.from({ length: between }, (_, k) => ends + Math.floor(((k + 0.5) * gap) / between));
  return [...Array.from({ length: ends }, (_, i) => i), ...middle, ...Array.from({ length: ends }, (_, i) => n - ends + i)];
}

interface RankAt {
  readonly edits: number;
  readonly effective: number;
  readonly width: number;
}

/** Of the keys in the layer that the method's options name, else in the middle one; the same for all methods that write there. */
async function keyRanks(
  { config }: CellMethod,
  { lm }: Zoo,
  edits: readonly ZooEdit[],
  looks: readonly number[],
  { engine, seed, shared }: CellContext,
): Promise<readonly RankAt[]> {
  const named = [config.layer, ...(Array.isArray(config.layers) ? [...config.layers].reverse() : [])].find((v) => typeof v === "number");
  const layer = named ?? Math.floor(lm.info.layers / 2);
  return shared(`key ranks ${seed} ${edits[0]!.name} ${edits.length} ${layer}`, async () => {
    const { keys, width } = await keysOfEdits(
      engine,
      lm,
      layer,
      edits.map((edit) => edit.request),
    );
    return looks.map((n) => ({ edits: n, width, effective: rankOfKeys(keys.subarray(0, n * width), n, width).effective }));
  });
}

class Curves {
  readonly of: Record<string, [number, number][]> = {};

  add(n: number, { tally, first }: Look, other: OtherScores, ranks: readonly RankAt[]): void {
    const axes = axisScores(tally.scores());
    const values: Record<string, number | null> = {
      score: overallScore(axes),
      ...axes,
      "first edits": first,
      reading: 100 * other.reading,
      adapter: 100 * other.adapter,
      perplexity: other.perplexity,
      "key rank": ranks.find((r) => r.edits === n)!.effective,
    };
    for (const [name, value] of Object.entries(values)) {
      if (value === null || !Number.isFinite(value)) continue;
      const curve = `${name} by edits`;
      this.of[curve] = [...(this.of[curve] ?? []), [n, value]];
    }
  }
}

/** Time of an edit, and whether later ones take longer. */
function timeMetrics(lasting: readonly number[], edits: number): Awaited<ReturnType<Scenario["run"]>>["metrics"] {
  const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length;
  const all = {
    value: lasting.reduce((a, b) => a + b, 0) / edits,
    unit: "ms",
    higherIsBetter: false,
    note: "time of making all edits, over their number",
  };
  const tenth = Math.floor(lasting.length / 10);
  if (tenth < 2) return { editMs: all };
  // The very first compiles.
  const value = mean(lasting.slice(-tenth)) / mean(lasting.slice(1, 1 + tenth));
  return {
    editMs: all,
    slowing: {
      value,
      unit: "ratio",
      higherIsBetter: false,
      note: "time of the last tenth of the edits over the first, the very first left out",
    },
  };
}
