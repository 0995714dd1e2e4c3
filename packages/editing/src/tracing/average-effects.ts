import type { CausalTrace, TracedPart } from "./causal-trace.js";

/** What tokens of prompts have in common, as the paper's figures group them (arXiv 2202.05262, figure 2). What stands before the subject has no effect. */
export const tokenGroups = [
  "first subject token",
  "middle subject tokens",
  "last subject token",
  "first subsequent token",
  "further tokens",
  "last token",
] as const;

/** Indirect effects of a part: how much of the answer's probability each state gives back, by token and block. */
export function effectsOf({ restored, corrupted }: CausalTrace, part: TracedPart): readonly (readonly number[])[] {
  return (restored[part] ?? []).map((row) => row.map((p) => p - corrupted));
}

/** A trace with where its subject stood. */
export interface PlacedTrace {
  readonly trace: CausalTrace;
  /** Its first token, and the place behind its last. */
  readonly subject: readonly [start: number, end: number];
}

/**
 * Mean indirect effects of several prompts, by {@link tokenGroups} and block: first within a prompt, then over those that have such tokens.
 * @returns null for groups that no prompt has
 */
export function averageEffects(traces: readonly PlacedTrace[], part: TracedPart, blocks: number): readonly (readonly (number | null)[])[] {
  return tokenGroups.map((_, group) => {
    const rows = traces.flatMap(({ trace, subject }) => {
      const effects = effectsOf(trace, part);
      const own = effects.filter((_, token) => groupOf(token, effects.length, subject) === group);
      return own.length > 0 ? [meanRow(own)] : [];
    });
    return rows.length > 0 ? meanRow(rows) : Array.from({ length: blocks }, () => null);
  });
}

function meanRow(rows: readonly (readonly number[])[]): readonly number[] {
  return rows[0]!.map((_, i) => rows.reduce((s, row) => s + row[i]!, 0) / rows.length);
}

/** Place in {@link tokenGroups}; undefined before the subject. A subject of one token is its last. */
function groupOf(token: number, length: number, [start, end]: readonly [number, number]): number | undefined {
  if (token < start) return undefined;
  if (token < end) return token === end - 1 ? 2 : token === start ? 0 : 1;
  if (token === length - 1) return 5;
  return token === end ? 3 : 4;
}
