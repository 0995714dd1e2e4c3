import {
  compileModel,
  crossEntropyPerItem,
  dimSub,
  type Engine,
  i32,
  LfmError,
  type Model,
  type Progress,
  slice,
  sym,
  throwIfAborted,
} from "@lfm/core";
import { meanError } from "./uncertain.js";

export interface PerplexityOptions {
  /** Tokens that a model sees at a time. */
  readonly window: number;
  /** Tokens that the next window goes on by: `window` for windows side by side, fewer so that tokens are seen with more before them. */
  readonly stride: number;
  readonly signal?: AbortSignal;
  readonly progress?: (progress: Progress) => void;
}

export interface Perplexity {
  /** e to the mean loss. */
  readonly perplexity: number;
  /** Its standard error, as if the losses of tokens were independent. */
  readonly perplexityError: number;
  /** Mean loss per token that counts, in nats. */
  readonly loss: number;
  readonly lossError: number;
  /** Tokens that count. */
  readonly tokens: number;
  readonly windows: number;
}

/**
 * Perplexity of a long text in windows, by the recipe of transformers' documentation ("Perplexity of fixed-length models"): of each window only
 * tokens count that no window before had; a window's mean loss counts as often as it brings tokens, less one.
 * @param ids tokens of the text, with what its tokenizer puts in front
 * @throws {LfmError} CONFIG_INVALID for a text that leaves nothing to predict, ABORTED
 */
export async function measurePerplexity(
  engine: Engine,
  model: Model,
  ids: readonly number[],
  { window, stride, signal, progress }: PerplexityOptions,
): Promise<Perplexity> {
  const cuts = windowsOf(ids.length, window, stride);
  const f = await compileModel(engine, model, { tokens: { dtype: "i32", shape: [1, sym("seq")] } }, ({ tokens }, params, at) => {
    const seq = tokens.dim(1);
    const { logits, prefix } = at.forward(params, { tokens }, { mode: "eval" });
    const before = slice(slice(logits!, 1, prefix ?? 0, seq), 1, 0, dimSub(seq, 1));
    return { losses: crossEntropyPerItem(before, slice(tokens, 1, 1, dimSub(seq, 1))) };
  });
  try {
    let [sum, weight] = [0, 0];
    const losses: number[] = [];
    for (const [i, { from, to, fresh }] of cuts.entries()) {
      throwIfAborted(signal, "lfm: eval");
      const out = await f({ tokens: i32(ids.slice(from, to), [1, to - from]) });
      const own = Array.from(out.losses.data.slice(-Math.min(fresh, to - from - 1)), Number);
      sum += (own.reduce((a, b) => a + b, 0) / own.length) * (fresh - 1);
      weight += fresh - 1;
      losses.push(...own);
      progress?.({ phase: "perplexity", done: i + 1, total: cuts.length, unit: "window" });
    }
    const loss = sum / weight;
    const perplexity = Math.exp(loss);
    const lossError = meanError(losses);
    return { perplexity, perplexityError: perplexity * lossError, loss, lossError, tokens: weight, windows: cuts.length };
  } finally {
    await f.dispose();
  }
}

interface Window {
  readonly from: number;
  readonly to: number;
  /** Tokens at its end that no window before had. */
  readonly fresh: number;
}

/** Windows over `length` tokens; one that would bring a single token has nothing to predict and is left out. */
function windowsOf(length: number, window: number, stride: number): readonly Window[] {
  if (stride > window || window < 2)
    throw new LfmError("CONFIG_INVALID", `lfm: windows of ${window} tokens with a stride of ${stride} leave tokens out`, {
      hint: `--window ${Math.max(2, window)} --stride ${Math.max(2, window)}`,
    });
  const windows: Window[] = [];
  for (let [from, seen] = [0, 0]; seen < length; from += stride) {
    const to = Math.min(from + window, length);
    if (to - seen > 1) windows.push({ from, to, fresh: to - seen });
    seen = to;
  }
  if (windows.length === 0) throw new LfmError("CONFIG_INVALID", `lfm: a text of ${length} tokens leaves nothing to predict`);
  return windows;
}
