import type { HostTensor } from "@lfm/core";
import type { GramSum } from "./gram-sum.js";

/** Fewer examples than these say nothing about how much more would change. */
const LEAST = 16;
const MEANS = "means/";

/** Looks after every batch whether the means have moved by no more than a share since there were half as many examples. */
export class Settling {
  private before: { readonly seen: number; readonly means: Means } | undefined;

  constructor(
    private readonly total: GramSum,
    private readonly tolerance: number,
  ) {}

  /** @param seen examples by now */
  settled(seen: number): boolean {
    const { before, total } = this;
    if (seen < Math.max(LEAST, 2 * (before?.seen ?? 0)) || !total.counted()) return false;
    const means = total.mean().tensors;
    this.before = { seen, means };
    return before !== undefined && Object.entries(means).every(([name, t]) => movedBy(before.means[name]!, t) <= this.tolerance);
  }

  /** What it compares with, by name: for a run that goes on later. */
  saved(): Record<string, HostTensor> {
    const { before } = this;
    if (!before) return {};
    const means = Object.entries(before.means).map(([name, t]) => [MEANS + name, t] as const);
    return { before: { dtype: "f64", shape: [1], data: Float64Array.of(before.seen) }, ...Object.fromEntries(means) };
  }

  restore({ before, ...saved }: Readonly<Record<string, HostTensor>>): void {
    if (!before) return;
    const means = Object.entries(saved).flatMap(([name, t]) => (name.startsWith(MEANS) ? [[name.slice(MEANS.length), t] as const] : []));
    this.before = { seen: Number(before.data[0]), means: Object.fromEntries(means) };
  }
}
type Means = Readonly<Record<string, HostTensor>>;

/** ‖b − a‖ / ‖b‖ */
function movedBy(a: HostTensor, b: HostTensor): number {
  const [x, y] = [a.data as Float32Array, b.data as Float32Array];
  let [moved, size] = [0, 0];
  for (let i = 0; i < y.length; i++) {
    moved += (y[i]! - x[i]!) ** 2;
    size += y[i]! ** 2;
  }
  return size > 0 ? Math.sqrt(moved / size) : 0;
}
