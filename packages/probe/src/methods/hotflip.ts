/**
 * HotFlip (Ebrahimi et al., arXiv 1712.06751) on tokens: of all exchanges of one token, that which the derivative promises to raise the loss most,
 * argmax (e_new − e_old)·∂L/∂e_old; several in a row by beam search. Its promise is of first order: what a flip does is measured before it is kept.
 */
import { f32, type HostTensor, i32, LfmError, throwIfAborted } from "@lfm/core";
import { type TextRules, textRulesInput } from "@lfm/models";
import { z } from "zod";
import { compileMoved, type MovedInputs } from "../adversarial/moved-inputs.js";
import { type InputAttackInputs, inputAttackInputs } from "../adversarial/moved-options.js";
import { brokenInputs } from "../adversarial/robustness.js";
import { questionsOf } from "../asked.js";
import { defineProbe } from "../define-probe.js";

const config = z.strictObject({
  flips: z.number().int().positive().default(2).describe("tokens of a text that may be exchanged"),
  beam: z.number().int().positive().default(10).describe("candidates that are measured and kept at a time"),
  minCosine: z.number().min(-1).max(1).default(0.8).describe("cosine between the vectors of a token and of what takes its place, at least"),
  keep: z.array(z.number().int().min(0)).default([]).describe("ids that stay and are never put in, beside those of special tokens"),
});

interface HotflipInputs extends InputAttackInputs {
  /** Its special tokens stay where they are. */
  readonly text?: TextRules;
}

export const hotflip = defineProbe<HotflipInputs, typeof config>({
  id: "hotflip",
  summary: "Exchanges the tokens whose derivative promises the largest loss.",
  paper: { title: "HotFlip: White-Box Adversarial Examples for Text Classification", arxiv: "1712.06751", year: 2018 },
  needs: ["weights", "grad"],
  inputs: { ...inputAttackInputs, text: { kind: textRulesInput, optional: true } },
  config,
  attack: async ({ victim, examples, text: rules }, c, context) => {
    const questions = questionsOf(victim, examples);
    if (questions.kind !== "tokens")
      throw new LfmError("CAPABILITY_MISSING", `[@lfm/probe] hotflip: ${victim.info.architecture} reads no tokens`, { hint: "fgm, pgd" });
    const moved = await compileMoved(context.engine, victim, examples);
    const keep = new Set([...c.keep, ...Object.values(rules?.tokenizer.specials ?? {})]);
    const [right, still]: [number[], number[]] = [[], []];
    let [queries, flipped, broken] = [0, 0, 0];
    try {
      const total = questions.sequences.length;
      for (const [i, text] of questions.sequences.entries()) {
        const label = questions.labels[i]!;
        const clean = await measure(moved, [text], label);
        queries++;
        right.push(clean.right[0]!);
        let [beam, fooled] = [[text], false];
        for (let step = 0; step < c.flips && clean.right[0] === 1 && !fooled; step++) {
          throwIfAborted(context.signal, "[@lfm/probe] hotflip");
          const candidates = await promisedFlips(moved, beam, label, c.beam, (from, to) => !keep.has(from) && !keep.has(to), c.minCosine);
          queries += beam.length;
          if (candidates.length === 0) break;
          const tried = await measure(
            moved,
            candidates.map((f) => f.tokens),
            label,
          );
          queries += candidates.length;
          const order = [...candidates.keys()].sort((a, b) => tried.losses[b]! - tried.losses[a]!);
          fooled = tried.right.includes(0);
          beam = order.map((k) => candidates[k]!.tokens);
          if (fooled) flipped += step + 1;
        }
        if (fooled) broken++;
        still.push(clean.right[0] === 1 && !fooled ? 1 : 0);
        context.progress({ phase: "attack", done: i + 1, total, unit: "text" });
        throwIfAborted(context.signal, "[@lfm/probe] hotflip");
      }
    } finally {
      await moved.dispose();
    }
    return brokenInputs(right, still, queries, { measured: broken > 0 ? { flips: flipped / broken } : {} });
  },
});

/** An exchange of one token, and the rise of the loss that the derivative promises. */
export interface PromisedFlip {
  readonly tokens: readonly number[];
  readonly place: number;
  readonly token: number;
  readonly gain: number;
}

/**
 * The exchanges of one token in any of some texts that promise most, the best first.
 * @param allowed whether a token may give place to another; @param minCosine between their vectors
 */
export async function promisedFlips(
  moved: MovedInputs,
  texts: readonly (readonly number[])[],
  label: number,
  count: number,
  allowed: (from: number, to: number) => boolean = () => true,
  minCosine = -1,
): Promise<readonly PromisedFlip[]> {
  const batch = batchOf(texts, label);
  const [rows, width] = moved.table!.shape as readonly [number, number];
  const table = moved.table!.data as Float32Array;
  const { gradient } = await moved.gradients(batch, new Float32Array(texts.length * moved.width(batch)));
  const seq = batch.tokens.shape[1]!;
  const found: PromisedFlip[] = [];
  // What promises less than this has no place any more.
  let floor = Number.NEGATIVE_INFINITY;
  for (const [t, tokens] of texts.entries())
    for (const [place, from] of tokens.entries()) {
      const g = gradient.subarray((t * seq + place) * width, (t * seq + place + 1) * width);
      const own = table.subarray(from * width, (from + 1) * width);
      const base = dot(own, g);
      for (let token = 0; token < rows; token++) {
        if (token === from || !allowed(from, token)) continue;
        const other = table.subarray(token * width, (token + 1) * width);
        const gain = dot(other, g) - base;
        if (gain < floor) continue;
        if (minCosine > -1 && cosine(own, other) < minCosine) continue;
        found.push({ tokens: tokens.map((id, i) => (i === place ? token : id)), place, token, gain });
        if (found.length >= 4 * count) {
          trim(found, count);
          floor = found.at(-1)!.gain;
        }
      }
    }
  trim(found, count);
  return found;
}

/** Leaves the best, the best first. */
function trim(flips: PromisedFlip[], count: number): void {
  flips.sort((a, b) => b.gain - a.gain || a.place - b.place || a.token - b.token);
  flips.length = Math.min(flips.length, count);
}

/** Losses of texts of one label, and which are answered right. */
export async function measure(
  moved: MovedInputs,
  texts: readonly (readonly number[])[],
  label: number,
): Promise<{ readonly losses: readonly number[]; readonly right: readonly number[] }> {
  const batch = batchOf(texts, label);
  const { losses, right } = await moved.answers(batch, new Float32Array(texts.length * moved.width(batch)));
  return { losses: Array.from(losses), right: Array.from(right) };
}

function batchOf(texts: readonly (readonly number[])[], label: number): Record<"tokens" | "mask" | "labels", HostTensor> {
  const seq = texts[0]!.length;
  const shape = [texts.length, seq];
  return {
    tokens: i32(texts.flat(), shape),
    mask: f32(new Float32Array(texts.length * seq).fill(1), shape),
    labels: i32(texts.map(() => label)),
  };
}

function dot(a: Float32Array, b: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function cosine(a: Float32Array, b: Float32Array): number {
  const lengths = Math.sqrt(dot(a, a) * dot(b, b));
  return lengths === 0 ? 0 : dot(a, b) / lengths;
}
