import { type Engine, LfmError } from "@lfm/core";
import { readExamples, readTextFile } from "@lfm/data";
import { idsOfText } from "@lfm/models";
import { single } from "@lfm/tuning";
import { type OpenedModel, requireText } from "../inputs/models.js";
import { measurePerplexity } from "../outputs/perplexity.js";
import type { JobContext, JobResult } from "../program/job.js";

export interface PerplexityRequest {
  readonly data: string;
  readonly delta?: readonly string[];
  readonly window?: number;
  readonly stride?: number;
  /** Tokens of the text's beginning that are looked at; default all. */
  readonly maxTokens?: number;
}

/** Tokens of a window where nobody says how many and the model would take more. */
const WINDOW = 1024;

/**
 * `lfm eval --perplexity`: how well a language model predicts a text.
 * @throws {LfmError} CAPABILITY_MISSING for another model, CONFIG_INVALID for windows that it cannot take; FILE_IO, FILE_FORMAT
 */
export async function perplexityOf(
  m: Pick<OpenedModel, "name" | "model" | "text">,
  request: PerplexityRequest,
  engine: Engine,
  job: JobContext,
): Promise<JobResult> {
  if (m.model.info.task !== "causal-lm")
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${m.name} is no language model of running text: it has no perplexity`, {
      hint: "leave --perplexity out",
    });
  const rules = requireText(m);
  const most = m.model.info.maxLength;
  const window = request.window ?? Math.min(WINDOW, most ?? WINDOW);
  if (most !== undefined && window > most)
    throw new LfmError("CONFIG_INVALID", `lfm: ${m.name} reads ${most} tokens at a time, not ${window}`, { hint: `--window ${most}` });
  const stride = request.stride ?? window;
  const all = [...rules.start, ...idsOfText(rules, textOf(request.data))];
  const ids = all.slice(0, request.maxTokens);
  const found = await measurePerplexity(engine, m.model, ids, {
    window,
    stride,
    ...(job.signal ? { signal: job.signal } : {}),
    progress: (p) => job.progress(p),
  });
  const { delta = [], data } = request;
  const { perplexity, perplexityError, loss, lossError, tokens, windows } = found;
  return {
    value: {
      model: m.name,
      deltas: delta,
      data,
      window,
      stride,
      windows,
      tokens,
      metrics: { perplexity, loss },
      standardErrors: { perplexity: perplexityError, loss: lossError },
    },
    text: `${m.name}${delta.map((d) => ` + ${d}`).join("")} on ${tokens.toLocaleString("en")} tokens of ${data}, windows of ${window}${stride === window ? "" : `, stride ${stride}`}: perplexity ${perplexity.toFixed(4)} ± ${perplexityError.toFixed(4)}, loss ${loss.toFixed(4)} ± ${lossError.toFixed(4)}`,
  };
}

/** A .txt as it stands; of a file of examples its texts, with an empty line between them. */
function textOf(path: string): string {
  if (!/\.(jsonl|ndjson|json|csv|tsv)$/i.test(path)) return readTextFile(path, "give a file of text");
  const examples = readExamples(path);
  if (examples.kind === "text") return examples.rows.map(single).join("\n\n");
  throw new LfmError("CONFIG_INVALID", `lfm: ${path} holds ${examples.kind}, no running text`, { hint: "leave --perplexity out" });
}
