/** What ends a continuation. */
export interface StopOptions {
  /** Tokens, or sequences of tokens, that end a continuation. */
  readonly stop?: readonly (number | readonly number[])[];
  /** End-of-text tokens. */
  readonly eos?: number | readonly number[];
  /** Whether the new tokens end here by a rule of the caller's own; they all stay. */
  readonly stopWhen?: (tokens: readonly number[]) => boolean;
}

/** A token with its log p. */
export interface TokenLogProb {
  readonly token: number;
  readonly logProb: number;
}

export interface Generated {
  /** New tokens, without the prompt and without what ended them. */
  readonly tokens: number[];
  /** Why it ended: an end-of-text token, a stop sequence, or the length (maxNewTokens, or the model's longest sequence). */
  readonly finish: "eos" | "stop" | "length";
  /** log p of each of the tokens, where `logProbs` asked for them: after `adjust`, before temperature and cuts. */
  readonly logProbs?: number[];
  /** The most likely tokens at the place of each, the most likely first, where `topLogProbs` asked for them. */
  readonly top?: readonly (readonly TokenLogProb[])[];
  /** Of a beam search: the sum of log p, of what ended it too, divided by (number of tokens)^lengthPenalty. */
  readonly score?: number;
}

/** Tells whether tokens have come to an end. */
export class StopRule {
  /** Tokens that can end a continuation: one of them is the last of every way to end, its length aside. */
  readonly closing: ReadonlySet<number>;
  readonly eos: ReadonlySet<number>;
  private readonly stops: readonly (readonly number[])[];
  private readonly stopWhen: StopOptions["stopWhen"];

  constructor({ eos, stop, stopWhen }: StopOptions) {
    this.eos = new Set(eos === undefined ? [] : typeof eos === "number" ? [eos] : eos);
    this.stops = (stop ?? []).map((s) => (typeof s === "number" ? [s] : s)).filter((s) => s.length > 0);
    this.stopWhen = stopWhen;
    this.closing = new Set([...this.eos, ...this.stops.map((s) => s.at(-1)!)]);
  }

  /**
   * @param limit new tokens that there may be
   * @returns why the new tokens end here, and how many of the last of them only end them
   */
  ended(tokens: readonly number[], limit: number): { readonly finish: Generated["finish"]; readonly closing: number } | undefined {
    if (this.eos.has(tokens.at(-1)!)) return { finish: "eos", closing: 1 };
    const stop = this.stops.find((s) => s.length <= tokens.length && s.every((id, i) => tokens.at(i - s.length) === id));
    if (stop) return { finish: "stop", closing: stop.length };
    if (this.stopWhen?.(tokens)) return { finish: "stop", closing: 0 };
    return tokens.length >= limit ? { finish: "length", closing: 0 } : undefined;
  }
}
