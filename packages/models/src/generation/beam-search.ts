import { LfmError, throwIfAborted } from "@lfm/core";
import { adjustLogits, nothingAllowed } from "./adjust-logits.js";
import { type Generated, StopRule } from "./continuation.js";
import type { GenerateOptions } from "./generate-options.js";
import type { Generation } from "./generation.js";
import { applyLogitRules, hasLogitRules, requireNumbers } from "./logit-rules.js";

interface Beam {
  /** New tokens, and log p of each. */
  readonly tokens: readonly number[];
  readonly logProbs: readonly number[];
  readonly sum: number;
  /** Row of the generation that its last token goes on from. */
  readonly row: number;
}

interface Finished {
  readonly beam: Beam;
  readonly finish: Generated["finish"];
  /** Tokens that only ended it. */
  readonly closing: number;
  readonly score: number;
}

/** The search of one prompt. */
interface Search {
  readonly sequence: number;
  readonly limit: number;
  readonly running: readonly Beam[];
  readonly finished: readonly Finished[];
  readonly open: boolean;
}

/**
 * The most likely continuations that a search of `beams` ways finds, one for each row of `generation`, as transformers' beam search (5.24):
 * candidates that end are finished when they are among the best `beams`, and a search is over when the best way on could not beat the worst of
 * as many finished ones (or at once, with `earlyStopping`).
 * @param limits new tokens that each may get
 */
export async function beamSearch(generation: Generation, limits: readonly number[], o: GenerateOptions): Promise<Generated[]> {
  const rule = new StopRule(o);
  let searches = limits.map((limit, sequence): Search => {
    return { sequence, limit, running: [{ tokens: [], logProbs: [], sum: 0, row: sequence }], finished: [], open: true };
  });
  for (let step = 1; ; step++) {
    const after: Search[] = [];
    for (const search of searches) after.push(search.open ? await advance(generation, search, rule, o) : search);
    searches = after;
    const running = searches.flatMap((s) => (s.open ? s.running : []));
    if (running.length === 0) return searches.map((s) => resultOf(s, o));
    if (o.signal) await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(o.signal, `[@lfm/models] generate, after ${step} tokens`);
    generation.fork(running.map((b) => b.row));
    await generation.push(running.map((b) => [b.tokens.at(-1)!]));
    let row = 0;
    searches = searches.map((s) => (s.open ? { ...s, running: s.running.map((b) => ({ ...b, row: row++ })) } : s));
  }
}

async function advance(generation: Generation, search: Search, rule: StopRule, o: GenerateOptions): Promise<Search> {
  const { beams = 1, lengthPenalty = 1 } = o;
  const { sequence, limit, running } = search;
  const alive: Beam[] = [];
  const logProbs: Float32Array[] = [];
  for (const beam of running) {
    requireNumbers(generation.logits(beam.row), sequence, beam.tokens.length);
    // A way that `adjust` lets go nowhere is given up: the others may get further.
    if (o.adjust && !(await adjustLogits(generation.logits(beam.row), { sequence, tokens: beam.tokens }, o.adjust))) continue;
    alive.push(beam);
    const own = generation.logProbabilities(beam.row);
    if (hasLogitRules(o)) applyLogitRules(own, generation.tokens[beam.row]!, beam.tokens.length, o, rule.eos);
    logProbs.push(own);
  }
  if (alive.length === 0 && search.finished.length === 0) throw nothingAllowed(sequence, running[0]!.tokens.length);
  // So many that `beams` ways go on even where each of them could end in every way there is.
  const candidates = best(alive, logProbs, Math.max(2, 1 + rule.closing.size) * beams).map((beam, rank) => ({
    beam,
    rank,
    ended: rule.ended(beam.tokens, limit),
  }));
  const scoreOf = (beam: Beam): number => beam.sum / beam.tokens.length ** lengthPenalty;
  const next = candidates.flatMap(({ beam, ended }) => (ended ? [] : [beam])).slice(0, beams);
  const fresh = candidates.flatMap(({ beam, rank, ended }): Finished[] =>
    ended && rank < beams ? [{ beam, ...ended, score: scoreOf(beam) }] : [],
  );
  const finished = [...search.finished, ...fresh].sort((a, b) => b.score - a.score).slice(0, beams);
  const full = finished.length === beams;
  const worth = next.length > 0 && (!full || (!o.earlyStopping && scoreOf(next[0]!) > finished.at(-1)!.score));
  return { ...search, running: next, finished, open: worth };
}

/**
 * The `count` most likely continuations by one token, the most likely first, of equal ones that of the earlier beam and the smaller token;
 * fewer where no more are allowed.
 */
function best(running: readonly Beam[], logProbs: readonly Float32Array[], count: number): Beam[] {
  const found: { from: number; token: number; sum: number }[] = [];
  for (const [from, own] of logProbs.entries()) {
    const before = running[from]!.sum;
    for (let token = 0; token < own.length; token++) {
      const sum = before + own[token]!;
      if (sum === Number.NEGATIVE_INFINITY || (found.length === count && sum <= found[count - 1]!.sum)) continue;
      let at = found.length;
      while (at > 0 && found[at - 1]!.sum < sum) at--;
      found.splice(at, 0, { from, token, sum });
      if (found.length > count) found.pop();
    }
  }
  return found.map(({ from, token, sum }) => {
    const { tokens, logProbs: before, row } = running[from]!;
    return { tokens: [...tokens, token], logProbs: [...before, logProbs[from]![token]!], sum, row };
  });
}

function resultOf({ finished, sequence }: Search, o: GenerateOptions): Generated {
  const [first] = finished;
  if (!first) throw new LfmError("INTERNAL", `[@lfm/models] the beam search of prompt ${sequence} ended without a result`);
  const { beam, closing, finish, score } = first;
  const count = beam.tokens.length - closing;
  for (const [i, token] of beam.tokens.entries()) o.onToken?.(token, sequence, o.logProbs ? { logProb: beam.logProbs[i]! } : {});
  return { tokens: beam.tokens.slice(0, count), finish, score, ...(o.logProbs ? { logProbs: beam.logProbs.slice(0, count) } : {}) };
}
