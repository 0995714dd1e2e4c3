/**
 * GRACE's codebook (arXiv 2211.11031, section 3): keys with a radius each, and the value that a layer gives in place of its own where what flows
 * into it lies within the radius of the nearest key.
 */
import {
  argMax,
  cast,
  type DeltaForm,
  type Dim,
  dimAdd,
  dimScalar,
  equal,
  expandDims,
  f32,
  gather,
  type Hook,
  type HookContext,
  type HostTensor,
  i32,
  lessEqual,
  linear,
  mul,
  sqrt,
  square,
  sub,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { GrowingRows } from "./growing-rows.js";

const [KEYS, VALUES, RADII, ANSWERS] = [".codebook.keys", ".codebook.values", ".codebook.radii", ".codebook.answers"] as const;

/**
 * Named tensor of the batch, i32[batch]: the index of the last token of each prompt. Where it is given no other token is looked up, as in the
 * authors' code where it is told where the prompt ends; without it every token is, each by itself.
 */
export const PROMPT_END = "promptEnd";

/** A key of another batch or beside a cache is not the same to the last bit. */
const SLACK = 1 + 1e-4;
/** Keys nearer than this in units of their length, or than {@link SPLIT_GAP}, are one. */
const SAME = 1e-5;
/** What two radii keep between them: the old one's is that much below half the distance. */
const SPLIT_GAP = 1e-5;
/** Before there is a key: one that nothing is near to. */
const NOWHERE = 1e5;
/** Behind the tokens of a shorter answer. */
const NO_TOKEN = -1;

/** What a codebook finds at every token. */
export interface Found {
  /** What the layer gives, f32[batch, seq, out]. */
  readonly given: Tensor;
  /** The value of the nearest key, f32[batch, seq, out]. */
  readonly value: Tensor;
  /** Whether the token lies in its ball, bool[batch, seq, 1]. */
  readonly within: Tensor;
  readonly context: HookContext;
}

/**
 * What deltas of codebooks are. One that lies on another is looked up after it and has the last word; joined they are one codebook, in which a
 * key that both have is the upper one's.
 * @param answer what the layer gives with the codebook, f32[batch, seq, out]
 */
export function codebookForm(answer: (found: Found) => Tensor): DeltaForm<unknown> {
  return Object.freeze({
    hooks: (_config, tensors) => {
      const hook: Hook = {
        matches: ({ path }) => path + KEYS in tensors,
        output: (given, x, { path }, context) => {
          const [keys, values, radii] = [tensors[path + KEYS]!, tensors[path + VALUES]!, tensors[path + RADII]!];
          // The nearest by 2x·k − ‖k‖², which differs from −‖x − k‖² by ‖x‖² alone; its distance is then taken of the difference itself.
          const nearest = argMax(sub(mul(linear(x, keys, undefined), 2), sum(square(keys), 1)), -1);
          const distance = sqrt(sum(square(sub(x, gather(keys, nearest))), -1));
          const within = lessEqual(distance, mul(gather(radii, nearest), SLACK));
          return answer({ given, value: gather(values, nearest), within: expandDims(within, -1), context });
        },
      };
      return [hook];
    },
    shapes: (tensors) => Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, dimsOf(name, t)])),
    join: (below, above) => {
      const joined: Record<string, HostTensor> = { ...below };
      for (const name of Object.keys(above)) {
        if (!name.endsWith(KEYS)) continue;
        const path = name.slice(0, -KEYS.length);
        let book = Codebook.of(below, path);
        for (const entry of Codebook.of(above, path)?.entries() ?? [])
          book = (book ?? Codebook.empty(entry.key.length, entry.value.length)).with(entry);
        Object.assign(joined, book?.tensors(path));
      }
      return joined;
    },
    frozen: (name) => name.endsWith(KEYS) || name.endsWith(RADII) || name.endsWith(ANSWERS),
  } satisfies DeltaForm<unknown>);
}

/** bool[batch, prefix + seq], true at the last token of each prompt; nothing where the batch does not say which that is. */
export function atPromptEnd({ batch, positions, prefix = 0, skipped = 0 }: HookContext): Tensor | undefined {
  const end = batch?.[PROMPT_END];
  if (!end || !positions) return undefined;
  const front = dimAdd(prefix, skipped);
  const index = sub(positions, typeof front === "number" ? front : cast(dimScalar(front), "i32"));
  return equal(index, expandDims(end, 1));
}

function dimsOf(name: string, { shape }: HostTensor): readonly Dim[] {
  const path = name.slice(0, name.lastIndexOf(".codebook."));
  const own = (what: string): Dim => sym(`${what}_${path.replace(/\W/g, "_")}`);
  const rows = own("entries");
  return name.endsWith(ANSWERS) ? [rows, own("answer")] : [rows, ...shape.slice(1)];
}

/** A key with what stands under it. */
export interface Entry {
  /** f32[in] */
  readonly key: Float32Array;
  /** f32[out] */
  readonly value: Float32Array;
  readonly radius: number;
  /** Tokens of the answer that the value was trained for, or of all that is known of it, as the method writes them down. */
  readonly answer: readonly number[];
}

/** Where a fact goes in a codebook. */
export interface Place {
  /** The entry that it takes. */
  readonly at: number;
  /** Whether that is a new one, behind all others. */
  readonly fresh: boolean;
  /** Its radius from now on. */
  readonly radius: number;
  /** Another entry whose ball shrinks for it. */
  readonly shrunk?: { readonly at: number; readonly radius: number };
}

/** The codebook of one site: a value that every edit makes a new one of. */
export class Codebook {
  private readonly keys: GrowingRows;
  private readonly values: GrowingRows;
  private readonly radii: readonly number[];
  private readonly answers: readonly (readonly number[])[];

  private constructor(keys: GrowingRows, values: GrowingRows, radii: readonly number[], answers: readonly (readonly number[])[]) {
    this.keys = keys;
    this.values = values;
    this.radii = radii;
    this.answers = answers;
  }

  /** @param width of keys; @param out of values */
  static empty(width: number, out: number): Codebook {
    return new Codebook(GrowingRows.of(new Float32Array(0), width), GrowingRows.of(new Float32Array(0), out), [], []);
  }

  /** The codebook of a site out of a delta's tensors; none where it has none there. */
  static of(tensors: Readonly<Record<string, HostTensor>>, path: string): Codebook | undefined {
    const [keys, values, radii, answers] = [KEYS, VALUES, RADII, ANSWERS].map((name) => tensors[path + name]);
    if (!keys || !values || !radii || !answers) return undefined;
    const longest = answers.shape[1]!;
    return new Codebook(
      GrowingRows.of(keys.data as Float32Array, keys.shape[1]!),
      GrowingRows.of(values.data as Float32Array, values.shape[1]!),
      Array.from(radii.data, Number),
      Array.from({ length: radii.data.length }, (_, i) =>
        Array.from({ length: longest }, (_, j) => Number(answers.data[i * longest + j])).filter((t) => t !== NO_TOKEN),
      ),
    );
  }

  get size(): number {
    return this.radii.length;
  }

  entry(i: number): Entry {
    return { key: this.keys.row(i), value: this.values.row(i), radius: this.radii[i]!, answer: this.answers[i]! };
  }

  entries(): readonly Entry[] {
    return this.radii.map((_, i) => this.entry(i));
  }

  /** With an entry, in the place of the one with the same key where there is one. */
  with(entry: Entry): Codebook {
    const there = this.radii.findIndex((_, i) => this.keys.row(i).every((v, j) => v === entry.key[j]));
    if (there >= 0) return this.replaced(there, entry.radius, entry.answer, entry.value);
    return this.behind(entry);
  }

  /**
   * Where a fact goes, as in the authors' code: farther than ε from the ball of the nearest key it gets a key of its own; nearer, it widens the ball
   * where the answers are the same, and both balls end half-way where they are not. Where it is the very same key, what stands there is written
   * over: halved, neither ball would hold its own key.
   * @param key f32[in]; @param epsilon radius ε of new keys
   */
  place(key: Float32Array, answer: readonly number[], epsilon: number): Place {
    const found = this.nearest(key);
    const behind = { at: this.size, fresh: true };
    if (!found || found.distance > epsilon + this.radii[found.at]!) return { ...behind, radius: epsilon };
    const { at, distance } = found;
    const radius = this.radii[at]!;
    if (sameTokens(answer, this.answers[at]!)) return { at, fresh: false, radius: Math.max(radius, distance) };
    const length = Math.sqrt(key.reduce((s, v) => s + v * v, 0));
    if (distance <= Math.max(2 * SPLIT_GAP, SAME * length)) return { at, fresh: false, radius };
    return { ...behind, radius: distance / 2, shrunk: { at, radius: distance / 2 - SPLIT_GAP } };
  }

  /** With a fact in its place. value — f32[out] */
  write({ at, fresh, radius, shrunk }: Place, key: Float32Array, answer: readonly number[], value: Float32Array): Codebook {
    const written = fresh ? this.behind({ key, value, radius, answer }) : this.replaced(at, radius, answer, value);
    return shrunk ? written.replaced(shrunk.at, shrunk.radius, written.answers[shrunk.at]!) : written;
  }

  /** The tensors of a delta with these entries; default all. Of an empty codebook: a key that nothing is near to. */
  tensors(path: string, of?: readonly number[]): Readonly<Record<string, HostTensor>> {
    if (this.size === 0) {
      const key = new Float32Array(this.keys.width).fill(NOWHERE);
      return Codebook.empty(this.keys.width, this.values.width)
        .with({ key, value: new Float32Array(this.values.width), radius: -1, answer: [NO_TOKEN] })
        .tensors(path);
    }
    const rows = of ?? this.radii.map((_, i) => i);
    const longest = Math.max(...rows.map((i) => this.answers[i]!.length));
    const tokens = rows.flatMap((i) => Array.from({ length: longest }, (_, j) => this.answers[i]![j] ?? NO_TOKEN));
    return {
      [path + KEYS]: f32(of ? chosen(this.keys, of) : this.keys.data, [rows.length, this.keys.width]),
      [path + VALUES]: f32(of ? chosen(this.values, of) : this.values.data, [rows.length, this.values.width]),
      [path + RADII]: f32(rows.map((i) => this.radii[i]!)),
      [path + ANSWERS]: i32(tokens, [rows.length, longest]),
    };
  }

  private behind({ key, value, radius, answer }: Entry): Codebook {
    return new Codebook(this.keys.with(key), this.values.with(value), [...this.radii, radius], [...this.answers, answer]);
  }

  private replaced(i: number, radius: number, answer: readonly number[], value?: Float32Array): Codebook {
    const values = value ? this.values.replaced(i, value) : this.values;
    return new Codebook(this.keys, values, put(this.radii, i, radius), put(this.answers, i, answer));
  }

  /** The nearest key; none of an empty codebook. key — f32[in] */
  nearest(key: Float32Array): { readonly at: number; readonly distance: number } | undefined {
    let [at, least] = [-1, Number.POSITIVE_INFINITY];
    for (let i = 0; i < this.size; i++) {
      const row = this.keys.row(i);
      let squares = 0;
      for (let j = 0; j < row.length && squares < least; j++) squares += (key[j]! - row[j]!) ** 2;
      if (squares < least) [at, least] = [i, squares];
    }
    return at < 0 ? undefined : { at, distance: Math.sqrt(least) };
  }
}

function put<T>(items: readonly T[], i: number, item: T): readonly T[] {
  const copy = [...items];
  copy[i] = item;
  return copy;
}

function chosen(rows: GrowingRows, of: readonly number[]): Float32Array {
  const data = new Float32Array(of.length * rows.width);
  for (const [k, i] of of.entries()) data.set(rows.row(i), k * rows.width);
  return data;
}

function sameTokens(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((t, i) => t === b[i]);
}
