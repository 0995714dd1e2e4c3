import { compileLens } from "@lfm/editing";
import { promptIds } from "@lfm/models";
import { engineOf } from "../inputs/engine.js";
import { requireText, resolveModel } from "../inputs/models.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatTable } from "../render/table.js";

export interface LensRequest extends JobRequest {
  readonly model: string;
  readonly delta?: readonly string[];
  readonly prompt: string;
  readonly top: number;
}

/** `lfm edit lens`: what every block of a model would name after a prompt. */
export async function lens(request: LensRequest, job: JobContext): Promise<JobResult> {
  const m = await resolveModel(request.model, request.delta ?? [], job);
  const rules = requireText(m);
  const ids = promptIds(rules, request.prompt);
  const found = await compileLens(await engineOf(request), m.model, request.top);
  try {
    const word = (token: number): string => rules.tokenizer.decode([token]);
    const blocks = (await found.read(ids)).map((row, i) => ({
      block: i === 0 ? "embeddings" : `${i - 1}`,
      named: row.map((tokens) => tokens.map(({ token, probability }) => ({ text: word(token), probability }))),
    }));
    const shown = (named: readonly { readonly text: string; readonly probability: number }[]): string =>
      named.map(({ text, probability }) => `${text.trim()} ${probability.toFixed(3)}`).join("  ");
    return {
      value: { model: m.name, prompt: request.prompt, tokens: ids.map(word), blocks },
      text: formatTable(blocks, [
        { title: "block", value: (b) => b.block, align: "right" },
        { title: "names next", value: (b) => shown(b.named.at(-1)!) },
      ]),
    };
  } finally {
    await found.dispose();
  }
}
