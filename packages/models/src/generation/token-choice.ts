import type { Rng } from "@lfm/core";
import { adjustLogits, nothingAllowed } from "./adjust-logits.js";
import { type Generated, StopRule, type TokenLogProb } from "./continuation.js";
import type { GenerateOptions } from "./generate-options.js";
import { logProbabilities, logProbability, mostProbable } from "./log-probabilities.js";
import { applyLogitRules, hasLogitRules, requireNumbers } from "./logit-rules.js";
import { sampleToken } from "./sampling.js";

/** What one continuation is chosen by. */
export interface ChoiceOptions {
  /** Number of its prompt, for messages and callbacks. */
  readonly sequence: number;
  /** New tokens that it may get. */
  readonly limit: number;
  readonly rng: Rng;
}

/** One continuation in progress: takes token after token, the most likely or a drawn one, and knows when it has come to its end. */
export class TokenChoice {
  /** New tokens so far, those that end it included. */
  readonly tokens: number[] = [];
  private readonly logProbs: number[] = [];
  private readonly top: (readonly TokenLogProb[])[] = [];
  private readonly o: GenerateOptions;
  private readonly own: ChoiceOptions;
  private readonly rule: StopRule;
  private readonly ruled: boolean;
  private end: ReturnType<StopRule["ended"]>;

  constructor(o: GenerateOptions, own: ChoiceOptions) {
    this.o = o;
    this.own = own;
    this.rule = new StopRule(o);
    this.ruled = hasLogitRules(o);
  }

  get ended(): boolean {
    return this.end !== undefined;
  }

  /**
   * Takes the next token.
   * @param logits f32[vocab], changed by rules and `adjust`
   * @param whole prompt and new tokens
   * @throws {LfmError} NUMERIC_DIVERGED for logits that are no numbers, CONFIG_INVALID where every token is forbidden
   */
  async take(logits: Float32Array, whole: () => readonly number[]): Promise<void> {
    const { o, tokens } = this;
    const { sequence, rng, limit } = this.own;
    requireNumbers(logits, sequence, tokens.length);
    if (this.ruled) applyLogitRules(logits, whole(), tokens.length, o, this.rule.eos);
    if (o.adjust && !(await adjustLogits(logits, { sequence, tokens }, o.adjust))) throw nothingAllowed(sequence, tokens.length);
    const token = sampleToken(logits, o, rng);
    const top = o.topLogProbs === undefined ? undefined : mostProbable(logProbabilities(logits), o.topLogProbs);
    const logProb = o.logProbs ? logProbability(logits, token) : undefined;
    if (logProb !== undefined) this.logProbs.push(logProb);
    if (top) this.top.push(top);
    tokens.push(token);
    this.end = this.rule.ended(tokens, limit);
    o.onToken?.(token, sequence, { ...(logProb === undefined ? {} : { logProb }), ...(top ? { top } : {}) });
  }

  /** What has come of it, once it has ended. */
  result(): Generated {
    const { o, tokens, logProbs, top, end } = this;
    const count = tokens.length - (end?.closing ?? 0);
    return {
      tokens: tokens.slice(0, count),
      finish: end?.finish ?? "length",
      ...(o.logProbs ? { logProbs: logProbs.slice(0, count) } : {}),
      ...(o.topLogProbs === undefined ? {} : { top: top.slice(0, count) }),
    };
  }
}
