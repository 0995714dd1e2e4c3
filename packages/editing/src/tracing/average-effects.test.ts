import { describe, expect, it } from "vitest";
import { averageEffects, effectsOf } from "./average-effects.js";
import type { CausalTrace } from "./causal-trace.js";

/** One block; each token gives back its number in tenths. */
const trace = (tokens: number, corrupted: number): CausalTrace => ({
  answer: 0,
  clean: 1,
  corrupted,
  restored: { state: Array.from({ length: tokens }, (_, i) => [corrupted + i / 10]) },
});

describe("averageEffects", () => {
  it("takes the corrupted probability off", () => {
    for (const [i, [effect]] of effectsOf(trace(4, 0.3), "state").entries()) expect(effect).toBeCloseTo(i / 10, 12);
  });

  it("is the mean within a prompt, then over prompts; groups that none has are null", () => {
    // Tokens: 0 before; 1 first, 2 and 3 middle, 4 last of the subject; 5 next; 6 and 7 further; 8 last.
    const long = { trace: trace(9, 0.1), subject: [1, 5] as const };
    // A subject of one token, and the prompt's last right behind it.
    const short = { trace: trace(3, 0.2), subject: [1, 2] as const };
    const rows = averageEffects([long, short], "state", 1).map(([v]) => v);
    const expected = [0.1, 0.25, (0.4 + 0.1) / 2, 0.5, 0.65, (0.8 + 0.2) / 2];
    for (const [i, v] of expected.entries()) expect(rows[i]).toBeCloseTo(v, 12);
    expect(averageEffects([short], "state", 1)[1]).toEqual([null]);
    expect(averageEffects([short], "mlp", 1)).toEqual(Array.from({ length: 6 }, () => [null]));
  });
});
