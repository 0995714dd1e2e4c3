import { type AnyMethod, type Engine, LfmError, type MethodContext, type Model, throwIfAborted } from "@lfm/core";
import { createPredictor, type Predictor } from "@lfm/models";
import type { EditCase } from "./cases.js";
import { prepareEditor } from "./editor.js";
import type { EditorInputs } from "./inputs.js";

/** What edits of some cases bring, in shares of 1; null where no case asks. */
export interface CaseScores {
  /** Answers that are named first, token for token, after the prompt of the edit. */
  readonly written: number;
  /** The same after other prompts that ask the same. */
  readonly paraphrased: number | null;
  /** Tokens of unrelated sequences after which the model names first what it did before. */
  readonly unchanged: number | null;
  /** Harmonic mean of what there is. */
  readonly score: number;
}

export interface LayerScores extends CaseScores {
  readonly layer: number;
}

/**
 * Writes every case into every layer, each into the untouched model, and looks what became of it.
 * @param method one with an option `layer`
 * @returns in the order of the layers
 * @throws {LfmError} CONFIG_INVALID for a method without layers, or no cases; ABORTED, and what the method throws
 */
export async function sweepLayers(
  method: AnyMethod,
  inputs: EditorInputs,
  cases: readonly EditCase[],
  layers: readonly number[],
  config: Readonly<Record<string, unknown>>,
  context: MethodContext,
): Promise<readonly LayerScores[]> {
  if (!("layer" in method.config.shape))
    throw new LfmError("CONFIG_INVALID", `[@lfm/editing] ${method.id} writes into no single layer`, { hint: "sweep rome or ft-l" });
  if (cases.length === 0) throw new LfmError("CONFIG_INVALID", "[@lfm/editing] no edits to choose a layer by");
  const judge = await judgeOf(context.engine, inputs.model, cases);
  const found: LayerScores[] = [];
  try {
    for (const [i, layer] of layers.entries()) {
      const editor = await prepareEditor(method, inputs, { ...config, layer }, { ...context, progress: () => {} });
      try {
        const each: CaseCounts[] = [];
        for (const [j, one] of cases.entries()) {
          throwIfAborted(context.signal, "[@lfm/editing] layer sweep");
          const { model } = await editor.edit([one.request]);
          each.push(await judge.look(model, j));
          context.progress({ phase: "sweep", done: i * cases.length + j + 1, total: layers.length * cases.length, unit: "edit" });
        }
        found.push({ layer, ...scoresOf(each) });
      } finally {
        await editor.dispose();
      }
    }
  } finally {
    await judge.dispose();
  }
  return found;
}

/** The layer with the best score; of equals the first. */
export function bestLayer(scores: readonly LayerScores[]): LayerScores {
  return scores.reduce((best, s) => (s.score > best.score ? s : best));
}

/** Right ones and all of them. */
type Count = readonly [right: number, all: number];

interface CaseCounts {
  readonly written: Count;
  readonly paraphrased: Count;
  readonly unchanged: Count;
}

interface Judge {
  look(model: Model, which: number): Promise<CaseCounts>;
  dispose(): Promise<void>;
}

async function judgeOf(engine: Engine, model: Model, cases: readonly EditCase[]): Promise<Judge> {
  const clean = await createPredictor(engine, model, "logits");
  const before: (readonly (readonly number[])[])[] = [];
  for (const { unrelated } of cases) before.push(await namedBy(clean, unrelated));
  await clean.dispose();
  let edited: Predictor | undefined;
  return {
    look: async (model, which) => {
      if (edited) await edited.swap(model);
      edited ??= await createPredictor(engine, model, "logits");
      const { request, paraphrases, unrelated } = cases[which]!;
      const wordings = [request, ...paraphrases];
      const [said, far] = [
        await namedBy(
          edited,
          wordings.map(({ prompt, target }) => [...prompt, ...target]),
        ),
        await namedBy(edited, unrelated),
      ];
      const right = wordings.map(({ prompt, target }, i) => target.every((token, j) => said[i]![prompt.length + j - 1] === token));
      const same = far.flatMap((row, i) => row.map((token, j) => token === before[which]![i]![j]));
      return { written: countOf(right.slice(0, 1)), paraphrased: countOf(right.slice(1)), unchanged: countOf(same) };
    },
    dispose: async () => edited?.dispose(),
  };
}

function countOf(right: readonly boolean[]): Count {
  return [right.filter(Boolean).length, right.length];
}

/** The token that is named first after each of every sequence. */
async function namedBy(predictor: Predictor, sequences: readonly (readonly number[])[]): Promise<readonly (readonly number[])[]> {
  if (sequences.length === 0) return [];
  const logits = await predictor.predict(sequences);
  return logits.map(({ data, shape }) => {
    const [length, vocabulary] = shape as readonly [number, number];
    return Array.from({ length }, (_, t) => {
      const row = (data as Float32Array).subarray(t * vocabulary, (t + 1) * vocabulary);
      return row.reduce((best, v, token) => (v > row[best]! ? token : best), 0);
    });
  });
}

function scoresOf(each: readonly CaseCounts[]): CaseScores {
  const share = (name: keyof CaseCounts): number | null => {
    const [right, all] = each.reduce<Count>(([r, n], c) => [r + c[name][0], n + c[name][1]], [0, 0]);
    return all === 0 ? null : right / all;
  };
  const [written, paraphrased, unchanged] = [share("written") ?? 0, share("paraphrased"), share("unchanged")];
  const there = [written, paraphrased, unchanged].filter((v) => v !== null);
  const score = there.includes(0) ? 0 : there.length / there.reduce((s, v) => s + 1 / v, 0);
  return { written, paraphrased, unchanged, score };
}
