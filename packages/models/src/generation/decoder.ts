import {
  type CompileOptions,
  dimAdd,
  dimSub,
  type Engine,
  type Executable,
  f32,
  type Graph,
  type Hook,
  type HostTensor,
  i32,
  type KvPair,
  LfmError,
  type Model,
  type Outputs,
  type ParamTree,
  type Spec,
  slice,
  squeeze,
  sym,
  type Tensor,
  trace,
  type Weights,
  zeros,
} from "@lfm/core";
import { KvStore, type LayerShape } from "./kv-store.js";

const [batch, seq, past] = [sym("batch"), sym("seq"), sym("past")];
const tokenSpecs = { tokens: { dtype: "i32", shape: [batch, seq] }, positions: { dtype: "i32", shape: [batch, seq] } } as const;

/** The head is the largest product of a small model: it reads the last position alone. */
const lastPosition: Hook = { matches: (site) => site.kind === "head", input: (x) => slice(x, 1, dimSub(x.dim(1), 1), 1) };

/** Runs prompts and single steps of a causal language model on one engine. */
export class Decoder {
  readonly model: Model;
  private readonly first: Executable;
  private readonly next: Executable;
  private readonly layers: readonly LayerShape[];
  /** Positions that prompts of the model's deltas put in front. */
  readonly prefix: number;

  private constructor(model: Model, first: Executable, next: Executable, layers: readonly LayerShape[], prefix: number) {
    this.model = model;
    this.first = first;
    this.next = next;
    this.layers = layers;
    this.prefix = prefix;
  }

  /**
   * One session serves prompts and steps. Only a model with a learned prompt in front takes two: the prompt is computed once, with the tokens.
   * @throws {LfmError} CAPABILITY_MISSING for a model that predicts no tokens or keeps no cache
   */
  static async create(engine: Engine, model: Model, options: CompileOptions = {}): Promise<Decoder> {
    const { info } = model;
    if (info.task !== "causal-lm")
      throw new LfmError(
        "CAPABILITY_MISSING",
        `[@lfm/models] generation needs a causal language model, ${info.architecture} is a ${info.task}`,
      );
    const plan = tracePrompt(model);
    const layers = plan.cache.map(({ key }): LayerShape => ({ kvHeads: key.dim(1) as number, headDim: key.dim(3) as number }));
    const next = await engine.compile(traceStep(model, layers), options);
    if (plan.prefix === 0) return new Decoder(model, next, next, layers, 0);
    return new Decoder(model, await engine.compile(plan.graph, options), next, layers, plan.prefix);
  }

  /** Starts sequences. @returns logits of the token after each, f32[batch, vocab], and what goes on from there */
  async start(
    prompts: readonly (readonly number[])[],
    expected: number,
  ): Promise<{ readonly logits: Float32Array; readonly run: DecoderRun }> {
    const rows = prompts.length;
    const longest = Math.max(...prompts.map((p) => p.length));
    const tokens = new Int32Array(rows * longest);
    const positions = new Int32Array(rows * longest);
    const keep = new Float32Array(rows * longest);
    prompts.forEach((prompt, b) => {
      // Padding stands in front: the last position of every row is the one that predicts.
      const start = (b + 1) * longest - prompt.length;
      for (const [j, id] of prompt.entries()) [tokens[start + j], positions[start + j], keep[start + j]] = [id, j, 1];
    });
    const shape = [rows, longest];
    const feeds: Record<string, HostTensor> = { "in/tokens": i32(tokens, shape), "in/positions": i32(positions, shape) };
    const separate = this.first !== this.next;
    if (separate) feeds["in/mask"] = f32(keep, shape);
    else {
      // an empty cache of one hidden position: no tensor is without elements
      const mask = new Float32Array(rows * (longest + 1));
      for (let b = 0; b < rows; b++) mask.set(keep.subarray(b * longest, (b + 1) * longest), b * (longest + 1) + 1);
      feeds["in/mask"] = f32(mask, [rows, longest + 1]);
      this.layers.forEach(({ kvHeads, headDim }, i) => {
        for (const part of ["key", "value"]) feeds[`in/cache/${i}/${part}`] = zeros([rows, kvHeads, 1, headDim]);
      });
    }
    const out = await this.first.run(feeds);
    const store = new KvStore(rows, this.layers, this.prefix + longest + expected);
    const front = new Float32Array(rows * (this.prefix + longest)).fill(1);
    for (let b = 0; b < rows; b++) front.set(keep.subarray(b * longest, (b + 1) * longest), b * (this.prefix + longest) + this.prefix);
    store.append(freshOf(out, this.layers.length), this.prefix + longest, front);
    const { vocabSize, maxLength } = this.model.info;
    const lengths = Int32Array.from(prompts, (p) => p.length);
    const limits = { vocabulary: vocabSize!, lastPosition: (maxLength ?? Number.POSITIVE_INFINITY) - this.prefix - 1 };
    const run = new DecoderRun(this.next, store, this.layers, lengths, limits);
    return { logits: out["out/logits"]!.data as Float32Array, run };
  }

  async dispose(): Promise<void> {
    await this.next.dispose();
    if (this.first !== this.next) await this.first.dispose();
  }
}

/** Sequences in progress. */
class DecoderRun {
  private readonly executable: Executable;
  private readonly store: KvStore;
  private readonly positions: Int32Array;
  private readonly into: Record<string, HostTensor>;
  private readonly ones: Float32Array;
  private readonly layers: number;
  private readonly lastPosition: number;

  constructor(
    executable: Executable,
    store: KvStore,
    layers: readonly LayerShape[],
    positions: Int32Array,
    limits: { readonly vocabulary: number; readonly lastPosition: number },
  ) {
    this.executable = executable;
    this.store = store;
    this.positions = positions;
    this.layers = layers.length;
    this.ones = new Float32Array(store.batch).fill(1);
    this.lastPosition = limits.lastPosition;
    this.into = { "out/logits": zeros([store.batch, limits.vocabulary]) };
    layers.forEach(({ kvHeads, headDim }, i) => {
      for (const part of ["key", "value"]) this.into[`out/cache/${i}/${part}`] = zeros([store.batch, kvHeads, 1, headDim]);
    });
  }

  /** One more token per sequence. @returns logits f32[batch, vocab]; the buffer is overwritten by the next step */
  async step(tokens: Int32Array): Promise<Float32Array> {
    const rows = this.store.batch;
    const feeds: Record<string, HostTensor> = {
      "in/tokens": i32(tokens, [rows, 1]),
      "in/positions": i32(this.positions, [rows, 1]),
      "in/mask": f32(this.store.mask(1), [rows, this.store.capacity + 1]),
    };
    this.store.tensors().forEach((t, i) => {
      feeds[`in/cache/${i >> 1}/${i % 2 === 0 ? "key" : "value"}`] = t;
    });
    const out = await this.executable.run(feeds, this.into);
    this.store.append(freshOf(out, this.layers), 1, this.ones);
    // A sequence that has ended rides along with the others: its position stays within what the model knows.
    for (let b = 0; b < rows; b++) this.positions[b] = Math.min(this.positions[b]! + 1, this.lastPosition);
    return out["out/logits"]!.data as Float32Array;
  }
}

function freshOf(out: Readonly<Record<string, HostTensor>>, layers: number): HostTensor[] {
  return Array.from({ length: 2 * layers }, (_, i) => out[`out/cache/${i >> 1}/${i % 2 === 0 ? "key" : "value"}`]!);
}

function tracePrompt(model: Model): { readonly graph: Graph; readonly cache: readonly KvPair[]; readonly prefix: number } {
  let prefix: Outputs["prefix"] = 0;
  const inputs = { ...tokenSpecs, mask: { dtype: "f32", shape: [batch, seq] } } as const;
  const { graph, output } = trace(
    inputs,
    (input, params: ParamTree) => {
      const out = model.forward(params, input, { mode: "eval", hooks: [lastPosition], want: { cache: true } });
      prefix = out.prefix ?? 0;
      return { logits: lastLogits(out), cache: requireCache(model, out).map(({ key, value }) => ({ key, value })) };
    },
    model.params as Weights,
  );
  if (typeof prefix !== "number")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/models] generation: the length of what stands in front of the tokens (${prefix}) must be fixed`,
    );
  return { graph, cache: output.cache, prefix };
}

function traceStep(model: Model, layers: readonly LayerShape[]): Graph {
  const cache = layers.map(({ kvHeads, headDim }) => {
    const spec: Spec = { dtype: "f32", shape: [batch, kvHeads, past, headDim] };
    return { key: spec, value: spec };
  });
  return trace(
    { ...tokenSpecs, mask: { dtype: "f32", shape: [batch, dimAdd(past, seq)] }, cache },
    (input, params: ParamTree) => {
      const given = input.cache as readonly KvPair[];
      const out = model.forward(params, { ...input, cache: given }, { mode: "eval", hooks: [lastPosition], want: { cache: true } });
      const fresh = requireCache(model, out).map(({ key, value }, i) => ({
        key: appended(key, given[i]!.key),
        value: appended(value, given[i]!.value),
      }));
      return { logits: lastLogits(out), cache: fresh };
    },
    model.params as Weights,
  ).graph;
}

/** What was joined to the cache: read where it was made, so that the joined tensor need not be computed. */
function appended(joined: Tensor, before: Tensor): Tensor {
  const { op, inputs } = joined.node;
  if (op.name === "concat" && inputs.length === 2 && inputs[0] === before) return inputs[1]!;
  return slice(joined, 2, before.dim(2), dimSub(joined.dim(2), before.dim(2)));
}

/** f32[batch, vocab] */
function lastLogits(out: Outputs): Tensor {
  const logits = out.logits!;
  const length = logits.dim(1);
  return squeeze(slice(logits, 1, dimSub(length, 1), 1), 1);
}

function requireCache(model: Model, out: Outputs): readonly KvPair[] {
  if (out.cache && out.logits) return out.cache;
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/models] ${model.info.architecture} gives no cache of keys and values`);
}
