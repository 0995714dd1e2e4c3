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
import { loraNames, loraScale } from "./lora-hooks.js";
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

/** Places where the adapters in use lie under each other. */
class Held {
  private readonly sites: readonly Site[];
  private readonly adapters: Readonly<Record<string, Delta>>;
  private readonly names: readonly string[];
  /** Rank of each adapter: the largest of its layers'. */
  private readonly ranks: Readonly<Record<string, number>>;
  private room: number;
  private used = 0;
  private readonly inUse = new Set<string>();
  /** Number of the adapter that each rank is of. */
  private owner: Int32Array;
  private factors: readonly { readonly a: HostTensor; readonly b: HostTensor }[];

  constructor(sites: readonly Site[], adapters: Readonly<Record<string, Delta>>, room: number) {
    this.sites = sites;
    this.adapters = adapters;
    this.names = Object.keys(adapters);
    this.ranks = Object.fromEntries(
      Object.entries(adapters).map(([name, { tensors }]) => [
        name,
        Math.max(...sites.flatMap((site) => tensors[loraNames(site).a]?.shape[0] ?? [])),
      ]),
    );
    this.room = Math.max(1, room);
    this.owner = new Int32Array(this.room).fill(NOBODY);
    this.factors = this.places();
  }

  tensors(): Readonly<Record<string, HostTensor>> {
    return Object.fromEntries([
      [OWNER, i32(this.owner, [this.room])],
      ...this.sites.flatMap((site, i) => [
        [placeOf(site).a, this.factors[i]!.a],
        [placeOf(site).b, this.factors[i]!.b],
      ]),
    ]);
  }

  /** @returns whether anything had to be brought in */
  hold(needed: ReadonlySet<string>): boolean {
    const missing = [...needed].filter((name) => !this.inUse.has(name));
    if (missing.length === 0) return false;
    const ranksOf = (names: Iterable<string>): number => [...names].reduce((n, name) => n + this.ranks[name]!, 0);
    if (this.used + ranksOf(missing) <= this.room) for (const name of missing) this.bring(name);
    else {
      // Those that nobody takes any more make room for the others.
      const wanted = ranksOf(needed);
      if (wanted > this.room) {
        this.room = Math.ceil(wanted / STEP) * STEP;
        this.owner = new Int32Array(this.room);
        this.factors = this.places();
      }
      this.owner.fill(NOBODY);
      this.used = 0;
      this.inUse.clear();
      for (const name of needed) this.bring(name);
    }
    return true;
  }

  private places(): readonly { readonly a: HostTensor; readonly b: HostTensor }[] {
    return this.sites.map(({ weight }) => ({
      a: f32(new Float32Array(this.room * weight!.in), [this.room, weight!.in]),
      b: f32(new Float32Array(this.room * weight!.out), [this.room, weight!.out]),
    }));
  }

  private bring(name: string): void {
    const { tensors, config } = this.adapters[name]!;
    const [from, size] = [this.used, this.ranks[name]!];
    const scale = loraScale(parseConfig(lora, config));
    for (const [i, site] of this.sites.entries()) {
      const { in: width, out } = site.weight!;
      const { a, b } = this.factors[i]!;
      const [targetA, targetB] = [a.data as Float32Array, b.data as Float32Array];
      targetA.fill(0, from * width, (from + size) * width);
      targetB.fill(0, from * out, (from + size) * out);
      const own = tensors[loraNames(site).a];
      if (!own) continue;
      targetA.set(widenToF32(own).data as Float32Array, from * width);
      const up = widenToF32(tensors[loraNames(site).b]!).data as Float32Array;
      const r = own.shape[0]!;
      for (let o = 0; o < out; o++) for (let k = 0; k < r; k++) targetB[(from + k) * out + o] = scale * up[o * r + k]!;
    }
    this.owner.fill(this.names.indexOf(name), from, from + size);
    this.used += size;
    this.inUse.add(name);
  }
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
