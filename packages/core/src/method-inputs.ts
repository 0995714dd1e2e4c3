import type { z } from "zod";
import type { Delta } from "./delta.js";
import type { Model, Weights } from "./model.js";

/**
 * Everything that a method can be given: the closed set. Whoever composes methods (a command line, a bench) has one provider for each of
 * these, and with that every method can be reached; it never knows methods by their ids.
 */
export const inputKindNames = [
  // models and what is known of them
  "model",
  "learner",
  "student",
  "weights",
  "models",
  "named-weights",
  "members",
  "prompt-box",
  "parent",
  "model-name",
  "parameter-names",
  "fresh-parameters",
  "item-shape",
  "logit-cache",
  "text-rules",
  // what was learned on a base, or measured of it
  "delta",
  "deltas",
  "adapters",
  "fishers",
  "grams",
  "gram",
  "fisher",
  // examples
  "task",
  "validation",
  "replay",
  "retained",
  "task-probes",
  "examples",
  "answers",
  "choices",
  "demonstrations",
  "held-out",
  "score",
  "expert-prompts",
  // families of tasks
  "episode-learner",
  "episode-task",
  "episode-ways",
  "episodes",
  // edits
  "edit-requests",
  "edit-cases",
  "editor",
  "edit-batch",
  "previous",
  "key-corpus",
  // documents
  "passages",
  "queries",
  "text-encoder",
  "run",
  "retriever",
  "answerer",
  // attacks
  "victim",
  "victim-before",
  "probed",
  "probed-texts",
  "references",
] as const;
export type InputKindName = (typeof inputKindNames)[number];

declare const ofType: unique symbol;

/** A kind of input with the type of its values. It is declared where that type stands, once. */
export interface InputKind<T> {
  readonly name: InputKindName;
  /** Only for the compiler. */
  readonly [ofType]?: T;
}

/** Type of the values of a kind. */
export type InputValue<K> = K extends InputKind<infer T> ? T : never;

export function inputKind<T>(name: InputKindName): InputKind<T> {
  return Object.freeze({ name });
}

/** An input as a method takes it: the kind alone, or with what is special here. */
export type DeclaredInput<T, Config> =
  | InputKind<T>
  | {
      readonly kind: InputKind<T>;
      /** How it is called by whoever gives it, where the field's name says less. kebab-case. */
      readonly as?: string;
      /** What the method does with it, behind "examples: ". */
      readonly about?: string;
      /** The method goes without it too. */
      readonly optional?: true;
      /** What whoever gives it may say of how it is made, beside where it comes from: flags of the command line come from here. */
      readonly options?: z.ZodObject;
      /** Under which options it is read; under all others it must not be given. */
      when?(config: Config): boolean;
      /** Options under which it is read, to be pasted, for whoever gave it in vain. */
      readonly hint?: string;
    };

type RequiredKeys<I> = { [K in keyof I]-?: undefined extends I[K] ? never : K }[keyof I];

/**
 * A kind for each field of a method's inputs, in the order in which they are opened: the first model reads the examples. Fields that may be
 * absent can stay undeclared: only code hands them over.
 */
export type InputDeclarations<I, Config> = unknown extends I
  ? Readonly<Record<string, DeclaredInput<unknown, Config>>>
  : { readonly [K in RequiredKeys<I>]: DeclaredInput<I[K], Config> } & {
      readonly [K in Exclude<keyof I, RequiredKeys<I>>]?: DeclaredInput<NonNullable<I[K]>, Config>;
    };

/** An input of a method as whoever fills it sees it. */
export interface FieldInput {
  /** Its field in what the method is given. */
  readonly field: string;
  readonly kind: InputKindName;
  /** How it is called by whoever gives it, kebab-case. */
  readonly name: string;
  readonly about: string | undefined;
  readonly optional: boolean;
  readonly options: z.ZodObject | undefined;
  /** Under which options it is read; absent: always. */
  readonly when: ((config: never) => boolean) | undefined;
  readonly hint: string | undefined;
}

/** The inputs of a method in their order. */
export function inputsOf(method: { readonly inputs: object }): readonly FieldInput[] {
  return Object.entries(method.inputs as Readonly<Record<string, DeclaredInput<unknown, never>>>).map(([field, declared]) => {
    const { kind, as, about, optional, options, when, hint } = "kind" in declared ? declared : bare(declared);
    const name = as ?? field.replace(/[A-Z]/g, (c) => `-${c.toLowerCase()}`);
    return { field, kind: kind.name, name, about, optional: optional === true, options, when, hint };
  });
}

/** An input of which nothing but its kind is declared. */
function bare<T>(kind: InputKind<T>): Exclude<DeclaredInput<T, never>, InputKind<T>> {
  return { kind };
}

/** Whether a method declares an input of this kind. */
export function takes(method: { readonly inputs: object }, kind: InputKindName): boolean {
  return inputsOf(method).some((input) => input.kind === kind);
}

/** True where the method looks at it under these options. */
export function isRead({ when }: FieldInput, config: object): boolean {
  // Declared for the options of its own method, which are at hand here as an object that the method's schema has parsed.
  return when?.(config as never) ?? true;
}

/** A frozen model that is used as it is. */
export const modelInput = inputKind<Model>("model");
/** A model that is to learn a task: with a fresh head where the task has classes that it has no head for. */
export const learnerInput = inputKind<Model>("learner");
/** A model that learns all of its weights; it may start from fresh ones. */
export const studentInput = inputKind<Model>("student");
/** Weights of one model. */
export const weightsInput = inputKind<Weights>("weights");
/** Several models, by name. */
export const modelsInput = inputKind<Readonly<Record<string, Model>>>("models");
/** Weights of several models, by name. */
export const namedWeightsInput = inputKind<Readonly<Record<string, Weights>>>("named-weights");
/** Models that answer together, in an order. */
export const membersInput = inputKind<readonly Model[]>("members");
/** Hash of the first model's weights: the parent that a delta records. */
export const parentInput = inputKind<string>("parent");
/** The first model's name or path, as it was given. */
export const modelNameInput = inputKind<string>("model-name");
/** Names of the first model's parameters. */
export const parameterNamesInput = inputKind<readonly string[]>("parameter-names");
/** Shape of one input of the first model, without the batch. */
export const itemShapeInput = inputKind<readonly number[]>("item-shape");
/** A delta on the first model. */
export const deltaInput = inputKind<Delta>("delta");
/** Deltas that lie on the first model already, in their order: what is made lies on top of them. */
export const previousInput = inputKind<readonly Delta[]>("previous");
/** Deltas on the first model, by name. */
export const deltasInput = inputKind<Readonly<Record<string, Delta>>>("deltas");
