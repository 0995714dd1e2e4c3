import {
  type Delta,
  type DeltaForm,
  defineMethod,
  type HostTensor,
  isMemberTensor,
  LfmError,
  type Method,
  type MethodContext,
  type Model,
  makeDelta,
  parseConfig,
  withDeltas,
} from "@lfm/core";
import type { FitResult } from "@lfm/train";
import type { z } from "zod";
import { type Episode, type MetaInputs, type MetaOutput, metaInputs } from "./inputs.js";
import { type Norm, normOf } from "./statistics-of.js";

/** What was learned, before it is a delta. */
export interface Learned {
  /** Parameters and buffers of the model under their names, and the method's own. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
  readonly curves: FitResult["curves"];
}

/** What episodes are answered with. */
interface Answering<C> extends Pick<MetaInputs, "task"> {
  /** With what was learned on it; of another model that has the same parameters as it is. */
  readonly model: Model;
  readonly config: C;
  /** What was learned, as {@link Learned.tensors}. */
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

type AnswerContext = Pick<MethodContext, "engine" | "signal">;

/** A meta-learning method: what it learned answers episodes, now or read from its file. */
export interface MetaMethod<Schema extends z.ZodObject = z.ZodObject> extends Method<MetaInputs, MetaOutput, Schema> {
  readonly delta: DeltaForm<z.output<Schema>>;
  /**
   * Adapts to each episode and answers its queries: f32[query, outputs] each. What was learned stays as it is.
   * @throws {LfmError} ABORTED, SHAPE_MISMATCH, NUMERIC_DIVERGED naming task and step
   */
  answer(learned: Answering<z.output<Schema>>, episodes: readonly Episode[], context: AnswerContext): Promise<readonly HostTensor[]>;
  /** Where a batch norm takes its statistics when episodes are answered. */
  norm(config: z.output<Schema>): Norm;
}

/** Any meta-learning method, for lists. */
// biome-ignore lint/suspicious/noExplicitAny: a heterogeneous list has no common type of options
export type AnyMetaMethod = MetaMethod<any>;

export interface MetaMethodSpec<Schema extends z.ZodObject>
  extends Pick<MetaMethod<Schema>, "id" | "summary" | "paper" | "config" | "presets" | "answer" | "norm"> {
  readonly needs?: MetaMethod<Schema>["needs"];
  /** @throws {LfmError} what the method throws */
  learn(inputs: MetaInputs, config: z.output<Schema>, context: MethodContext): Promise<Learned>;
}

/**
 * What was learned replaces parameters of the model; the method's own tensors (rates, heads) stand beside them, for its answers alone. Where
 * it was learned over a delta, that delta is its member, with what was learned in it.
 */
const learnedStart: DeltaForm<unknown> = { hooks: (_config, _tensors, members) => members.flat() };

/** Checks and freezes a meta-learning method. @throws {LfmError} CONFIG_INVALID for an id that is none */
export function defineMetaMethod<Schema extends z.ZodObject>({ learn, needs, ...described }: MetaMethodSpec<Schema>): MetaMethod<Schema> {
  const method: MetaMethod<Schema> = {
    ...described,
    paradigm: "meta",
    needs: needs ?? ["weights", "grad"],
    inputs: metaInputs,
    delta: learnedStart,
    run: async (inputs, c, context) => {
      const { start, parent = null } = inputs;
      // Composed of it from the beginning: what is learned is called as it is when it is read from its file.
      const model = start ? withDeltas(inputs.model, [makeDelta<z.output<Schema>>(method, c, {}, { members: [start] })]) : inputs.model;
      const { tensors, curves } = await learn({ ...inputs, model }, c, context);
      const delta = learnedDelta(method, c, tensors, start, parent);
      const learned = withDeltas(inputs.model, [delta]);
      const answering = { model: withParameters(model, tensors), task: inputs.task, config: c, tensors };
      return {
        delta,
        model: learned,
        curves,
        norm: normOf(model, described.norm(c)),
        predict: (episodes) => described.answer(answering, episodes, context),
      };
    },
  };
  defineMethod(method);
  return Object.freeze(method);
}

/** In front of the names of a starting delta's tensors in the model that learns. */
export const OF_START = /^delta\.\d+\.members\.0\./;

/** What was learned over a delta goes back into it. */
function learnedDelta<Schema extends z.ZodObject>(
  method: MetaMethod<Schema>,
  config: z.output<Schema>,
  tensors: Learned["tensors"],
  start: Delta | undefined,
  parent: string | null,
): Delta {
  if (!start) return makeDelta<z.output<Schema>>(method, config, tensors, { parent });
  const inside = new Map(Object.keys(tensors).flatMap((name) => (OF_START.test(name) ? [[name.replace(OF_START, ""), name]] : [])));
  const member = withTensors(start, (name, t) => tensors[inside.get(name) ?? name] ?? t);
  const own = Object.fromEntries(Object.entries(tensors).filter(([name]) => !OF_START.test(name)));
  return makeDelta<z.output<Schema>>(method, config, own, { parent, members: [member] });
}

/**
 * What a meta-learning method learned, as it answers episodes.
 * @param model the one that the delta was learned on
 * @throws {LfmError} CONFIG_INVALID for a delta of another method
 */
export function learnedAnswerer<Schema extends z.ZodObject>(
  method: MetaMethod<Schema>,
  delta: Delta,
  { model, task }: Pick<MetaInputs, "model" | "task">,
): (episodes: readonly Episode[], context: AnswerContext) => Promise<readonly HostTensor[]> {
  if (delta.method !== `meta/${method.id}`)
    throw new LfmError("CONFIG_INVALID", `[@lfm/meta] ${method.id}: this was learned by ${delta.method}`);
  const on = withDeltas(model, [delta]);
  const place = Object.keys(on.params).find((name) => OF_START.test(name));
  const prefix = place ? /^delta\.\d+\./.exec(place)![0] : "";
  const tensors = Object.fromEntries(Object.entries(delta.tensors).map(([name, t]) => [isMemberTensor(name) ? prefix + name : name, t]));
  const config = parseConfig(method, delta.config);
  return (episodes, context) => method.answer({ model: on, task, config, tensors }, episodes, context);
}

/** The same delta with other values. */
function withTensors(delta: Delta, value: (name: string, t: HostTensor) => HostTensor): Delta {
  return { ...delta, tensors: Object.fromEntries(Object.entries(delta.tensors).map(([name, t]) => [name, value(name, t)])) };
}

/** The model with other values of its parameters. */
function withParameters(model: Model, values: Readonly<Record<string, HostTensor>>): Model {
  const params = Object.fromEntries(Object.entries(model.params).map(([name, w]) => [name, values[name] ?? w]));
  return { ...model, params, forward: (tree, input, context) => model.forward(tree, input, context) };
}
