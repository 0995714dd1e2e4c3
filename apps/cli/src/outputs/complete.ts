import type { Engine, Model } from "@lfm/core";
import { createBatchGenerator, createGenerator, type GenerateOptions } from "@lfm/models";

/** A prompt and how it is continued. */
export interface Asked {
  readonly ids: readonly number[];
  readonly options: GenerateOptions;
}

export interface Together {
  /** Prompts that are continued at the same time. */
  readonly count: number;
  readonly signal?: AbortSignal;
  /** Called when a prompt has its continuation. */
  readonly onEnd?: () => void;
}

/**
 * New tokens of every prompt, in their order: each what it would be alone. Prompts go together, and the next begins when one has ended.
 * @throws {LfmError} as a generator's
 */
export async function completeAll(
  engine: Engine,
  model: Model,
  asked: readonly Asked[],
  { count, signal, onEnd = () => {} }: Together,
): Promise<readonly (readonly number[])[]> {
  const withSignal = (options: GenerateOptions): GenerateOptions => ({ ...options, ...(signal ? { signal } : {}) });
  if (count > 1 && goTogether(model, asked)) {
    const batch = await createBatchGenerator(engine, model, { slots: count });
    try {
      return await Promise.all(
        asked.map(async ({ ids, options }) => {
          const { tokens } = await batch.generate(ids, withSignal(options));
          onEnd();
          return tokens;
        }),
      );
    } finally {
      await batch.dispose();
    }
  }
  const generator = await createGenerator(engine, model);
  try {
    const found: (readonly number[])[] = [];
    for (const { ids, options } of asked) {
      found.push((await generator.generate(ids, withSignal(options))).tokens);
      onEnd();
    }
    return found;
  } finally {
    await generator.dispose();
  }
}

/** A beam search is several ways at once already; a model that turns positions by the longest sequence of a batch takes one at a time. */
function goTogether({ info }: Model, asked: readonly Asked[]): boolean {
  return info.sharedBeyond === undefined && info.cacheBreak === undefined && asked.every(({ options }) => (options.beams ?? 1) === 1);
}
