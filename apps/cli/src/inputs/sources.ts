import { type Delta, type FieldInput, type InputKindName, LfmError, type MethodContext } from "@lfm/core";
import { type ColumnChoice, type Columns, type Examples, readExamples } from "@lfm/data";
import { type BatchOptions, type ChosenTask, chosenTask, type Goal, labelNames, looksLikeValues, taskKind } from "@lfm/tuning";
import type { JobContext, JobRequest } from "../program/job.js";
import { flagsOf, optionOf } from "./kinds.js";
import { namesOfClasses } from "./labels.js";
import { loadDeltas, type NamedModel, type OpenedModel, openPlain, resolveModel, sayLimit, splitDeltas } from "./models.js";
import { baseWish } from "./quantized.js";

/** Kinds with a model that can read the examples. */
const READERS = ["model", "learner", "prompt-box", "models", "named-weights", "members", "victim"];

/** What the inputs of one run are opened from: flags and files. Each thing is opened once, however many inputs want it. */
export class Sources {
  readonly request: JobRequest;
  /** The method's options, whole. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly context: MethodContext;
  readonly job: JobContext;
  private readonly inputs: readonly FieldInput[];
  private readonly opened = new Map<string, Promise<unknown>>();

  constructor(
    request: JobRequest,
    config: Readonly<Record<string, unknown>>,
    context: MethodContext,
    job: JobContext,
    inputs: readonly FieldInput[],
  ) {
    this.request = request;
    this.config = config;
    this.context = context;
    this.job = job;
    this.inputs = inputs;
  }

  once<T>(key: string, make: () => Promise<T>): Promise<T> {
    const there = this.opened.get(key) ?? make();
    this.opened.set(key, there);
    return there as Promise<T>;
  }

  /** Text of a flag that was given once. */
  text(flag: string): string | undefined {
    const value = this.request[optionOf(flag)];
    return typeof value === "string" ? value : undefined;
  }

  /** Texts of a flag, in their order. */
  texts(flag: string): readonly string[] {
    return textsOf(this.request, flag);
  }

  count(flag: string): number | undefined {
    const value = this.request[optionOf(flag)];
    return typeof value === "number" ? value : undefined;
  }

  get batching(): BatchOptions {
    const { groupByLength } = this.task;
    const seed = this.request.seed ?? 0;
    return { batchSize: this.count("batch-size") ?? 16, maxLength: this.count("max-length") ?? 128, seed, groupByLength };
  }

  /** Files and folders that are read, with names that are neither: a result must not take the place of one. */
  get files(): readonly string[] {
    return filesOf(this.inputs, this.request);
  }

  /** A single model, without the deltas of --delta. */
  model({ name }: Pick<FieldInput, "name">): Promise<OpenedModel> {
    return this.once(`model ${name}`, () =>
      openPlain(this.text(name) ?? this.texts(name)[0]!, this.job, baseWish(this.request, "training")),
    );
  }

  /** The deltas of --delta, in their order; undefined for none. */
  previous(): Promise<readonly Delta[] | undefined> {
    return this.once("previous", async () => {
      const folders = this.texts("delta");
      return folders.length === 0 ? undefined : loadDeltas(folders, await this.reader());
    });
  }

  /** The models of --model, by name; one that is given twice has a number behind its second name. */
  models(): Promise<Readonly<Record<string, OpenedModel>>> {
    return this.once("models", async () => {
      const models: Record<string, OpenedModel> = {};
      for (const name of this.texts("model")) {
        let own = name;
        for (let n = 2; own in models; n++) own = `${name}-${n}`;
        models[own] = await openPlain(name, this.job);
      }
      return models;
    });
  }

  /** The models of --member, each with its deltas on it. */
  members(): Promise<readonly OpenedModel[]> {
    return this.once("members", async () => {
      const members: OpenedModel[] = [];
      for (const name of this.texts("member")) {
        const { base, deltas } = splitDeltas(name);
        members.push({ ...asOpened(await resolveModel(base, deltas, this.job, baseWish(this.request, "batches"))), name });
      }
      return members;
    });
  }

  /** The model that is attacked, with the deltas of --delta on it. */
  victim({ name }: Pick<FieldInput, "name">): Promise<NamedModel> {
    return this.once(`victim ${name}`, () => {
      const { base, deltas } = splitDeltas(this.text(name)!);
      return resolveModel(base, [...deltas, ...this.texts("delta")], this.job, baseWish(this.request, "batches"));
    });
  }

  /** The first model: it reads the examples, and what is made of it is saved with its tokenizer. */
  async reader(): Promise<OpenedModel> {
    const first = this.inputs.find((i) => READERS.includes(i.kind));
    const found =
      first === undefined
        ? undefined
        : first.kind === "victim"
          ? asOpened(await this.victim(first))
          : first.kind === "members"
            ? (await this.members())[0]
            : first.kind === "models" || first.kind === "named-weights"
              ? Object.values(await this.models())[0]
              : await this.model(first);
    if (found) {
      await this.once("limit", async () => sayLimit(found, this.count("max-length") ?? 0, this.job));
      return found;
    }
    throw new LfmError("INTERNAL", "lfm: this method declares no model that could read examples");
  }

  /** The flags of the inputs as they were given. */
  asked(): Readonly<Record<string, unknown>> {
    return askedOf(this.inputs, this.request);
  }

  /** What is learned from the examples; likelihood where the method has no such choice. */
  get task(): ChosenTask {
    return chosenTask(this.request.inputOptions?.task ?? {});
  }

  /** Whether the method is given something of this kind. */
  declares(kind: InputKindName): boolean {
    return this.inputs.some((i) => i.kind === kind);
  }

  /** The files of --data. */
  examples(): Promise<readonly Examples[]> {
    return this.once("data", async () => {
      const choice = await this.columns();
      return this.texts("data").map((file) => readExamples(file, choice));
    });
  }

  /** How files of examples are read. */
  async columns(): Promise<ColumnChoice> {
    const chosen = this.request.columns as Columns | undefined;
    return { values: await this.regresses(), ...(chosen ? { columns: chosen } : {}) };
  }

  /** What the head of an encoder is to answer; undefined for a language model, which has none. */
  goal(): Promise<Goal | undefined> {
    return this.once("goal", async () => {
      const { model, name } = await this.reader();
      const { objective } = this.task;
      if (objective) return objective.learner === "score" ? { kind: "value" } : undefined;
      const regresses = await this.regresses();
      if (taskKind(model) === "language") {
        if (regresses)
          throw new LfmError("CONFIG_INVALID", `lfm: ${name} is a language model; values are learned by encoders`, {
            hint: "leave --regression out",
          });
        return undefined;
      }
      if (regresses) return { kind: "value" };
      const own = model.info.task === "classifier" ? namesOfClasses(model) : undefined;
      if (own) return { kind: "classes", names: own };
      const names = labelNames((await this.examples())[0]!);
      if (looksLikeValues(names))
        this.job.log(`labels such as ${names[0]} are taken as names of ${names.length} classes; --regression learns them as values`);
      return { kind: "classes", names };
    });
  }

  /** Whether values are learned: where --regression says so, and by a model that has one output, as in transformers. */
  private async regresses(): Promise<boolean> {
    if (this.request.regression === true) return true;
    const reads = this.inputs.some((i) => READERS.includes(i.kind));
    return reads && (await this.reader()).model.info.classes === 1;
  }
}

function asOpened(m: Awaited<ReturnType<typeof resolveModel>>): OpenedModel {
  return { ...m, hash: async () => m.hash };
}

/** The flags of the inputs as a request has them. */
export function askedOf(inputs: readonly FieldInput[], request: JobRequest): Readonly<Record<string, unknown>> {
  const given = flagsOf(inputs).map(({ name }) => [optionOf(name), request[optionOf(name)]] as const);
  const ofInputs: Readonly<Record<string, unknown>> = Object.assign({}, ...Object.values(request.inputOptions ?? {}));
  return { ...Object.fromEntries(given.filter(([, value]) => value !== undefined)), ...ofInputs };
}

/** Files and folders that a request names, with names that are neither. */
export function filesOf(inputs: readonly FieldInput[], request: JobRequest): readonly string[] {
  const given = flagsOf(inputs).flatMap(({ name }) => textsOf(request, name));
  return given.map(splitDeltas).flatMap(({ base, deltas }) => [base, ...deltas]);
}

function textsOf(request: JobRequest, flag: string): readonly string[] {
  const value = request[optionOf(flag)];
  return Array.isArray(value) ? value.map(String) : typeof value === "string" ? [value] : [];
}
