/** The tasks of a step as they go through a model: all in one pass where it takes a task axis, else one after the other. */
import { concat, LfmError, type Model, mul, type Tensor } from "@lfm/core";
import { type Batch, type Scored, scoredLoss, type TaskShape } from "@lfm/train";
import { forwardPerTask, perTask, takesTaskAxis } from "./batched-tasks.js";
import { halfOf, type TracedParams, taskOf } from "./inputs.js";
import { forwardBy, type Norm } from "./statistics-of.js";

/** Which examples of an episode. */
export type Part = "support" | "query" | "both";

/** Tasks whose parameters move together. */
export interface TaskGroup {
  readonly tasks: number;
  /** Leading axes of what moves that tell tasks apart: 1, or 0 where the group is one task. */
  readonly axes: 0 | 1;
  /** What moves, before the first step. */
  readonly start: TracedParams;
  /** What a part is answered with, and what is right. @param own what moves, as it is now */
  scored(own: TracedParams, part: Part): Scored;
  /** f32[]: the sum over the group's tasks of each one's mean loss; its gradient in a task's own parameters is that task's alone. */
  loss(own: TracedParams, part: Part): Tensor;
}

/** How an episode is read by a model. */
export interface EpisodeReader {
  readonly model: Model;
  readonly task: TaskShape;
  readonly norm: Norm;
}

/**
 * @param params all that the model reads; those called `moves` are each task's own
 * @param stack what `stackEpisodes` makes of the episodes
 */
export function groupTasks(
  { model, task, norm }: EpisodeReader,
  params: TracedParams,
  moves: readonly string[],
  stack: Batch<Tensor>,
): readonly TaskGroup[] {
  const count = Object.values(stack)[0]!.dim(0) as number;
  const group = (
    axes: 0 | 1,
    start: TracedParams,
    episode: Batch<Tensor>,
    forward: (own: TracedParams, batch: Batch<Tensor>, support: Batch<Tensor> | undefined) => Scored,
  ): TaskGroup => {
    const [support, query] = [halfOf("support", episode), halfOf("query", episode)];
    const parts: Record<Part, () => Batch<Tensor>> = {
      support: () => support,
      query: () => query,
      both: () => Object.fromEntries(Object.keys(support).map((name) => [name, concat([support[name]!, query[name]!], axes)])),
    };
    const tasks = axes === 1 ? count : 1;
    const scored = (own: TracedParams, part: Part): Scored => forward(own, parts[part](), part === "query" ? support : undefined);
    return { tasks, axes, start, scored, loss: (own, part) => sumOfTasks(scoredLoss(scored(own, part)).loss, tasks) };
  };
  const score = (outputs: Parameters<TaskShape["scored"]>[0], batch: Batch<Tensor>): Scored => {
    if (!outputs.logits)
      throw new LfmError("CAPABILITY_MISSING", "[@lfm/meta] the model gives no logits", { hint: "give it a last layer" });
    return task.scored(outputs, batch);
  };
  if (takesTaskAxis(model, moves))
    return [
      group(1, perTask(params, moves, count), stack, (own, batch) => score(forwardPerTask(model, params, own, task.input(batch)), batch)),
    ];
  return Array.from({ length: count }, (_, i) =>
    group(0, Object.fromEntries(moves.map((n) => [n, params[n]!])), taskOf(stack, i), (own, batch, support) =>
      score(forwardBy(norm, model, { ...params, ...own }, task.input(batch), support && task.input(support)), batch),
    ),
  );
}

function sumOfTasks(mean: Tensor, tasks: number): Tensor {
  return tasks === 1 ? mean : mul(mean, tasks);
}
