import type { ParamInfo, Site } from "@lfm/core";

type Role = NonNullable<Site["role"]>;

export interface LinearDeclaration {
  readonly role?: Role;
  readonly layer?: number;
  readonly in: number;
  readonly out: number;
  /** Default true. */
  readonly bias?: boolean;
  /** Default "out-in", as torch's Linear. */
  readonly layout?: "out-in" | "in-out";
  /** Default "linear". */
  readonly kind?: Site["kind"];
}

/** Collects the parameters and sites of an architecture in the order of its forward pass. */
export class Declarations {
  readonly params: Record<string, ParamInfo> = {};
  readonly sites: Site[] = [];

  param(name: string, shape: readonly number[], trainable = true): void {
    this.params[name] = { shape, dtype: "f32", trainable };
  }

  /** A place without weights of its own. */
  site(path: string, kind: Site["kind"], layer?: number): void {
    this.sites.push({ path, kind, ...(layer === undefined ? {} : { layer }) });
  }

  /** A table of rows by index. */
  embedding(path: string, rows: number, width: number): void {
    this.param(`${path}.weight`, [rows, width]);
    this.sites.push({ path, kind: "embedding", weight: { name: `${path}.weight`, layout: "in-out", in: rows, out: width } });
  }

  linear(path: string, d: LinearDeclaration): void {
    const layout = d.layout ?? "out-in";
    this.param(`${path}.weight`, layout === "out-in" ? [d.out, d.in] : [d.in, d.out]);
    const bias = d.bias ?? true;
    if (bias) this.param(`${path}.bias`, [d.out]);
    this.sites.push({
      path,
      kind: d.kind ?? "linear",
      ...(d.role ? { role: d.role } : {}),
      ...(d.layer === undefined ? {} : { layer: d.layer }),
      weight: { name: `${path}.weight`, ...(bias ? { bias: `${path}.bias` } : {}), layout, in: d.in, out: d.out },
    });
  }

  /** A normalisation over `width`; layer norms have a bias, RMS norms do not. */
  norm(path: string, width: number, options: { readonly bias: boolean; readonly layer?: number }): void {
    this.param(`${path}.weight`, [width]);
    if (options.bias) this.param(`${path}.bias`, [width]);
    this.site(path, "norm", options.layer);
  }

  /** The language-model head; `tied` names the embedding's parameter that it reads. */
  head(path: string, width: number, vocabulary: number, tied?: string): void {
    if (tied === undefined) this.param(`${path}.weight`, [vocabulary, width]);
    this.sites.push({
      path,
      kind: "head",
      weight: { name: tied ?? `${path}.weight`, layout: "out-in", in: width, out: vocabulary },
    });
  }

  byPath(): (path: string) => Site {
    const map = new Map(this.sites.map((s) => [s.path, s]));
    return (path) => map.get(path)!;
  }
}
