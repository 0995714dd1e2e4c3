import type { FitResult } from "@lfm/train";
import type { TrainingConfig } from "./training-options.js";

/** A part of a training that comes before the rest: some of the tensors learn with options of their own, the others stay as they are. */
export interface Phase {
  /** kebab-case; names its progress and its checkpoint. */
  readonly name: string;
  readonly learns: (name: string) => boolean;
  readonly training: TrainingConfig;
}

/** Those that are, and the others. */
export function divided<T>(
  tensors: Readonly<Record<string, T>>,
  is: (name: string) => boolean,
): readonly [Record<string, T>, Record<string, T>] {
  const all = Object.entries(tensors);
  return [Object.fromEntries(all.filter(([name]) => is(name))), Object.fromEntries(all.filter(([name]) => !is(name)))];
}

/** Curves of phases as one: steps go on counting. */
export function oneAfterAnother(parts: readonly FitResult["curves"][]): FitResult["curves"] {
  const all: Record<string, (readonly [number, number])[]> = {};
  let done = 0;
  for (const curves of parts) {
    for (const [name, points] of Object.entries(curves)) {
      all[name] ??= [];
      all[name].push(...points.map(([step, value]) => [done + step, value] as const));
    }
    done += curves.loss?.length ?? 0;
  }
  return all;
}
