import type { Rng } from "@lfm/core";

export interface SamplerOptions {
  /** Examples there are. */
  readonly count: number;
  readonly batchSize: number;
  /** Orders are drawn from it, one for each epoch. */
  readonly rng: Rng;
  /** Length of each example: batches are then filled with examples of similar length, and come in a random order. */
  readonly lengths?: readonly number[];
  /** Batches that are sorted by length together. Default 50, as transformers' group_by_length. */
  readonly bucket?: number;
  /** Leave out the last batch of an epoch where it is not full: for graphs of one batch size. Default false. */
  readonly dropLast?: boolean;
}

export interface Sampler {
  /** Examples of a batch, numbered over all epochs from 0: a pure function of the number. */
  batch(number: number): readonly number[];
  /** Batches that show every example once. */
  readonly perEpoch: number;
}

/** Every epoch shows all examples once, in a fresh order. */
export function createSampler(o: SamplerOptions): Sampler {
  const { count, batchSize, rng, lengths, bucket = 50 } = o;
  const perEpoch = Math.max(1, o.dropLast ? Math.floor(count / batchSize) : Math.ceil(count / batchSize));
  let held: { readonly epoch: number; readonly batches: readonly (readonly number[])[] } | undefined;
  const draw = (epoch: number): readonly (readonly number[])[] => {
    const own = rng.split(`epoch ${epoch}`);
    const order = own.shuffle(Array.from({ length: count }, (_, i) => i));
    if (!lengths) return cut(order, batchSize).slice(0, perEpoch);
    const sorted = cut(order, batchSize * bucket).flatMap((pool) => pool.sort((a, b) => lengths[b]! - lengths[a]!));
    const batches = cut(sorted, batchSize);
    return own.shuffle(o.dropLast ? batches.filter((b) => b.length === Math.min(batchSize, count)) : batches);
  };
  return {
    perEpoch,
    batch: (number) => {
      const epoch = Math.floor(number / perEpoch);
      if (held?.epoch !== epoch) held = { epoch, batches: draw(epoch) };
      return held.batches[number % perEpoch]!;
    },
  };
}

function cut<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, i) => items.slice(i * size, (i + 1) * size));
}
