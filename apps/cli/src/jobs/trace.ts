import { existsSync } from "node:fs";
import { el, heatMapParts, heatMapSize, svgFile } from "@lfm/bench/charts";
import { type HostTensor, LfmError, Rng } from "@lfm/core";
import { readEdits } from "@lfm/data";
import {
  averageEffects,
  type CausalTrace,
  caseOfRecord,
  compileTracer,
  effectsOf,
  embeddingDeviation,
  subjectNoise,
  subjectSpan,
  type TracedPart,
  type Tracer,
  tokenGroups,
  tracedParts,
  traceWindow,
} from "@lfm/editing";
import { writeTextFile } from "@lfm/formats";
import { promptIds, type TextRules } from "@lfm/models";
import { engineOf } from "../inputs/engine.js";
import { requireText, resolveModel } from "../inputs/models.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

export interface TraceJobRequest extends JobRequest {
  readonly model: string;
  readonly delta?: readonly string[];
  /** One prompt with {} where its subject stands, or: */
  readonly prompt?: string;
  readonly subject?: string;
  /** prompts of a file. */
  readonly requests?: string;
  readonly facts: number;
  readonly parts?: readonly string[];
  readonly window?: number;
  readonly draws: number;
  readonly noise: number;
  readonly overwrite?: boolean;
}

/** A prompt as it is traced. */
interface Placed {
  readonly prompt: readonly number[];
  readonly subject: readonly [start: number, end: number];
}

/** `lfm edit trace`: where a model holds what it says of a subject, by causal tracing; the heat map as an SVG. */
export async function trace(request: TraceJobRequest, job: JobContext): Promise<JobResult> {
  const { out, overwrite, draws, noise } = request;
  const parts = (request.parts ?? tracedParts).map(requirePart);
  if (out !== undefined && existsSync(out) && !overwrite)
    throw new LfmError("CONFIG_INVALID", `lfm: ${out} is there already`, { hint: "choose another file, or --overwrite" });
  const m = await resolveModel(request.model, request.delta ?? [], job);
  const rules = requireText(m);
  const prompts = promptsOf(request, rules);
  const { layers } = m.model.info;
  const window = request.window ?? traceWindow(layers);
  const tracer = await compileTracer(await engineOf(request), m.model, parts);
  try {
    const deviation = noise * (await subjectDeviation(tracer, prompts));
    const rng = new Rng(request.seed ?? 0).split("trace");
    const traces: (Placed & { readonly trace: CausalTrace })[] = [];
    for (const [i, one] of prompts.entries()) {
      const [start, end] = one.subject;
      const epsilon = subjectNoise(rng.split(i), [draws, end - start, m.model.info.hiddenSize], deviation);
      const run = {
        progress: (p: Parameters<JobContext["progress"]>[0]) => job.progress(p),
        ...(job.signal ? { signal: job.signal } : {}),
      };
      traces.push({ ...one, trace: await tracer.trace(one, { noise: epsilon, window }, run) });
    }
    const word = (token: number): string => rules.tokenizer.decode([token]);
    const [first] = traces as [(typeof traces)[number]];
    const single = traces.length === 1;
    const rows = single ? first.prompt.map((token, i) => (within(i, first.subject) ? `${word(token)}*` : word(token))) : [...tokenGroups];
    const grids = Object.fromEntries(
      parts.map((part) => [part, single ? effectsOf(first.trace, part) : averageEffects(traces, part, layers)]),
    );
    const mean = (of: (t: CausalTrace) => number): number => traces.reduce((s, t) => s + of(t.trace), 0) / traces.length;
    const [clean, corrupted] = [mean((t) => t.clean), mean((t) => t.corrupted)];
    if (out !== undefined) writeTextFile(out, drawing(m.name, rows, layers, grids));
    const answer = single ? { answer: word(first.trace.answer) } : {};
    return {
      value: {
        model: m.name,
        prompts: traces.length,
        ...answer,
        clean,
        corrupted,
        noise: deviation,
        window,
        draws,
        rows,
        effects: grids,
        ...(out ? { out } : {}),
      },
      text: [
        `${single ? `"${word(first.trace.answer).trim()}"` : `answers to ${traces.length} prompts`}: p ${clean.toFixed(4)}, under noise ${corrupted.toFixed(4)}`,
        ...parts.map((part) => bestLine(part, rows, grids[part]!)),
        ...(out ? [`heat map: ${out}`] : []),
      ].join("\n"),
    };
  } finally {
    await tracer.dispose();
  }
}

/** @throws {LfmError} CONFIG_INVALID */
function requirePart(name: string): TracedPart {
  const part = tracedParts.find((p) => p === name);
  if (part) return part;
  throw new LfmError("CONFIG_INVALID", `lfm: "${name}" is no part of a block that could be put back`, {
    hint: `--parts ${tracedParts.join(",")}`,
  });
}

function within(token: number, [start, end]: Placed["subject"]): boolean {
  return token >= start && token < end;
}

/** @throws {LfmError} CONFIG_INVALID, FILE_FORMAT, FILE_IO */
function promptsOf({ prompt, subject, requests, facts }: TraceJobRequest, rules: TextRules): readonly Placed[] {
  if ((requests === undefined) === (prompt === undefined || subject === undefined))
    throw new LfmError("CONFIG_INVALID", "lfm: give --prompt and --subject, or --requests", {
      hint: '--prompt "the home of {} is" --subject Ada',
    });
  if (requests !== undefined) {
    const found = readEdits(requests).flatMap((record) => caseOfRecord(rules, record) ?? []);
    if (found.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: the model can read none of the facts of ${requests}`);
    return found.slice(0, facts).map(({ request, subjectStart = request.subjectEnd }) => ({
      prompt: request.prompt,
      subject: [subjectStart, request.subjectEnd + 1],
    }));
  }
  const at = prompt!.indexOf("{}");
  if (at < 0)
    throw new LfmError("CONFIG_INVALID", "lfm: --prompt lacks {}, where the subject stands", { hint: '--prompt "the home of {} is"' });
  const text = prompt!.replace("{}", () => subject!);
  return [{ prompt: promptIds(rules, text), subject: subjectSpan(rules, text, at, subject!) }];
}

/** Of what the model has for the subjects before its first block. */
async function subjectDeviation(tracer: Tracer, prompts: readonly Placed[]): Promise<number> {
  const seen: HostTensor[] = [];
  for (const { prompt, subject } of prompts) {
    const { data, shape } = await tracer.embeddings(prompt);
    const width = shape[1]!;
    const own = (data as Float32Array).slice(subject[0] * width, subject[1] * width);
    seen.push({ dtype: "f32", shape: [subject[1] - subject[0], width], data: own });
  }
  return embeddingDeviation(seen);
}

type Grid = readonly (readonly (number | null)[])[];

function bestLine(part: string, rows: readonly string[], grid: Grid): string {
  const cells = grid.flatMap((row, token) => row.map((effect, block) => ({ token, block, effect: effect ?? Number.NEGATIVE_INFINITY })));
  const best = cells.reduce((a, b) => (b.effect > a.effect ? b : a));
  return `${part}: most comes back in block ${best.block} at ${rows[best.token]!.trim()} (+${best.effect.toFixed(4)})`;
}

function drawing(model: string, rows: readonly string[], blocks: number, grids: Readonly<Record<string, Grid>>): string {
  const columns = Array.from({ length: blocks }, (_, i) => `${i}`);
  const { width, height } = heatMapSize({ rows, columns });
  const panels = Object.entries(grids).map(([part, values], i) =>
    el(
      "g",
      { transform: `translate(${i * width} 0)` },
      heatMapParts({ title: `indirect effect of ${part === "state" ? "states" : part} by block`, rows, columns, values }),
    ),
  );
  return svgFile(width * panels.length, height, `Causal trace of ${model}: indirect effects by token and block`, panels);
}
