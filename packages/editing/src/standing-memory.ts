import { type Delta, type HostTensor, joinDeltas, type Model, type Site, withDeltas } from "@lfm/core";

/** How the deltas of a method hold its memory. */
export interface MemoryForm<M> {
  /** `paradigm/id` of the method. */
  readonly method: string;
  /** What stands between a site's path and the name of each of its tensors. */
  readonly infix: string;
  /** The memory of a site; none where the tensors hold none there. */
  read(tensors: Readonly<Record<string, HostTensor>>, path: string): M | undefined;
  delta(tensors: Readonly<Record<string, HostTensor>>): Delta;
}

/** Earlier edits as a memory-based method sees them. */
export interface Standing<M> {
  /** What its own memory lies on. */
  readonly lower: readonly Delta[];
  /** The model with that. */
  readonly below: Model;
  readonly which: "clean" | "edited";
  /** Its memory, where that lies on top. */
  readonly memory: M | undefined;
}

/**
 * The memory that earlier edits have left at one site. It is read out of them once; who then hands back the same deltas with the one that the last
 * edit gave, goes on with what was made of it: the thousandth edit does not join a thousand. The model below stays the same one as long as it can.
 */
export class StandingMemory<M> {
  private readonly model: Model;
  private readonly site: Site;
  private readonly form: MemoryForm<M>;
  private known: (Standing<M> & { readonly deltas: readonly Delta[] }) | undefined;

  constructor(model: Model, site: Site, form: MemoryForm<M>) {
    this.model = model;
    this.site = site;
    this.form = form;
  }

  open(previous: readonly Delta[]): Standing<M> {
    const { known, form, site } = this;
    if (known && same(known.deltas, previous)) return known;
    const stack = joinDeltas(previous);
    const top = stack.at(-1);
    const memory = top?.method === form.method ? form.read(top.tensors, site.path) : undefined;
    const lower = top && memory !== undefined ? [...stack.slice(0, -1), ...this.elsewhere(top)] : stack;
    const below = known && same(known.lower, lower) ? known.below : withDeltas(this.model, lower);
    return { lower, below, which: lower.length > 0 ? "edited" : "clean", memory };
  }

  /** What an edit has made of it: the model with all of it, and, from now on, what stands. */
  keep({ lower, below, which }: Standing<M>, previous: readonly Delta[], delta: Delta, memory: M, all: Delta["tensors"]): Model {
    this.known = { deltas: [...previous, delta], lower, below, which, memory };
    return withDeltas(this.model, [...lower, this.form.delta(all)]);
  }

  /** Memories of the same method at other sites. */
  private elsewhere({ tensors }: Delta): readonly Delta[] {
    const others = Object.entries(tensors).filter(([name]) => !name.startsWith(`${this.site.path}${this.form.infix}`));
    return others.length === 0 ? [] : [this.form.delta(Object.fromEntries(others))];
  }
}

function same(a: readonly Delta[], b: readonly Delta[]): boolean {
  return a.length === b.length && a.every((d, i) => d === b[i]);
}
