import type { Engine, Metric, Model } from "@lfm/core";
import { createPredictor } from "@lfm/models";

const ROUNDS = 15;

/**
 * What an edit costs every later question: time of a batch with the edit as it lies (hooks and all, not merged) over that without, each the
 * median of as many runs, which alternate.
 * @param sequences token sequences of one batch
 */
export async function editLatency(engine: Engine, base: Model, edited: Model, sequences: readonly (readonly number[])[]): Promise<Metric> {
  const plain = await createPredictor(engine, base, "next");
  const changed = await createPredictor(engine, edited, "next");
  try {
    const timed = async (run: typeof plain): Promise<number> => {
      const start = performance.now();
      await run.predict(sequences);
      return performance.now() - start;
    };
    const [without, withEdit]: [number[], number[]] = [[], []];
    // The first round warms up.
    for (let round = 0; round <= ROUNDS; round++) {
      const [a, b] = [await timed(plain), await timed(changed)];
      if (round === 0) continue;
      without.push(a);
      withEdit.push(b);
    }
    const note = `time of ${sequences.length} questions together with the edit as it lies, over that without; medians of ${ROUNDS}`;
    return { value: median(withEdit) / median(without), unit: "ratio", higherIsBetter: false, note };
  } finally {
    await plain.dispose();
    await changed.dispose();
  }
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)]!;
}
