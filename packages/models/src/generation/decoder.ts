import { type Engine, f32, type HostTensor, LfmError, type Model, padRows, padValues, zeros } from "@lfm/core";
import { checkExamples, type ExampleTensors } from "../named-batch.js";
import { DecoderRun, type ReadRows } from "./decoder-run.js";
import { KvStore } from "./kv-store.js";
import { SlotRun } from "./slot-run.js";
import {
  compileDecoding,
  compilePrompt,
  compileSource,
  type DecodingOptions,
  type DecodingPlan,
  type PromptProgram,
  planDecoding,
  type SourceProgram,
  type StepProgram,
} from "./step-graph.js";

/**
 * Runs prompts and single steps of a language model on one engine. One session serves both; only a model with a learned prompt in front
 * takes two: the prompt is computed once, with the tokens. Of an encoder-decoder the prompts are sources: each is read once, and what its steps
 * go on from is the answer.
 */
export class Decoder {
  private readonly engine: Engine;
  private readonly options: DecodingOptions;
  private readonly next: StepProgram;
  private first: PromptProgram | undefined;
  /** Of an encoder-decoder. */
  private readonly source: SourceProgram | undefined;
  private plan: DecodingPlan;

  private constructor(
    engine: Engine,
    options: DecodingOptions,
    next: StepProgram,
    beginnings: { readonly first: PromptProgram | undefined; readonly source: SourceProgram | undefined },
    plan: DecodingPlan,
  ) {
    this.engine = engine;
    this.options = options;
    this.next = next;
    this.first = beginnings.first;
    this.source = beginnings.source;
    this.plan = plan;
  }

  /** @throws {LfmError} CAPABILITY_MISSING for a model that predicts no tokens or keeps no cache */
  static async create(engine: Engine, model: Model, options: DecodingOptions = {}): Promise<Decoder> {
    const plan = planDecoding(model, options);
    const next = await compileDecoding(engine, model, plan, options);
    const first = plan.prefix === 0 ? undefined : await compilePrompt(engine, model, options);
    const source = plan.source ? await compileSource(engine, model, options) : undefined;
    return new Decoder(engine, options, next, { first, source }, plan);
  }

  get model(): Model {
    return this.next.bound().model;
  }

  /** Whether the prompts are sources, that an encoder reads as a whole. */
  get readsSources(): boolean {
    return this.source !== undefined;
  }

  /** Positions that tokens are counted behind: what prompts and prefixes of the model's deltas take. */
  get front(): number {
    return this.plan.front;
  }

  /** Goes on as another model on the same base; runs that were begun before end here. @throws {LfmError} PARENT_MISMATCH */
  async swap(model: Model): Promise<void> {
    const plan = planDecoding(model, this.options);
    await this.next.swap(model);
    await this.source?.swap(model);
    const { first } = this;
    this.plan = plan;
    if (plan.prefix === 0) {
      this.first = undefined;
      await first?.dispose();
    } else if (first) await first.swap(model);
    else this.first = await compilePrompt(this.engine, model, this.options);
  }

  /**
   * Starts sequences that are not empty.
   * @param room positions that will come after the prompts, or of an encoder-decoder in its answers, as far as is known
   * @param given what hooks read of each
   * @param answerStart of an encoder-decoder: the token that answers begin with; default the model's
   * @throws {LfmError} SHAPE_MISMATCH for tensors that do not fit, CONFIG_INVALID for an encoder-decoder that names no token to begin with
   */
  async start(
    prompts: readonly (readonly number[])[],
    room: number,
    given?: ExampleTensors,
    answerStart = this.model.info.answerStart,
  ): Promise<DecoderRun> {
    const batch = checkExamples(this.options.batch, given, prompts.length);
    if (!this.source) return this.begin(prompts, room, batch);
    if (answerStart === undefined)
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/models] generation: the config of this ${this.model.info.architecture} names no token to begin with`,
        {
          hint: 'config.json: "decoder_start_token_id": 0, which for T5 is the padding token',
        },
      );
    // Filling stands behind: what a learned prompt puts in front is next to the text.
    const source = await this.source({ ...padRows(prompts), batch });
    return this.begin(
      prompts.map(() => [answerStart]),
      room,
      batch,
      source,
    );
  }

  private async begin(rows: readonly (readonly number[])[], room: number, batch: ExampleTensors, source?: ReadRows): Promise<DecoderRun> {
    const { layers, prefix } = this.plan;
    // Filling stands in front: the last position of every row is the one that predicts.
    const { tokens, mask } = padRows(rows, { side: "left" });
    const positions = padValues(
      "i32",
      rows.map((p) => p.map((_, j) => j)),
      { side: "left" },
    );
    const longest = tokens.shape[1]!;
    const out = this.first
      ? await this.first({ tokens, positions, mask, batch })
      : await this.next({ tokens, positions, batch, ...this.nothing(rows.length, mask), ...(source ? { source } : {}) });
    const store = new KvStore(rows.length, layers, prefix + longest + room);
    store.append(
      out.cache.flatMap(({ key, value }) => [key, value]),
      prefix + longest,
      behindOnes(mask, prefix),
    );
    return new DecoderRun(this.next, store, layers, rows, { batch, ...(source ? { source } : {}) }, out.logits.data as Float32Array);
  }

  /** Sequences that are read by {@link start} and then decoded together, as they come and go. */
  slots(): SlotRun {
    return new SlotRun(this.next, this.plan.layers);
  }

  /** Other values of the model's live parameters from the next run on. @throws {LfmError} as {@link CompiledModel.rebind} */
  rebind(values: Readonly<Record<string, HostTensor>>): void {
    this.next.rebind(values);
    this.first?.rebind(values);
    this.source?.rebind(values);
    this.source?.rebind(values);
  }

  async dispose(): Promise<void> {
    await this.next.dispose();
    await this.first?.dispose();
    await this.source?.dispose();
  }

  /** An empty cache of one hidden position: no tensor is without elements. */
  private nothing(rows: number, mask: HostTensor): { readonly mask: HostTensor; readonly cache: { key: HostTensor; value: HostTensor }[] } {
    const cache = this.plan.layers.map(({ kvHeads, headDim }) => {
      const shape = [rows, kvHeads, 1, headDim];
      return { key: zeros(shape), value: zeros(shape) };
    });
    const width = mask.shape[1]! + 1;
    const shifted = new Float32Array(rows * width);
    for (let b = 0; b < rows; b++) shifted.set((mask.data as Float32Array).subarray(b * (width - 1), (b + 1) * (width - 1)), b * width + 1);
    return { mask: f32(shifted, [rows, width]), cache };
  }
}

/** f32[rows, prefix + seq]: what stands in front counts. */
function behindOnes({ data, shape }: HostTensor, prefix: number): Float32Array {
  const [rows, seq] = [shape[0]!, shape[1]!];
  const out = new Float32Array(rows * (prefix + seq)).fill(1);
  for (let b = 0; b < rows; b++) out.set((data as Float32Array).subarray(b * seq, (b + 1) * seq), b * (prefix + seq) + prefix);
  return out;
}
