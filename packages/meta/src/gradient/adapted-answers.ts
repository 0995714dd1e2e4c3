/** Queries answered after an inner loop on their supports. */
import {
  add,
  type Compiled,
  compile,
  concat,
  type Engine,
  expandDims,
  type HostTensor,
  LfmError,
  type MethodContext,
  reshape,
  type Spec,
  square,
  sum,
  type Tensor,
  throwIfAborted,
} from "@lfm/core";
import type { Batch, Scored } from "@lfm/train";
import { type Episode, episodeSpecs, type MetaInputs, stackEpisodes, type TracedParams, unstack } from "../inputs.js";
import { type EpisodeReader, groupTasks, type TaskGroup } from "../task-groups.js";
import { type InnerLoop, runInnerLoop } from "./inner-loop.js";
import { plainDescent } from "./moves.js";

/** An inner loop, and what it begins with. */
export interface Adaptation {
  readonly reader: EpisodeReader;
  /** Names of the parameters that move. */
  readonly moves: readonly string[];
  readonly loop: InnerLoop;
  /** What was learned: the parameters that it begins with, and the loop's own tensors. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

export interface AnswerOptions {
  /** Episodes that are adapted at a time (default 8). */
  readonly group?: number;
  readonly threads?: number;
}

type AnswerContext = Pick<MethodContext, "engine" | "signal">;

/**
 * What the inner loop makes of each episode: its steps on the support, then the answers to its queries, f32[query, outputs] each.
 * @throws {LfmError} ABORTED, SHAPE_MISMATCH for episodes of different sizes, NUMERIC_DIVERGED naming task and step
 */
export async function answerAdapted(
  id: string,
  adaptation: Adaptation,
  episodes: readonly Episode[],
  context: AnswerContext,
  { group = 8, threads = 1 }: AnswerOptions = {},
): Promise<readonly HostTensor[]> {
  if (episodes.length === 0) return [];
  const width = Math.min(group, episodes.length);
  const f = await compileAdaptation(adaptation, episodeSpecs(episodes.slice(0, width)), context.engine, threads);
  try {
    const answers: HostTensor[] = [];
    for (let at = 0; at < episodes.length; at += width) {
      throwIfAborted(context.signal, `[@lfm/meta] ${id}`);
      const some = episodes.slice(at, at + width);
      const padded = [...some, ...Array.from({ length: width - some.length }, () => some[0]!)];
      const { y, sums } = await f({ tensors: adaptation.tensors, stack: stackEpisodes(padded) });
      requireFinite(id, sums, at);
      answers.push(...unstack(y).slice(0, some.length));
    }
    return answers;
  } finally {
    await f.dispose();
  }
}

/**
 * What plain gradient descent from `params` makes of each episode: `steps` of size `lr` on its support set, then the answers to its queries,
 * f32[query, outputs] each. MAML's own test, and the yardstick for any other initialisation.
 * @throws {LfmError} as {@link answerAdapted}
 */
export function adaptedAnswers(
  { model, task }: Pick<MetaInputs, "model" | "task">,
  params: Readonly<Record<string, HostTensor>>,
  episodes: readonly Episode[],
  { steps, lr, ...options }: AnswerOptions & { readonly steps: number; readonly lr: number },
  context: AnswerContext,
): Promise<readonly HostTensor[]> {
  const reader: EpisodeReader = { model, task, norm: "transductive" };
  const adaptation = { reader, moves: Object.keys(params), loop: { steps, move: plainDescent(lr) }, tensors: params };
  return answerAdapted("adapted answers", adaptation, episodes, context, options);
}

type Specs = Record<string, Spec>;

/** Answers f32[tasks, query, outputs]; and before and after each step the sum of each task's parameters f32[1 + steps, tasks], finite where they are. */
export function compileAdaptation(
  { reader, moves, loop, tensors }: Adaptation,
  stack: Batch<Spec>,
  engine: Engine,
  threads: number,
): Promise<Compiled<{ tensors: Specs; stack: Specs }, { y: Tensor; sums: Tensor }>> {
  const typesOf = (of: Batch<Spec>): Specs => Object.fromEntries(Object.entries(of).map(([n, { dtype, shape }]) => [n, { dtype, shape }]));
  const frozen = Object.fromEntries(Object.entries(reader.model.params).filter(([n]) => !(n in tensors)));
  const answered = (given: { tensors: TracedParams; stack: Batch<Tensor> }, rest: TracedParams): { y: Tensor; sums: Tensor } => {
    const learned = { ...rest, ...given.tensors };
    const found = groupTasks(reader, learned, moves, given.stack).map((group) => {
      const { path } = runInnerLoop(group, loop, learned);
      const scored = group.scored(path.at(-1)!, "query");
      const sums = path.map((own) => sumsOf(own, group));
      // Parameters may still be numbers whose answers have no loss any more.
      sums.push(add(sums.pop()!, sumsOf({ y: square(scored.logits) }, group)));
      return { scored, sums };
    });
    const rows = Array.from({ length: loop.steps + 1 }, (_, k) =>
      concat(
        found.map((f) => f.sums[k]!),
        0,
      ),
    );
    return {
      y: answersOf(found.map((f) => f.scored)),
      sums: concat(
        rows.map((row) => expandDims(row, 0)),
        0,
      ),
    };
  };
  return compile(engine, { tensors: typesOf(tensors), stack: typesOf(stack) }, answered, { frozen, threads });
}

/** f32[tasks of the group] */
function sumsOf(own: TracedParams, { tasks, axes }: TaskGroup): Tensor {
  const each = Object.values(own).map((t) => reshape(sum(t, t.shape.map((_, axis) => axis).slice(axes)), [tasks]));
  return each.length === 1
    ? each[0]!
    : sum(
        concat(
          each.map((s) => expandDims(s, 0)),
          0,
        ),
        0,
      );
}

/** @throws {LfmError} NUMERIC_DIVERGED naming the first task and step where a parameter is no longer finite. @param first number of the first task */
export function requireFinite(id: string, sums: HostTensor, first: number, cause?: unknown): void {
  const tasks = sums.shape[1]!;
  const at = Array.from(sums.data, Number).findIndex((v) => !Number.isFinite(v));
  if (at < 0) return;
  const [step, task] = [Math.floor(at / tasks), first + (at % tasks)];
  throw new LfmError("NUMERIC_DIVERGED", `[@lfm/meta] ${id}: task ${task} is no longer finite after step ${step} of its inner loop`, {
    details: { task, innerStep: step },
    hint: "lower the step size of the inner loop: --inner-lr 0.001",
    cause,
  });
}

/** f32[tasks, query, outputs] */
function answersOf(scored: readonly Scored[]): Tensor {
  const [first] = scored;
  if (scored.length === 1 && first!.logits.rank === 3) return first!.logits;
  return concat(
    scored.map(({ logits }) => expandDims(logits, 0)),
    0,
  );
}
