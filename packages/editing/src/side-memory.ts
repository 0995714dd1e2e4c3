/**
 * WISE's side memories (arXiv 2405.14768): copies W′ of one MLP projection W, of which every token takes the one that what flows into it activates
 * most, where that is more than the memory's threshold:
 *   Δ(x) = ‖x·(W′ − W)‖ (equation 3)
 */
import {
  add,
  cast,
  type DeltaForm,
  type Dim,
  equal,
  expandDims,
  f32,
  greater,
  type Hook,
  type HostTensor,
  i32,
  logicalAnd,
  matmul,
  max,
  mul,
  Rng,
  reshape,
  sqrt,
  square,
  sum,
  sym,
  where,
} from "@lfm/core";

const [CHANGES, THRESHOLDS, STATES, REPLACES] = [".side.changes", ".side.thresholds", ".side.states", ".side.replaces"] as const;
/** What a state holds: the memory's id, how many edits it has had, whether it takes more of them, or came out of a merge. */
const STATE = 3;

/** How far a memory is. */
type Stage = "open" | "full" | "merged";
const stages: readonly Stage[] = ["open", "full", "merged"];

/** What deltas of side memories are. Joined, the upper one's memories stand in place of those that they have come from. */
export const sideMemoryForm: DeltaForm<unknown> = Object.freeze({
  hooks: (_config, tensors) => {
    const hook: Hook = {
      matches: ({ path }) => path + CHANGES in tensors,
      output: (y, x, { path }) => {
        const [changes, thresholds] = [tensors[path + CHANGES]!, tensors[path + THRESHOLDS]!];
        // f32[batch, memories, seq, out]
        const given = matmul(expandDims(x, 1), changes);
        const activation = sqrt(sum(square(given), -1));
        const passes = greater(activation, reshape(thresholds, [thresholds.dim(0), 1]));
        const scores = where(passes, activation, -1);
        const taken = logicalAnd(passes, equal(scores, max(scores, 1, { keepDims: true })));
        return add(y, sum(mul(given, expandDims(cast(taken, "f32"), -1)), 1));
      },
    };
    return [hook];
  },
  shapes: (tensors) => Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, dimsOf(name, t)])),
  join: (below, above) => {
    const joined: Record<string, HostTensor> = { ...below, ...above };
    for (const name of Object.keys(above)) {
      const path = name.endsWith(CHANGES) ? name.slice(0, -CHANGES.length) : undefined;
      const [lower, upper] = path === undefined ? [] : [SideMemories.of(below, path), SideMemories.of(above, path)];
      if (lower && upper) Object.assign(joined, lower.under(upper).tensors(path!));
    }
    return joined;
  },
  frozen: (name) => !name.endsWith(CHANGES),
} satisfies DeltaForm<unknown>);

function dimsOf(name: string, { shape }: HostTensor): readonly Dim[] {
  const path = name.slice(0, name.lastIndexOf(".side."));
  const own = (what: string): Dim => sym(`${what}_${path.replace(/\W/g, "_")}`);
  return [own(name.endsWith(REPLACES) ? "replaces" : "memories"), ...shape.slice(1)];
}

export interface SideMemory {
  /** i32: of the first fact that was written into it, and the seed. */
  readonly id: number;
  readonly stage: Stage;
  /** Facts in it. */
  readonly edits: number;
  /** What a token must activate more than. */
  readonly threshold: number;
  /** f32[in·out]: W′ − W, x·W being what the layer gives. */
  readonly change: Float32Array;
}

/** The memories of one site: a value. */
export class SideMemories {
  readonly all: readonly SideMemory[];
  /** Ids of the memories that these are to stand in place of. */
  private readonly replaces: ReadonlySet<number>;
  private readonly width: number;

  /** @param width what the layer reads */
  constructor(width: number, all: readonly SideMemory[] = [], replaces: ReadonlySet<number> = new Set()) {
    this.width = width;
    this.all = all;
    this.replaces = replaces;
  }

  /** The memories of a site out of a delta's tensors; none where it has none there. */
  static of(tensors: Readonly<Record<string, HostTensor>>, path: string): SideMemories | undefined {
    const [changes, thresholds, states, replaces] = [CHANGES, THRESHOLDS, STATES, REPLACES].map((name) => tensors[path + name]);
    if (!changes || !thresholds || !states || !replaces) return undefined;
    const [count, width, out] = changes.shape as readonly [number, number, number];
    const all = Array.from({ length: count }, (_, m) => {
      const [id, edits, stage] = Array.from({ length: STATE }, (_, k) => Number(states.data[m * STATE + k]));
      const change = (changes.data as Float32Array).subarray(m * width * out, (m + 1) * width * out);
      return { id: id!, edits: edits!, stage: stages[stage!]!, threshold: Number(thresholds.data[m]), change };
    });
    return new SideMemories(width, all, new Set(Array.from(replaces.data, Number)));
  }

  /** The same as they stand at the beginning of an edit: in place of none yet. */
  begun(): SideMemories {
    return new SideMemories(this.width, this.all);
  }

  /** The memory that the next fact goes into, where one takes more of them. */
  get open(): SideMemory | undefined {
    return this.all.find((m) => m.stage === "open");
  }

  /** With a memory in place of others; those are not there any more. */
  with(memory: SideMemory, inPlaceOf: readonly number[]): SideMemories {
    const gone = new Set([memory.id, ...inPlaceOf]);
    return new SideMemories(this.width, [...this.all.filter((m) => !gone.has(m.id)), memory], new Set([...this.replaces, ...gone]));
  }

  /** These below others. */
  under(above: SideMemories): SideMemories {
    const kept = this.all.filter((m) => !above.replaces.has(m.id));
    return new SideMemories(this.width, [...kept, ...above.all], new Set([...this.replaces, ...above.replaces]));
  }

  /** Those that are named alone. */
  only(ids: ReadonlySet<number>): SideMemories {
    return new SideMemories(
      this.width,
      this.all.filter((m) => ids.has(m.id)),
      this.replaces,
    );
  }

  tensors(path: string): Readonly<Record<string, HostTensor>> {
    const size = this.all[0]!.change.length;
    const changes = new Float32Array(this.all.length * size);
    for (const [m, { change }] of this.all.entries()) changes.set(change, m * size);
    const states = this.all.flatMap(({ id, edits, stage }) => [id, edits, stages.indexOf(stage)]);
    return {
      [path + CHANGES]: f32(changes, [this.all.length, this.width, size / this.width]),
      [path + THRESHOLDS]: f32(this.all.map((m) => m.threshold)),
      [path + STATES]: i32(states, [this.all.length, STATE]),
      [path + REPLACES]: i32([...this.replaces]),
    };
  }
}

/** The id of a memory that others were merged into. */
export function mergedId(ids: readonly number[]): number {
  return new Rng(ids[0]!).split("merged").seed | 0;
}

/** Which entries of a side memory learn: each with probability ρ, by the memory's id alone. 0 or 1, f32[size] */
export function memoryMask(id: number, size: number, ratio: number): Float32Array {
  const rng = new Rng(id).split("mask");
  return Float32Array.from({ length: size }, () => (rng.uniform() < ratio ? 1 : 0));
}

/**
 * TIES (arXiv 2306.01708) of changes of one weight: of each the largest entries are kept, the sign of their sum is the elected one, and those that
 * agree are averaged.
 * @param density share of the entries of each that is kept, in (0, 1]
 */
export function mergeChanges(changes: readonly Float32Array[], density: number): Float32Array {
  const trimmed = changes.map((change) => largest(change, Math.floor(density * change.length)));
  return Float32Array.from({ length: changes[0]!.length }, (_, i) => {
    let total = 0;
    for (const change of trimmed) total += change[i]!;
    let [agreeing, count] = [0, 0];
    for (const change of trimmed) {
      const v = change[i]!;
      if (v !== 0 && v > 0 === total >= 0) [agreeing, count] = [agreeing + v, count + 1];
    }
    return count === 0 ? 0 : agreeing / count;
  });
}

/** The `count` entries of the largest magnitude; of equal ones those in front. */
function largest(values: Float32Array, count: number): Float32Array {
  const order = Uint32Array.from(values, (_, i) => i).sort((a, b) => Math.abs(values[b]!) - Math.abs(values[a]!) || a - b);
  const kept = new Float32Array(values.length);
  for (const i of order.subarray(0, count)) kept[i] = values[i]!;
  return kept;
}
