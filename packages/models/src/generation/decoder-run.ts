import { f32, type HostTensor, LfmError, type Model, padRows, padValues, zeros } from "@lfm/core";
import type { KvStore, LayerShape } from "./kv-store.js";
import type { StepProgram } from "./step-graph.js";

/** Buffers that a step of one token writes into. */
interface StepBuffers {
  readonly logits: HostTensor;
  readonly cache: readonly { readonly key: HostTensor; readonly value: HostTensor }[];
}

/** Sequences in progress: their cache, and what stands in it where. */
export class DecoderRun {
  /** f32[rows, vocab]: logits of the token after each row. The buffer is overwritten by what comes next. */
  logits: Float32Array;
  private readonly program: StepProgram;
  private readonly model: Model;
  private readonly store: KvStore;
  private readonly layers: readonly LayerShape[];
  private readonly width: number;
  /** Tokens of each row, and the position in the cache of each of them. */
  private rows: { readonly tokens: number[]; readonly places: number[] }[];
  private buffers: StepBuffers;
  private ones: Float32Array;

  constructor(
    program: StepProgram,
    store: KvStore,
    layers: readonly LayerShape[],
    prompts: readonly (readonly number[])[],
    logits: Float32Array,
  ) {
    this.program = program;
    this.model = program.bound().model;
    this.store = store;
    this.layers = layers;
    this.logits = logits;
    this.width = logits.length / prompts.length;
    this.rows = prompts.map((p) => ({ tokens: [...p], places: p.map((_, j) => store.length - p.length + j) }));
    this.buffers = this.allocate();
    this.ones = new Float32Array(prompts.length).fill(1);
  }

  /** Tokens of every row, its prompt included. */
  tokens(): readonly (readonly number[])[] {
    return this.rows.map((r) => r.tokens);
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
    const { tokens, mask } = padRows(added, { side: "left" });
    const keep = count === 1 && !kept.some(Boolean) ? this.ones : (mask.data as Float32Array);
    const { store } = this;
    const feeds = {
      tokens,
      positions: padValues(
        "i32",
        added.map((row, b) => row.map((_, j) => this.rows[b]!.tokens.length + j)),
        { side: "left" },
      ),
      mask: f32(store.mask(count, keep), [store.batch, store.capacity + count]),
      cache: store.pairs(),
    };
    const out = await this.program(feeds, count === 1 ? this.buffers : undefined);
    const from = store.length;
    store.append(
      out.cache.flatMap(({ key, value }) => [key, value]),
      count,
      keep,
    );
    this.logits = out.logits.data as Float32Array;
    for (const [b, row] of added.entries()) {
      const { tokens: own, places } = this.rows[b]!;
      for (const [j, token] of row.entries()) {
        own.push(token);
        places.push(from + count - row.length + j);
      }
      const before = kept[b];
      if (before) this.row(b).set(before);
    }
  }

  /** Row i goes on from what was row `rows[i]`. */
  fork(rows: readonly number[]): void {
    this.checkModel();
    if (rows.length === this.rows.length && rows.every((row, i) => row === i)) return;
    this.store.select(rows);
    const logits = new Float32Array(rows.length * this.width);
    for (const [i, row] of rows.entries()) logits.set(this.row(row), i * this.width);
    this.logits = logits;
    const resized = rows.length !== this.rows.length;
    this.rows = rows.map((row) => ({ tokens: [...this.rows[row]!.tokens], places: [...this.rows[row]!.places] }));
    if (!resized) return;
    this.buffers = this.allocate();
    this.ones = new Float32Array(rows.length).fill(1);
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
    this.store.truncate(Math.max(...this.rows.map(({ places }) => places.at(-1) ?? -1)) + 1);
    await this.push(again);
  }

  private checkModel(): void {
    if (this.program.bound().model !== this.model)
      throw new LfmError("CONFIG_INVALID", "[@lfm/models] generation: another model was swapped in since these sequences were opened", {
        hint: "open them again",
      });
  }

  private allocate(): StepBuffers {
    const rows = this.store.batch;
    return {
      logits: zeros([rows, this.width]),
      cache: this.layers.map(({ kvHeads, headDim }) => {
        const shape = [rows, kvHeads, 1, headDim];
        return { key: zeros(shape), value: zeros(shape) };
      }),
    };
  }
}
