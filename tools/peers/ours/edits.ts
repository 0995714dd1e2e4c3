import { readFileSync } from "node:fs";
import { createEngine, type Delta, needs, Rng, withDeltas } from "@lfm/core";
import { createAnswerScorer, editingMethods, prepareEditor } from "@lfm/editing";
import { loadModel } from "@lfm/models";
import { loadStats, requireKind } from "@lfm/statistics";
import type { EditsJob } from "../edits.js";
import type { Prepared } from "../serve.js";
import { THREADS } from "../side.js";

/** Makes the edits of a job, one a repetition, each on the untouched model; what is asked about them is scored at the end. */
export async function prepare(path: string): Promise<Prepared> {
  const job = JSON.parse(readFileSync(path, "utf8")) as EditsJob;
  const engine = await createEngine("ort", { threads: THREADS });
  const { model } = await loadModel(job.model);
  const method = editingMethods.find(({ id }) => id === job.method);
  if (!method) throw new Error(`no editing method "${job.method}"`);
  const context = { engine, rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
  const statistics = requireKind(loadStats(job.statistics), "gram", job.statistics);
  const { prefixes, config, parent } = job;
  const editor = await prepareEditor(method, { model, statistics, prefixes, parent }, config, context);
  const made: Delta[] = [];
  return {
    engine,
    repeat: async () => {
      const { delta, curves } = await editor.edit([job.requests[made.length]!]);
      made.push(delta);
      return curves.loss!.at(-1)![1];
    },
    told: async () => {
      await editor.dispose();
      const scorer = await createAnswerScorer(engine, model);
      const scores: boolean[][] = [];
      for (const [i, delta] of made.entries()) {
        await scorer.swap(withDeltas(model, [delta]));
        const asked = job.probes[i]!.flatMap(({ prompt, answer, rival }) => [
          { prompt, answer },
          { prompt, answer: rival },
        ]);
        const means = (await scorer.score(asked)).map(({ logProbs }) => logProbs.reduce((a, b) => a + b, 0) / logProbs.length);
        scores.push(job.probes[i]!.map((_, k) => means[2 * k]! > means[2 * k + 1]!));
      }
      await scorer.dispose();
      return { scores };
    },
  };
}
