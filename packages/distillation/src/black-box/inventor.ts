import {
  adam,
  compile,
  type Engine,
  f32,
  type HostTensor,
  hostTensor,
  type Model,
  type ParamTree,
  type Rng,
  randomNormal,
  type Spec,
  sym,
  type Tensor,
} from "@lfm/core";
import { type Batch, compileTraining, type Training } from "@lfm/train";
import { type GeneratorShape, generate, initGenerator } from "../generator.js";
import type { ItemField } from "../invented-items.js";

/** What an inventor makes small, traced. */
export type InventorLoss = (given: {
  /** f32[samples, …item], invented. */
  readonly x: Tensor;
  /** The student's logits of them. */
  readonly student: () => Tensor;
  /** i32[] */
  readonly key: Tensor;
  /** f32[samples, …item]: a gradient that was found elsewhere; zeros where none was. */
  readonly direction: Tensor;
}) => Tensor;

export interface InventorOptions {
  readonly engine: Engine;
  readonly student: Model;
  readonly field: ItemField;
  readonly shape: GeneratorShape;
  readonly samples: number;
  readonly lr: number;
  readonly rng: Rng;
  readonly loss: InventorLoss;
}

/** A generator that learns from its student while a black box answers: the synthesiser of methods that see no gradient of the teacher. */
export interface Inventor {
  /** Inputs that a key stands for, f32[samples, …item], as the generator is now. */
  invent(key: number): Promise<HostTensor>;
  /** The student's logits f32[n, classes] of inputs. @param student its parameters and buffers */
  answer(x: HostTensor, student: Readonly<Record<string, HostTensor>>): Promise<HostTensor>;
  /** One step of the generator on the inputs of a key. */
  learn(key: number, student: Readonly<Record<string, HostTensor>>, direction?: HostTensor): Promise<void>;
  /** The generator's parameters now. */
  params(): Readonly<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}

const KEY = { dtype: "i32", shape: [] } as const;

/** Compiles an inventor; the student's parameters are bound at each call. */
export async function compileInventor(o: InventorOptions): Promise<Inventor> {
  const { engine, student, field, shape, samples, rng } = o;
  const fresh = initGenerator(shape, rng.split("generator"));
  const typesOf = (tensors: Model["params"]): Record<string, Spec> =>
    Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, { dtype: "f32", shape: t.shape }]));
  const logitsOf = (params: ParamTree, x: Tensor): Tensor => student.forward(params, { [field]: x }, { mode: "eval" }).logits!;
  const make = (params: ParamTree, key: Tensor): Tensor => generate(params, randomNormal(key, [samples, shape.noise]), shape);
  const item = { dtype: "f32", shape: [samples, ...shape.item] } as const;
  const under = (params: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> =>
    Object.fromEntries(Object.keys(student.params).map((name) => [`student/${name}`, params[name]!]));
  const ofBatch = (batch: Batch<Tensor>): ParamTree =>
    Object.fromEntries(
      Object.entries(batch).flatMap(([name, t]) => (name.startsWith("student/") ? [[name.slice("student/".length), t]] : [])),
    );
  const training: Training = await compileTraining({
    engine,
    trainable: fresh,
    batch: {
      ...Object.fromEntries(Object.entries(typesOf(student.params)).map(([name, t]) => [`student/${name}`, t])),
      own: KEY,
      direction: item,
    },
    loss: (params, batch) => {
      const x = make(params, batch.own!);
      return { loss: o.loss({ x, student: () => logitsOf(ofBatch(batch), x), key: batch.own!, direction: batch.direction! }) };
    },
    optimizer: adam(),
  });
  const invent = await compile(engine, { params: typesOf(fresh), key: KEY }, ({ params, key }) => ({ x: make(params, key) }));
  const answer = await compile(
    engine,
    { params: typesOf(student.params), x: { dtype: "f32", shape: [sym("batch"), ...shape.item] } },
    ({ params, x }) => ({ logits: logitsOf(params, x) }),
  );
  const still = f32(new Float32Array(samples * shape.item.reduce((a, b) => a * b, 1)), [samples, ...shape.item]);
  const keyOf = (key: number): HostTensor => hostTensor("i32", [], Int32Array.of(key));
  let steps = 0;
  return {
    invent: async (key) => (await invent({ params: training.state().params, key: keyOf(key) })).x,
    answer: async (x, params) =>
      (await answer({ params: Object.fromEntries(Object.keys(student.params).map((n) => [n, params[n]!])), x })).logits,
    learn: async (key, params, direction = still) => {
      steps++;
      await training.step([{ ...under(params), own: keyOf(key), direction }], { lr: o.lr, step: steps, keys: [key] });
    },
    params: () => training.state().params,
    dispose: async () => {
      await training.dispose();
      await invent.dispose();
      await answer.dispose();
    },
  };
}
