import { compile, type Engine, grad, type HostTensor, type Model, type Tensor } from "@lfm/core";
import { expect } from "vitest";
import type { Episode, TracedParams } from "../src/inputs.js";
import { episodeSpecs, stackEpisodes } from "../src/inputs.js";
import { type EpisodeReader, groupTasks, type TaskGroup } from "../src/task-groups.js";

/** A tensor in a golden. */
export interface Numbers {
  readonly shape: number[];
  readonly data: number[];
}

export const numbers = (t: HostTensor): Numbers => ({ shape: [...t.shape], data: Array.from(t.data, Number) });

/** Largest difference, as a share of `scale`, by default the largest value expected. */
export function deviation(got: Numbers, want: Numbers, scale = Math.max(...want.data.map(Math.abs))): number {
  expect(got.shape).toEqual(want.shape);
  return Math.max(...got.data.map((v, i) => Math.abs(v - want.data[i]!))) / scale;
}

/** The loss of an outer loop on episodes and its gradients in `learned`. */
export async function metaGradient(
  engine: Engine,
  reader: EpisodeReader,
  moves: readonly string[],
  learned: Readonly<Record<string, HostTensor>>,
  episodes: readonly Episode[],
  outer: (groups: readonly TaskGroup[], params: TracedParams) => Tensor,
): Promise<{ loss: number; grad: Record<string, Numbers> }> {
  const f = await compile(
    engine,
    {
      p: Object.fromEntries(Object.entries(learned).map(([n, t]) => [n, { dtype: "f32" as const, shape: t.shape }])),
      stack: episodeSpecs(episodes),
    },
    (i, frozen: TracedParams) => {
      const params = { ...frozen, ...i.p };
      const loss = outer(groupTasks(reader, params, moves, i.stack), params);
      return { loss, grad: grad(loss, i.p) };
    },
    { frozen: Object.fromEntries(Object.entries(reader.model.params).filter(([n]) => !(n in learned))) },
  );
  const out = await f({ p: learned, stack: stackEpisodes(episodes) });
  await f.dispose();
  return {
    loss: Number(out.loss.data[0]),
    grad: Object.fromEntries(Object.entries(out.grad).map(([n, t]) => [n, numbers(t)])),
  };
}

/** The same model with its sites hidden: no task axis goes through it, its tasks are unrolled. */
export function opaque(model: Model): Model {
  return { ...model, info: { ...model.info, sites: [] }, forward: (p, i, c) => model.forward(p, i, c) };
}
