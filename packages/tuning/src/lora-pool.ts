import {
  add,
  cast,
  type Delta,
  type Dim,
  equal,
  expandDims,
  f32,
  type Hook,
  type HostTensor,
  i32,
  LfmError,
  linear,
  type Model,
  matmul,
  mul,
  type ParamTree,
  parseConfig,
  type Site,
  sym,
  widenToF32,
} from "@lfm/core";
import type { AdapterPool } from "@lfm/models";
import { loraNames, loraScales } from "./lora-hooks.js";
import { lora } from "./methods/lora.js";

export interface LoraPoolOptions {
  /** Ranks of all adapters in use together that there is room for at first; it grows. Default 64. */
  readonly ranks?: number;
}

/** Name of the batch's tensor that says which adapter a sequence takes: its number, or {@link BASE}. */
const ADAPTER = "adapter";
const OWNER = "adapters.owner";
/** A sequence that takes none. */
const BASE = -1;
/** A rank that is no adapter's. */
const NOBODY = -2;
/** Room grows in steps of so many ranks. */
const STEP = 16;

/**
 * Whether a delta can lie in a pool: a LoRA of linear layers alone, with nothing beside its A and B (no magnitudes, no embeddings, nothing trained
 * in full).
 */
export function isPoolable(delta: Delta, model: Model): boolean {
  const names = new Set(
    model.info.sites.flatMap((site) => (isPlace(site) && loraNames(site).a in delta.tensors ? [loraNames(site).a, loraNames(site).b] : [])),
  );
  return delta.method === "tuning/lora" && names.size > 0 && Object.keys(delta.tensors).every((name) => names.has(name));
}

/**
 * LoRAs of any ranks and scales on one model, of which every sequence of a batch takes its own: all A that are in use lie under each other in one
 * matrix, all B likewise, and each sequence keeps of x·Aᵀ what is its adapter's: y = Wx + B((Ax) ∘ own). Two products a layer, however many
 * adapters there are; those that are not in use take no room.
 * @param adapters by name
 * @throws {LfmError} CAPABILITY_MISSING for a delta that is no such LoRA
 */
export function loraPool(model: Model, adapters: Readonly<Record<string, Delta>>, { ranks = 64 }: LoraPoolOptions = {}): AdapterPool {
  const names = Object.keys(adapters);
  const odd = names.find((name) => !isPoolable(adapters[name]!, model));
  if (odd !== undefined)
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/tuning] the adapter "${odd}" is more than a LoRA of linear layers: a batch cannot mix it`,
      {
        hint: "give it a model of its own: withDeltas",
      },
    );
  const sites = model.info.sites.filter((site) => isPlace(site) && names.some((name) => loraNames(site).a in adapters[name]!.tensors));
  const held = new Held(sites, adapters, ranks);
  const rank = sym("adapter_ranks");
  const shapes: Readonly<Record<string, readonly Dim[]>> = Object.fromEntries([
    [OWNER, [rank]],
    ...sites.flatMap((site) => [
      [placeOf(site).a, [rank, site.weight!.in]],
      [placeOf(site).b, [rank, site.weight!.out]],
    ]),
  ]);
  return {
    names,
    model: {
      info: model.info,
      params: { ...model.params, ...held.tensors() },
      live: { ...model.live, ...shapes },
      forward: (tree, input, context) =>
        model.forward(tree, input, { ...context, hooks: [...pooledHooks(tree), ...(context.hooks ?? [])] }),
    },
    batch: { [ADAPTER]: { dtype: "i32", shape: [] } },
    examples: (adapter) => ({ [ADAPTER]: i32([adapter === undefined ? BASE : names.indexOf(adapter)]) }),
    hold: (needed) => (held.hold(needed) ? held.tensors() : undefined),
  };
}

/** What an adapter adds at one site: A f32[r, in], B transposed and scaled f32[r, out]. */
interface Factors {
  readonly a: Float32Array;
  readonly b: Float32Array;
}

/** Places where the adapters in use lie, rank by rank: those of one adapter may stand anywhere, for each place knows whose it is. */
class Held {
  private readonly sites: readonly Site[];
  /** By adapter: its number, its rank (the largest of its layers'), and what it has at each site. */
  private readonly adapters = new Map<
    string,
    { readonly number: number; readonly rank: number; readonly at: readonly (Factors | undefined)[] }
  >();
  private room: number;
  private free: number[];
  /** Ranks that each adapter in use takes, the one that was brought in first in front. */
  private readonly inUse = new Map<string, readonly number[]>();
  /** Number of the adapter that each rank is of. */
  private owner: Int32Array;
  private places: readonly { readonly a: HostTensor; readonly b: HostTensor }[];

  constructor(sites: readonly Site[], adapters: Readonly<Record<string, Delta>>, room: number) {
    this.sites = sites;
    for (const [number, [name, delta]] of Object.entries(adapters).entries()) {
      const scaleOf = loraScales(parseConfig(lora, delta.config));
      const at = sites.map((site) => factorsOf(delta, site, scaleOf(site.path)));
      const rank = Math.max(...sites.flatMap((site) => delta.tensors[loraNames(site).a]?.shape[0] ?? []));
      this.adapters.set(name, { number, rank, at });
    }
    this.room = Math.max(1, room);
    this.free = Array.from({ length: this.room }, (_, i) => i);
    this.owner = new Int32Array(this.room).fill(NOBODY);
    this.places = this.allocate();
  }

  tensors(): Readonly<Record<string, HostTensor>> {
    return Object.fromEntries([
      [OWNER, i32(this.owner, [this.room])],
      ...this.sites.flatMap((site, i) => [
        [placeOf(site).a, this.places[i]!.a],
        [placeOf(site).b, this.places[i]!.b],
      ]),
    ]);
  }

  /** @returns whether anything had to be brought in */
  hold(needed: ReadonlySet<string>): boolean {
    const missing = [...needed].filter((name) => !this.inUse.has(name));
    for (const name of missing) this.bring(name, needed);
    return missing.length > 0;
  }

  private bring(name: string, needed: ReadonlySet<string>): void {
    const { number, rank, at } = this.adapters.get(name)!;
    // Those that nobody takes any more make room.
    for (const other of this.inUse.keys()) if (this.free.length < rank && !needed.has(other)) this.drop(other);
    if (this.free.length < rank) this.grow(rank - this.free.length);
    const ranks = this.free.splice(0, rank);
    this.inUse.set(name, ranks);
    for (const [i, { weight }] of this.sites.entries()) {
      for (const [part, width] of [
        ["a", weight!.in],
        ["b", weight!.out],
      ] as const) {
        const [from, to] = [at[i]?.[part], this.places[i]![part].data as Float32Array];
        for (const [k, place] of ranks.entries()) {
          // A layer may have fewer ranks than others, or none.
          if (from && (k + 1) * width <= from.length) to.set(from.subarray(k * width, (k + 1) * width), place * width);
          else to.fill(0, place * width, (place + 1) * width);
        }
      }
    }
    for (const place of ranks) this.owner[place] = number;
  }

  private drop(name: string): void {
    for (const place of this.inUse.get(name)!) {
      this.owner[place] = NOBODY;
      this.free.push(place);
    }
    this.inUse.delete(name);
  }

  private grow(by: number): void {
    const [before, owner, places] = [this.room, this.owner, this.places];
    this.room = Math.ceil((before + by) / STEP) * STEP;
    this.free.push(...Array.from({ length: this.room - before }, (_, i) => before + i));
    this.owner = new Int32Array(this.room).fill(NOBODY);
    this.owner.set(owner);
    this.places = this.allocate();
    for (const [i, { a, b }] of this.places.entries()) {
      (a.data as Float32Array).set(places[i]!.a.data as Float32Array);
      (b.data as Float32Array).set(places[i]!.b.data as Float32Array);
    }
  }

  private allocate(): readonly { readonly a: HostTensor; readonly b: HostTensor }[] {
    return this.sites.map(({ weight }) => ({
      a: f32(new Float32Array(this.room * weight!.in), [this.room, weight!.in]),
      b: f32(new Float32Array(this.room * weight!.out), [this.room, weight!.out]),
    }));
  }
}

function factorsOf({ tensors }: Delta, site: Site, scale: number): Factors | undefined {
  const [a, b] = [tensors[loraNames(site).a], tensors[loraNames(site).b]];
  if (!a || !b) return undefined;
  const up = widenToF32(b).data as Float32Array;
  const [out, r] = [b.shape[0]!, b.shape[1]!];
  const turned = new Float32Array(r * out);
  for (let o = 0; o < out; o++) for (let k = 0; k < r; k++) turned[k * out + o] = scale * up[o * r + k]!;
  return { a: widenToF32(a).data as Float32Array, b: turned };
}

function pooledHooks(tree: ParamTree): readonly Hook[] {
  return [
    {
      matches: (site) => isPlace(site) && placeOf(site).a in tree,
      output: (y, x, site, { batch }) => {
        const { a, b } = placeOf(site);
        const own = expandDims(cast(equal(expandDims(batch![ADAPTER]!, 1), tree[OWNER]!), "f32"), 1);
        return add(y, matmul(mul(linear(x, tree[a]!, undefined), own), tree[b]!));
      },
    },
  ];
}

function isPlace({ kind, weight }: Site): boolean {
  return (kind === "linear" || kind === "head") && weight !== undefined;
}

/** Names of a site's parameters: A f32[ranks, in], B transposed and scaled f32[ranks, out]. */
function placeOf({ path }: Site): { readonly a: string; readonly b: string } {
  return { a: `adapters.${path}.A`, b: `adapters.${path}.B` };
}
