import { type Delta, type HostTensor, joinDeltas, type MethodContext, type Model, ortEngine, padRows, Rng } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { type CounterfactRecord, counterfacts, statement, trainedTemplates } from "@lfm/data";
import { createPredictor } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { tokenCorpus } from "@lfm/statistics";
import { expect, it } from "vitest";
import { type EditRequest, grace, prepareEditor, wise } from "../src/index.js";

const EDITS = 1000;
/** Edits in turn whose times are compared. */
const TIMED = 100;

const { world, lm } = await loadZoo();
const { bos, encode, id } = world.vocabulary;
const promptOf = ({ requested_rewrite: r }: CounterfactRecord): number[] => [bos, ...encode(r.prompt.replace("{}", () => r.subject))];
const requestOf = (record: CounterfactRecord): EditRequest => {
  const { subject, target_new: target } = record.requested_rewrite;
  const prompt = promptOf(record);
  return { prompt, subjectEnd: prompt.lastIndexOf(id(subject)), target: [id(target.str)], start: 1 };
};
const rng = new Rng(5);
const truths = rng.sample(world.facts, 512).map((f) => statement(world, f, rng.pick(trainedTemplates(world, f.subject, f.relation))));
const corpus = tokenCorpus("true sentences", padRows(truths.map((text) => [bos, ...encode(text)])), 512);
const records = counterfacts(world, { seed: 11, count: EDITS });

/** Shares of the edits after whose prompt, and of neighbours that no edit is about after whose prompt, the right one of two words is likelier. */
async function scoresOf(model: Model): Promise<{ readonly efficacy: number; readonly neighbourhood: number }> {
  const edited = new Set(records.map(({ requested_rewrite: r }) => `${r.relation_id} ${r.subject}`));
  const people = new Set(world.entities);
  const asked = records.flatMap((record) => {
    const { relation_id: relation, target_new: wanted, target_true: before } = record.requested_rewrite;
    const others = record.neighborhood_prompts.filter(
      (prompt) => !prompt.split(" ").some((word) => people.has(word) && edited.has(`${relation} ${word}`)),
    );
    return [
      { kind: "efficacy" as const, row: promptOf(record), right: id(wanted.str), wrong: id(before.str) },
      ...others
        .slice(0, 1)
        .map((prompt) => ({ kind: "neighbourhood" as const, row: [bos, ...encode(prompt)], right: id(before.str), wrong: id(wanted.str) })),
    ];
  });
  const engine = await ortEngine({ threads: 1 });
  const predictor = await createPredictor(engine, model, "next", { batchSize: 64 });
  const said = await predictor.predict(asked.map((a) => a.row));
  await predictor.dispose();
  const share = (kind: string): number => {
    const of = asked.flatMap((a, i) => (a.kind === kind ? [Number(isRight(said[i]!, a))] : []));
    return (100 * of.reduce((a, b) => a + b, 0)) / of.length;
  };
  return { efficacy: share("efficacy"), neighbourhood: share("neighbourhood") };
}

function isRight({ data }: HostTensor, { right, wrong }: { readonly right: number; readonly wrong: number }): boolean {
  return data[right]! > data[wrong]!;
}

/** Milliseconds that this process has worked. */
function worked(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Half are less: a pause of the machine is no part of it. */
const median = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;

// The margins and the step are those for which held-out edits succeed on the zoo, whose projection reads 2,048 units. Every edit takes all its steps:
// the first, in an empty memory, would stop sooner than those in a crowded one, and time would tell nothing of what grows.
const ofZoo = { layer: 3, lr: 0.004, alpha: 1, beta: 4, gamma: 2, steps: 15, stopLoss: 0 };

it.each([
  ["grace", grace, {}, { efficacy: 99, neighbourhood: 100 }],
  ["wise", wise, ofZoo, { efficacy: 10, neighbourhood: 95 }],
] as const)(
  "a thousand edits in turn take the time of the first hundred each, no more memory, and one session: %s",
  async (_id, method, options, least) => {
    const sequence = async () => {
      const engine = countingEngine(await ortEngine({ threads: 1 }));
      const context: MethodContext = {
        engine,
        rng: new Rng(1),
        access: ["weights", "grad", "activations"],
        log: () => {},
        progress: () => {},
      };
      const editor = await prepareEditor(method, { model: lm, corpus }, options, context);
      const graphs: number[] = [];
      let previous: readonly Delta[] = [];
      let model: Model = lm;
      const edit = async (record: CounterfactRecord): Promise<number> => {
        const start = worked();
        const made = await editor.edit([requestOf(record)], previous);
        const time = worked() - start;
        model = made.model;
        // A side memory has the size of its layer: those that later ones stand in place of are let go.
        previous = method === wise ? joinDeltas([...previous, made.delta]) : [...previous, made.delta];
        graphs.push(engine.counts.compiled);
        return time;
      };
      return { edit, graphs, edited: () => model, dispose: () => editor.dispose() };
    };
    const long = await sequence();
    const memory: number[] = [];
    for (const record of records.slice(0, EDITS - TIMED)) {
      await long.edit(record);
      memory.push(process.memoryUsage().rss);
    }
    // The last hundred edits take turns with the first hundred of another sequence: the machine is the same for both.
    const young = await sequence();
    const [first, last]: [number[], number[]] = [[], []];
    for (const [i, record] of records.slice(-TIMED).entries()) {
      first.push(await young.edit(records[i]!));
      last.push(await long.edit(record));
    }
    await young.dispose();
    await long.dispose();
    const ratio = median(last.map((time, i) => time / first[i]!));
    const grown = Math.max(...memory.slice(-TIMED)) - Math.max(...memory.slice(0, 2 * TIMED));
    const model = long.edited();
    const scores = await scoresOf(model);
    console.log(
      `${method.id}: ${median(first).toFixed(1)} ms an edit at first, ${median(last).toFixed(1)} at last, ${ratio.toFixed(2)} times that; ` +
        `RSS ${(memory[199]! / 2 ** 20).toFixed(0)} MiB, grown by ${(grown / 2 ** 20).toFixed(0)}; ` +
        `compiled ${long.graphs[0]} graphs for the first, ${long.graphs.at(-1)} for all; ES ${scores.efficacy.toFixed(1)}, NS ${scores.neighbourhood.toFixed(1)}`,
    );
    expect(long.graphs.at(-1)).toBe(long.graphs[0]);
    expect(ratio).toBeLessThan(1.3);
    expect(grown).toBeLessThan(64 * 2 ** 20);
    expect(scores.efficacy).toBeGreaterThanOrEqual(least.efficacy);
    expect(scores.neighbourhood).toBeGreaterThanOrEqual(least.neighbourhood);
  },
);
