import { inputsOf, type Model, parseConfig, Rng } from "@lfm/core";
import {
  averageEffects,
  bestLayer,
  compileTracer,
  type EditCase,
  embeddingDeviation,
  subjectNoise,
  sweepLayers,
  traceWindow,
} from "@lfm/editing";
import { openEditCases } from "../inputs/edit-cases.js";
import { openGram, openKeyCorpus } from "../inputs/keys.js";
import { Sources } from "../inputs/sources.js";
import { loadMethod } from "../paradigms.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { methodContext } from "../program/job-context.js";
import { formatTable } from "../render/table.js";

export interface WhereRequest extends JobRequest {
  readonly method: string;
  readonly edits: number;
  readonly layers?: readonly number[];
  readonly draws: number;
  readonly noise: number;
}

/** Place of "last subject token" among groups of tokens: where methods that write facts take their keys. */
const LAST_SUBJECT = 2;

/** `lfm edit where`: into which layer to write, by causal tracing and by development edits written into one layer after the other. */
export async function where(request: WhereRequest, job: JobContext): Promise<JobResult> {
  const method = await loadMethod(`editing/${request.method}`);
  const config: Readonly<Record<string, unknown>> = parseConfig(method, request.config ?? {}, request.preset);
  const s = new Sources(request, config, await methodContext(request, job), job, inputsOf(method));
  const [{ model, hash, name }, all] = [await s.reader(), await openEditCases(s)];
  const cases = new Rng(request.seed ?? 0).split("where").sample(all, request.edits);
  const layers = request.layers ?? Array.from({ length: model.info.layers }, (_, i) => i);
  const effects = await tracedEffects(model, cases, request, s);
  const [corpus, statistics] = [await openKeyCorpus(s), await openGram(s)];
  const given = { model, parent: await hash(), ...(corpus ? { corpus } : {}), ...(statistics ? { statistics } : {}) };
  const scores = await sweepLayers(method, given, cases, layers, config, s.context);
  const best = bestLayer(scores);
  const rows = scores.map((score) => ({ ...score, indirectEffect: effects[score.layer]! }));
  const traced = effects.indexOf(Math.max(...effects));
  const share = (value: number | null): string => (value === null ? "–" : (100 * value).toFixed(1));
  return {
    value: { model: name, method: method.id, edits: cases.length, layers: rows, best: best.layer, traced },
    text: [
      formatTable(rows, [
        { title: "layer", value: (r) => `${r.layer}`, align: "right" },
        { title: "MLP's indirect effect", value: (r) => r.indirectEffect.toFixed(4), align: "right" },
        { title: "written %", value: (r) => share(r.written), align: "right" },
        { title: "paraphrased %", value: (r) => share(r.paraphrased), align: "right" },
        { title: "unchanged %", value: (r) => share(r.unchanged), align: "right" },
        { title: "score", value: (r) => share(r.score), align: "right" },
      ]),
      `${cases.length} edits by ${method.id}: write into layer ${best.layer} (--layer ${best.layer}); the last subject token's MLPs give most back around block ${traced}`,
    ].join("\n"),
  };
}

/** Mean indirect effects of the MLPs at the last token of subjects, by block. */
async function tracedEffects(
  model: Model,
  cases: readonly EditCase[],
  { draws, noise }: WhereRequest,
  { context }: Sources,
): Promise<readonly number[]> {
  const tracer = await compileTracer(context.engine, model, ["mlp"]);
  try {
    const { layers, hiddenSize } = model.info;
    const placed = cases.map(({ request, subjectStart = request.subjectEnd }) => ({
      prompt: request.prompt,
      subject: [subjectStart, request.subjectEnd + 1] as const,
    }));
    const embeddings = [];
    for (const { prompt } of placed) embeddings.push(await tracer.embeddings(prompt));
    const deviation = noise * embeddingDeviation(embeddings);
    const rng = context.rng.split("trace");
    const traces = [];
    for (const [i, one] of placed.entries()) {
      const epsilon = subjectNoise(rng.split(i), [draws, one.subject[1] - one.subject[0], hiddenSize], deviation);
      const trace = await tracer.trace(one, { noise: epsilon, window: traceWindow(layers) }, { ...context, progress: () => {} });
      traces.push({ ...one, trace });
      context.progress({ phase: "trace", done: i + 1, total: placed.length, unit: "prompt" });
    }
    return averageEffects(traces, "mlp", layers)[LAST_SUBJECT]!.map((effect) => effect ?? 0);
  } finally {
    await tracer.dispose();
  }
}
