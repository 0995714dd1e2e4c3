import { type Engine, LfmError, type Model, Rng } from "@lfm/core";
import type { ExampleTensors } from "../named-batch.js";
import type { AdapterPool } from "./adapter-pool.js";
import type { Generated } from "./continuation.js";
import { Decoder } from "./decoder.js";
import type { DecoderRun } from "./decoder-run.js";
import { checkGenerateOptions, type GenerateOptions } from "./generate-options.js";
import { checkPrompts, newTokensAtMost, roomAfter } from "./generation.js";
import type { Slot, SlotRun } from "./slot-run.js";
import type { DecodingOptions } from "./step-graph.js";
import { TokenChoice } from "./token-choice.js";

export interface BatchGeneratorOptions extends DecodingOptions {
  /** Sequences that are decoded together at most; the others wait. Default 8. */
  readonly slots?: number;
  /** Prompt tokens that are read between two steps while other sequences wait for theirs: a longer prompt is read in pieces. Default 512. */
  readonly promptTokens?: number;
  /** Adapters on the model, which is the pool's. */
  readonly adapters?: AdapterPool;
}

/** As of a generator, but for the beam search, which is no single way through a batch. */
export interface BatchGenerateOptions extends Omit<GenerateOptions, "beams" | "lengthPenalty" | "earlyStopping"> {
  /** Stops this continuation alone, with ABORTED. */
  readonly signal?: AbortSignal;
}

/** What a batch generator is doing, and has done. */
export interface BatchLoad {
  /** Continuations that are being decoded, and that wait. */
  readonly running: number;
  readonly waiting: number;
  /** Steps of decoding, rows of them all, and prompt tokens read since it was made. */
  readonly steps: number;
  readonly rows: number;
  readonly promptTokens: number;
}

/**
 * Continues token sequences that come at any time, all in one batch (continuous batching, as Orca, OSDI 2022): between two steps those that have
 * ended leave and those that have come are read, each prompt by itself. Calls may overlap; a continuation is what it would be alone.
 */
export interface BatchGenerator {
  /** @throws {LfmError} as a generator's; PARAM_NOT_FOUND for an adapter that there is none of */
  generate(prompt: readonly number[], options: BatchGenerateOptions, adapter?: string): Promise<Generated>;
  /** Several continuations of one prompt, which is read once. */
  generateEach(prompt: readonly number[], options: readonly BatchGenerateOptions[], adapter?: string): Promise<Generated[]>;
  /**
   * New tokens that a prompt of this length may get; 0 for one that is too long. Infinity where the model has no limit. A sequence never grows
   * beyond the length from which it would change others of its batch ({@link ModelInfo.sharedBeyond}).
   */
  room(promptTokens: number): number;
  readonly load: BatchLoad;
  /** Ends what is under way with ABORTED, and gives everything back. */
  dispose(): Promise<void>;
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that predicts no tokens */
export async function createBatchGenerator(engine: Engine, model: Model, options: BatchGeneratorOptions = {}): Promise<BatchGenerator> {
  const { adapters, batch, ...rest } = options;
  if (adapters && adapters.model !== model)
    throw new LfmError("CONFIG_INVALID", "[@lfm/models] batch generator: these adapters are places on another model", {
      hint: "createBatchGenerator(engine, adapters.model, { adapters })",
    });
  const decoder = await Decoder.create(engine, model, { ...rest, batch: { ...batch, ...adapters?.batch } });
  return new Batch(decoder, options);
}

/** A prompt, and the continuations that it shall get. */
interface Job {
  readonly prompt: readonly number[];
  readonly adapter: string | undefined;
  readonly examples: ExampleTensors;
  /** Those that have not begun. */
  members: Member[];
  /** Of an encoder-decoder: the token that answers begin with, where it is not the model's. */
  readonly answerStart: number | undefined;
  /** What was read of it, until all its continuations have begun, and how many of its tokens. */
  read: DecoderRun | undefined;
  done: number;
  /** What stands before the new tokens: the prompt, or what an answer begins with. */
  before: readonly number[];
}

interface Member {
  readonly job: Job;
  readonly choice: TokenChoice;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (result: Generated) => void;
  readonly reject: (error: unknown) => void;
  slot: Slot | undefined;
}

class Batch implements BatchGenerator {
  private readonly decoder: Decoder;
  private readonly slots: SlotRun;
  private readonly most: number;
  private readonly piece: number;
  private readonly adapters: AdapterPool | undefined;
  private readonly waiting: Job[] = [];
  private running: Member[] = [];
  private readonly done = { steps: 0, rows: 0, promptTokens: 0 };
  private turning: Promise<void> | undefined;
  private closed = false;

  constructor(decoder: Decoder, { slots = 8, promptTokens = 512, adapters }: BatchGeneratorOptions) {
    for (const [name, n] of Object.entries({ slots, promptTokens }))
      if (!Number.isInteger(n) || n < 1)
        throw new LfmError("CONFIG_INVALID", `[@lfm/models] batch generator: ${name} is ${n}, not a positive count`);
    this.decoder = decoder;
    this.slots = decoder.slots();
    this.most = slots;
    this.piece = promptTokens;
    this.adapters = adapters;
  }

  get load(): BatchLoad {
    return { running: this.running.length, waiting: this.waiting.reduce((n, job) => n + job.members.length, 0), ...this.done };
  }

  /** Beyond what the model's positions share in a batch, a sequence would turn those of the others with its own. */
  room(promptTokens: number): number {
    const { sharedBeyond = Number.POSITIVE_INFINITY } = this.decoder.model.info;
    return Math.max(0, Math.min(roomAfter(this.decoder, promptTokens), sharedBeyond - this.decoder.front - promptTokens + 1));
  }

  async generate(prompt: readonly number[], options: BatchGenerateOptions, adapter?: string): Promise<Generated> {
    return (await this.generateEach(prompt, [options], adapter))[0]!;
  }

  async generateEach(prompt: readonly number[], options: readonly BatchGenerateOptions[], adapter?: string): Promise<Generated[]> {
    if (this.closed) throw closed();
    const { decoder } = this;
    checkPrompts(decoder, [prompt]);
    if (this.room(prompt.length) < 1)
      throw new LfmError("SHAPE_MISMATCH", `[@lfm/models] batch generator: a prompt of ${prompt.length} tokens leaves no room for another`);
    if (adapter !== undefined && !this.adapters?.names.includes(adapter))
      throw new LfmError("PARAM_NOT_FOUND", `[@lfm/models] batch generator: there is no adapter "${adapter}"`);
    const examples = { ...options[0]?.batch, ...this.adapters?.examples(adapter) };
    const job: Job = {
      prompt,
      adapter,
      examples,
      answerStart: options[0]?.answerStart,
      members: [],
      read: undefined,
      done: 0,
      before: prompt,
    };
    const results = options.map((o, i) => {
      checkGenerateOptions(o);
      if (o.signal?.aborted) throw aborted(0);
      if (o.maxNewTokens === 0) return Promise.resolve<Generated>({ tokens: [], finish: "length" });
      const limit = Math.min(newTokensAtMost(decoder, prompt.length, o), this.room(prompt.length));
      const choice = new TokenChoice(o, { sequence: i, limit, rng: o.rng ?? new Rng(0) });
      return new Promise<Generated>((resolve, reject) => {
        job.members.push({ job, choice, signal: o.signal, resolve, reject, slot: undefined });
      });
    });
    if (job.members.length > 0) this.waiting.push(job);
    this.turn();
    return Promise.all(results);
  }

  async dispose(): Promise<void> {
    this.closed = true;
    await this.turning;
    await this.decoder.dispose();
  }

  /** Sees to it that turns are taken as long as there is anything to do. */
  private turn(): void {
    this.turning ??= this.turns().finally(() => {
      this.turning = undefined;
      if (this.waiting.length > 0) this.turn();
    });
  }

  private async turns(): Promise<void> {
    while (this.running.length > 0 || this.waiting.length > 0) {
      await aTurn();
      this.dropStopped();
      await this.begin();
      if (this.running.length > 0) await this.step();
    }
  }

  /** Here alone, between two runs, do continuations go that were not asked to the end. */
  private dropStopped(): void {
    for (const member of [...this.running, ...this.waiting.flatMap((job) => job.members)]) {
      const tokens = member.choice.tokens.length;
      if (this.closed) this.end(member, () => member.reject(closed()));
      else if (member.signal?.aborted) this.end(member, () => member.reject(aborted(tokens)));
    }
  }

  /** Reads prompts that wait as far as there are slots for them, so many tokens of them that those who are under way need not wait long. */
  private async begin(): Promise<void> {
    const before = this.done.promptTokens;
    while (this.running.length < this.most && !this.closed) {
      const [job] = this.waiting;
      // While nobody else is under way, nobody has to wait.
      const budget = this.running.length > 0 ? this.piece - (this.done.promptTokens - before) : Number.POSITIVE_INFINITY;
      if (!job || budget <= 0) return;
      try {
        if (!(await this.read(job, budget))) return;
      } catch (error) {
        for (const member of [...job.members]) this.end(member, () => member.reject(error));
        continue;
      }
      while (job.members.length > 0 && this.running.length < this.most) await this.admit(job.members[0]!);
      await aTurn();
    }
  }

  /** @returns whether the prompt is read to its end */
  private async read(job: Job, budget: number): Promise<boolean> {
    const { prompt, examples, done } = job;
    if (done === prompt.length) return true;
    // An encoder sees all of a source at once.
    const piece = this.decoder.readsSources ? prompt : prompt.slice(done, done + budget);
    this.hold(job);
    if (job.read) await job.read.push([piece]);
    else job.read = await this.decoder.start([piece], prompt.length - piece.length, examples, job.answerStart);
    job.done += piece.length;
    job.before = job.read.tokens()[0]!;
    this.done.promptTokens += piece.length;
    return job.done === prompt.length;
  }

  /** Brings in the adapters of those that are under way. */
  private hold(job?: Job): void {
    if (!this.adapters) return;
    const jobs = [...this.running.map((m) => m.job), ...(job ? [job] : [])];
    const values = this.adapters.hold(new Set(jobs.flatMap(({ adapter }) => adapter ?? [])));
    if (values) this.decoder.rebind(values);
  }

  /** Takes the first token of a continuation, whose prompt is read. */
  private async admit(member: Member): Promise<void> {
    const { job } = member;
    const read = job.read!;
    this.leaveQueue(member);
    if (job.members.length === 0) job.read = undefined;
    if (!(await this.take(member, read.row(0).slice()))) return;
    member.slot = this.slots.enter(read, member.choice.tokens.at(-1)!);
    this.running.push(member);
  }

  private async step(): Promise<void> {
    let logits: ReadonlyMap<Slot, Float32Array>;
    const { running } = this;
    try {
      this.hold();
      logits = await this.slots.step(this.decoder.model.info.vocabSize!);
    } catch (error) {
      for (const member of [...running]) this.end(member, () => member.reject(error));
      return;
    }
    this.done.steps++;
    this.done.rows += running.length;
    for (const member of [...running]) {
      const own = member.slot && logits.get(member.slot);
      if (own && (await this.take(member, own))) member.slot!.next = member.choice.tokens.at(-1)!;
    }
  }

  /** The next token of a continuation. @returns whether it goes on */
  private async take(member: Member, logits: Float32Array): Promise<boolean> {
    const { choice, job } = member;
    try {
      await choice.take(logits, () => [...job.before, ...choice.tokens]);
    } catch (error) {
      this.end(member, () => member.reject(error));
      return false;
    }
    if (!choice.ended) return true;
    this.end(member, () => member.resolve(choice.result()));
    return false;
  }

  /** Takes a continuation out of wherever it is. */
  private end(member: Member, settle: () => void): void {
    this.leaveQueue(member);
    this.running = this.running.filter((m) => m !== member);
    if (member.slot) this.slots.leave(member.slot);
    member.slot = undefined;
    settle();
  }

  private leaveQueue(member: Member): void {
    const { job } = member;
    job.members = job.members.filter((m) => m !== member);
    const place = this.waiting.indexOf(job);
    if (job.members.length === 0 && place >= 0) this.waiting.splice(place, 1);
  }
}

/** Runs are synchronous under their promise: without a turn of the event loop nobody could come or go. */
function aTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

function closed(): LfmError {
  return new LfmError("ABORTED", "[@lfm/models] the batch generator was closed");
}

function aborted(tokens: number): LfmError {
  return new LfmError("ABORTED", `[@lfm/models] generate: stopped after ${tokens} tokens`);
}
