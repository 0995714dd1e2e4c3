import { f32, type HostTensor, LfmError, type Site } from "@lfm/core";
import type { GramStatistics } from "./statistics.js";

type HostGrams = Readonly<Record<"grams" | "rows", Readonly<Record<string, HostTensor>>>>;

/** Sums over batches, in f64. */
export class GramSum {
  private readonly sums: ReadonlyMap<string, Float64Array>;
  private readonly widths: ReadonlyMap<string, number>;
  private readonly rows = new Map<string, number>();

  constructor(readonly sites: readonly Site[]) {
    this.widths = new Map(sites.map((s) => [s.weight!.name, s.weight!.in]));
    this.sums = new Map([...this.widths].map(([name, width]) => [name, new Float64Array(width * width)]));
  }

  add({ grams, rows }: HostGrams): void {
    for (const [name, total] of this.sums) {
      const part = grams[name]!.data as Float32Array;
      for (let i = 0; i < total.length; i++) total[i] = total[i]! + part[i]!;
      this.rows.set(name, (this.rows.get(name) ?? 0) + Number(rows[name]!.data[0]));
    }
  }

  /** Copies of all sums, by name: for a run that goes on later. */
  saved(): Record<string, HostTensor> {
    return Object.fromEntries(
      [...this.sums].flatMap(([name, sum]) => {
        const width = this.widths.get(name)!;
        return [
          [`sums/${name}`, { dtype: "f64", shape: [width, width], data: sum.slice() }] as const,
          [`rows/${name}`, { dtype: "f64", shape: [1], data: Float64Array.of(this.rows.get(name) ?? 0) }] as const,
        ];
      }),
    );
  }

  /** Takes up what {@link saved} gave. @throws {LfmError} PARENT_MISMATCH for sums of other layers */
  restore(saved: Readonly<Record<string, HostTensor>>): void {
    for (const [name, sum] of this.sums) {
      const [from, rows] = [saved[`sums/${name}`], saved[`rows/${name}`]];
      if (from?.data.length !== sum.length || rows?.data.length !== 1)
        throw new LfmError("PARENT_MISMATCH", `[@lfm/statistics] what a stopped run saved says nothing of "${name}"`, {
          hint: "choose another --out, or drop what it measured with --fresh",
        });
      for (let i = 0; i < sum.length; i++) sum[i] = Number(from.data[i]);
      this.rows.set(name, Number(rows.data[0]));
    }
  }

  /** Whether every layer has seen a row that counts. */
  counted(): boolean {
    return [...this.sums.keys()].every((name) => (this.rows.get(name) ?? 0) > 0);
  }

  /** @throws {LfmError} CONFIG_INVALID where no row was counted */
  mean(): Pick<GramStatistics, "layouts" | "rows"> & { readonly tensors: Readonly<Record<string, HostTensor>> } {
    const tensors: Record<string, HostTensor> = {};
    for (const [name, total] of this.sums) {
      const n = this.rows.get(name) ?? 0;
      if (n === 0) throw new LfmError("CONFIG_INVALID", `[@lfm/statistics] no token of the examples counts: nothing flows into "${name}"`);
      const width = this.widths.get(name)!;
      const mean = Float32Array.from(total, (v) => v / n);
      tensors[name] = f32(mean, [width, width]);
    }
    const layouts = Object.fromEntries(this.sites.map((s) => [s.weight!.name, s.weight!.layout]));
    return { tensors, layouts, rows: Object.fromEntries(this.rows) };
  }
}
