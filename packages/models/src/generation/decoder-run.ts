import { f32, type HostTensor, i32, LfmError, type Model, padRows, padValues, selectRows, zeros } from "@lfm/core";
import type { ExampleTensors } from "../named-batch.js";
import type { KvStore, LayerShape } from "./kv-store.js";
import type { StepProgram } from "./step-graph.js";

/** What was read of the sources of an encoder-decoder, a row each. */
export interface ReadRows {
  /** f32[rows, kvHeads, prefix + seq, headDim] each. */
  readonly cache: readonly { readonly key: HostTensor; readonly value: HostTensor }[];
  /** f32[rows, prefix + seq] */
  readonly mask: HostTensor;
}

/** What every step reads of each row and none changes. */
interface Fixed {
  /** What hooks read. */
  readonly batch: ExampleTensors;
  readonly source?: ReadRows;
}

/** Sequences in progress: their cache, and what stands in it where. */
export class DecoderRun {
  /** f32[rows, vocab]: logits of the token after each row. The buffer is overwritten by what comes next. */
  private logits: Float32Array;
  private readonly program: StepProgram;
  private readonly model: Model;
  private readonly store: KvStore;
  private readonly layers: readonly LayerShape[];
  private readonly width: number;
  /** Positions that stand in front of all tokens and never go: learned prompts. */
  private readonly front: number;
  /** Tokens of each row, and the position in the cache of each of them. */
  private rows: { readonly tokens: number[]; readonly places: number[] }[];
  private step: StepBuffers;
  private fixed: Fixed;
  /** What is fixed by its name in the graph. */
  private named: ExampleTensors;
  /** The row that each was when it was started. */
  private origins: readonly number[];

  /** @param store the cache of the prompts; logits — f32[rows, vocab] after them */
  constructor(
    program: StepProgram,
    store: KvStore,
    layers: readonly LayerShape[],
    prompts: readonly (readonly number[])[],
    fixed: Fixed,
    logits: Float32Array,
  ) {
    this.program = program;
    this.model = program.bound().model;
    this.store = store;
    this.layers = layers;
    this.logits = logits;
    this.width = logits.length / prompts.length;
    this.front = store.length - Math.max(...prompts.map((p) => p.length));
    this.rows = prompts.map((p) => ({ tokens: [...p], places: p.map((_, j) => store.length - p.length + j) }));
    this.step = new StepBuffers(prompts.length, this.width, layers);
    this.fixed = fixed;
    this.named = namesOf(fixed);
    this.origins = prompts.map((_, b) => b);
  }

  /** Tokens of every row, its prompt included. */
  tokens(): number[][] {
    return this.rows.map((r) => [...r.tokens]);
  }

  /** Number of tokens of every row. */
  lengths(): number[] {
    return this.rows.map((r) => r.tokens.length);
  }

  /** Positions that the cache can take before it moves. */
  get room(): number {
    return this.store.capacity - this.store.length;
  }

  /** What hooks read of each row. */
  examples(): ExampleTensors {
    return this.fixed.batch;
  }

  /** What every step reads and none changes, by its name in the graph, a row each: what hooks read, and what was read of sources. */
  fixedInputs(): ExampleTensors {
    return this.named;
  }

  /** Keys and values of each layer in turn, f32[rows, kvHeads, any, headDim], and how many positions of them are filled. */
  cached(): { readonly tensors: readonly HostTensor[]; readonly length: number } {
    return { tensors: this.store.tensors(), length: this.store.length };
  }

  /** Logits of one row, f32[vocab]: a view. */
  row(b: number): Float32Array {
    return this.logits.subarray(b * this.width, (b + 1) * this.width);
  }

  /** Tokens that come after each row, as many as they are; a row without any stays as it is, its logits too. */
  async push(added: readonly (readonly number[])[]): Promise<void> {
    this.checkModel();
    const count = added.reduce((n, row) => Math.max(n, row.length), 0);
    if (count === 0) return;
    const kept = added.map((row, b) => (row.length === 0 ? this.row(b).slice() : undefined));
    const from = this.store.length;
    if (count === 1) await this.pushOne(added);
    else await this.pushMany(added, count);
    for (const [b, row] of added.entries()) {
      const { tokens, places } = this.rows[b]!;
      for (const [j, token] of row.entries()) {
        tokens.push(token);
        places.push(from + count - row.length + j);
      }
      const before = kept[b];
      if (before) this.row(b).set(before);
    }
  }

  /** Row i goes on from what was row `rows[i]`. */
  fork(rows: readonly number[]): void {
    this.checkModel();
    const resized = rows.length !== this.rows.length;
    if (!resized && rows.every((row, i) => row === i)) return;
    this.store.select(rows);
    const logits = new Float32Array(rows.length * this.width);
    for (const [i, row] of rows.entries()) logits.set(this.row(row), i * this.width);
    this.logits = logits;
    this.rows = rows.map((row) => ({ tokens: [...this.rows[row]!.tokens], places: [...this.rows[row]!.places] }));
    const origins = rows.map((row) => this.origins[row]!);
    // Ways of one prompt share what is fixed.
    if (resized || origins.some((origin, i) => origin !== this.origins[i])) {
      this.fixed = selected(this.fixed, rows);
      this.named = namesOf(this.fixed);
    }
    this.origins = origins;
    if (resized) this.step = new StepBuffers(rows.length, this.width, this.layers);
  }

  /** Cuts each row to its first `lengths[b]` tokens, 1 at least. The last of them is run again, for its logits. */
  async rewind(lengths: readonly number[]): Promise<void> {
    this.checkModel();
    const again = this.rows.map(({ tokens, places }, b) => {
      if (tokens.length === lengths[b]) return [];
      const last = tokens[lengths[b]! - 1]!;
      tokens.length = lengths[b]! - 1;
      for (const place of places.splice(tokens.length)) this.store.hide(b, place);
      return [last];
    });
    this.store.truncate(Math.max(this.front, ...this.rows.map(({ places }) => (places.at(-1) ?? -1) + 1)));
    await this.push(again);
  }

  /** A token for each row, or for some: buffers are those of the step before. */
  private async pushOne(added: readonly (readonly number[])[]): Promise<void> {
    const { store, step } = this;
    for (const [b, row] of added.entries()) {
      step.tokens[b] = row[0] ?? 0;
      step.positions[b] = row.length === 0 ? 0 : this.rows[b]!.tokens.length;
      step.keep[b] = row.length;
    }
    await this.program.run({ ...step.feeds(store), ...this.named }, step.into);
    store.append(step.fresh, 1, step.keep);
    this.logits = step.logits;
  }

  private async pushMany(added: readonly (readonly number[])[], count: number): Promise<void> {
    const { store } = this;
    const { tokens, mask } = padRows(added, { side: "left" });
    const keep = mask.data as Float32Array;
    const whole = new Float32Array(store.batch * (store.capacity + count));
    store.mask(count, keep, whole);
    const positions = added.map((row, b) => row.map((_, j) => this.rows[b]!.tokens.length + j));
    const out = await this.program.run({
      "in/tokens": tokens,
      "in/positions": padValues("i32", positions, { side: "left" }),
      "in/mask": f32(whole, [store.batch, store.capacity + count]),
      ...Object.fromEntries(store.tensors().map((t, i) => [`in/${cacheName(i)}`, t])),
      ...this.named,
    });
    store.append(
      store.tensors().map((_, i) => out[`out/${cacheName(i)}`]!),
      count,
      keep,
    );
    this.logits = out["out/logits"]!.data as Float32Array;
  }

  /** @throws {LfmError} CONFIG_INVALID where another model was swapped in since */
  checkModel(): void {
    if (this.program.bound().model !== this.model)
      throw new LfmError("CONFIG_INVALID", "[@lfm/models] generation: another model was swapped in since these sequences were opened", {
        hint: "open them again",
      });
  }
}

/** What steps of one token feed and fill, kept from step to step: an engine wraps each buffer once. */
class StepBuffers {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  /** f32[rows]: 0 for a row that gets no token. */
  readonly keep: Float32Array;
  readonly logits: Float32Array;
  /** Key and value of each layer at the new position. */
  readonly fresh: readonly HostTensor[];
  readonly into: Readonly<Record<string, HostTensor>>;
  private readonly named: Record<string, HostTensor>;
  private mask: Float32Array;

  constructor(rows: number, width: number, layers: readonly LayerShape[]) {
    this.tokens = new Int32Array(rows);
    this.positions = new Int32Array(rows);
    this.keep = new Float32Array(rows);
    this.mask = new Float32Array(0);
    this.logits = new Float32Array(rows * width);
    this.fresh = layers.flatMap(({ kvHeads, headDim }) => [zeros([rows, kvHeads, 1, headDim]), zeros([rows, kvHeads, 1, headDim])]);
    this.into = {
      "out/logits": f32(this.logits, [rows, width]),
      ...Object.fromEntries(this.fresh.map((t, i) => [`out/${cacheName(i)}`, t])),
    };
    this.named = { "in/tokens": i32(this.tokens, [rows, 1]), "in/positions": i32(this.positions, [rows, 1]) };
  }

  feeds(store: KvStore): Readonly<Record<string, HostTensor>> {
    const width = store.capacity + 1;
    if (this.mask.length !== store.batch * width) {
      this.mask = new Float32Array(store.batch * width);
      this.named["in/mask"] = f32(this.mask, [store.batch, width]);
    }
    store.mask(1, this.keep, this.mask);
    for (const [i, t] of store.tensors().entries()) this.named[`in/${cacheName(i)}`] = t;
    return this.named;
  }
}

function namesOf({ batch, source }: Fixed): ExampleTensors {
  const ofBatch = Object.entries(batch).map(([name, t]) => [`in/batch/${name}`, t] as const);
  const kv = source?.cache.flatMap(({ key, value }) => [key, value]) ?? [];
  return {
    ...Object.fromEntries([...ofBatch, ...kv.map((t, i) => [`in/source/${cacheName(i)}`, t] as const)]),
    ...(source ? { "in/source/mask": source.mask } : {}),
  };
}

function selected({ batch, source }: Fixed, rows: readonly number[]): Fixed {
  const own = Object.fromEntries(Object.entries(batch).map(([name, t]) => [name, selectRows(t, rows)]));
  if (!source) return { batch: own };
  const cache = source.cache.map(({ key, value }) => ({ key: selectRows(key, rows), value: selectRows(value, rows) }));
  return { batch: own, source: { cache, mask: selectRows(source.mask, rows) } };
}

/** Name of a tensor of the cache: key and value of each layer in turn. */
export function cacheName(i: number): string {
  return `cache/${i >> 1}/${i % 2 === 0 ? "key" : "value"}`;
}
