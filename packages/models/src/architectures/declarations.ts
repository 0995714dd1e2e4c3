import type { BlockPart, ParamInfo, Site, SitePart, SiteRole } from "@lfm/core";

export interface LinearDeclaration {
  readonly role?: SiteRole;
  readonly layer?: number;
  readonly in: number;
  readonly out: number;
  /** Default true. */
  readonly bias?: boolean;
  /** Default "out-in", as torch's Linear. */
  readonly layout?: "out-in" | "in-out";
  /** Default "linear". */
  readonly kind?: Site["kind"];
  /** Fused layers: roles and sizes of the parts, in the order of the outputs. */
  readonly parts?: readonly Omit<SitePart, "offset">[];
}

export interface ConvDeclaration {
  readonly layer?: number;
  readonly in: number;
  readonly out: number;
  /** Height and width. */
  readonly kernel: number;
  /** Default 1. */
  readonly stride?: number;
  /** Default 0. */
  readonly padding?: number;
  /** Default true. */
  readonly bias?: boolean;
}

/** Collects the parameters and sites of an architecture in the order of its forward pass. */
export class Declarations {
  readonly params: Record<string, ParamInfo> = {};
  readonly sites: Site[] = [];

  param(name: string, shape: readonly number[], trainable = true): void {
    this.params[name] = { shape, dtype: "f32", trainable };
  }

  /** A place without weights of its own; `attention`: dimensions of an attention, "kv" or "scores" site. */
  site(path: string, kind: Site["kind"], layer?: number, attention?: Site["attention"]): void {
    this.sites.push({ path, kind, ...(layer === undefined ? {} : { layer }), ...(attention ? { attention } : {}) });
  }

  /** Where the stream of a block takes what one of its parts gives; `part` is that part's path. */
  residual(part: string, behind: BlockPart, layer: number): void {
    this.sites.push({ path: `${part}.residual`, kind: "residual", behind, layer });
  }

  /** A table of rows by index. */
  embedding(path: string, rows: number, width: number): void {
    this.param(`${path}.weight`, [rows, width]);
    this.sites.push({
      path,
      kind: "embedding",
      weight: { name: `${path}.weight`, layout: "in-out", in: rows, out: width },
      params: { weight: `${path}.weight` },
    });
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
      ...(d.parts ? { parts: withOffsets(d.parts) } : {}),
      params: { weight: `${path}.weight`, ...(bias ? { bias: `${path}.bias` } : {}) },
    });
  }

  /** A convolution with a square kernel. */
  conv(path: string, d: ConvDeclaration): void {
    this.param(`${path}.weight`, [d.out, d.in, d.kernel, d.kernel]);
    const bias = d.bias ?? true;
    if (bias) this.param(`${path}.bias`, [d.out]);
    this.sites.push({
      path,
      kind: "conv",
      ...(d.layer === undefined ? {} : { layer: d.layer }),
      conv: { in: d.in, out: d.out, kernel: [d.kernel, d.kernel], stride: d.stride ?? 1, padding: d.padding ?? 0 },
      params: { weight: `${path}.weight`, ...(bias ? { bias: `${path}.bias` } : {}) },
    });
  }

  /**
   * A normalisation over `width`: layer norms and batch norms have a bias, RMS norms do not; batch norms have running statistics too; `unit`
   * ones multiply by 1 + weight.
   */
  norm(
    path: string,
    width: number,
    options: { readonly bias: boolean; readonly running?: boolean; readonly layer?: number; readonly unit?: boolean },
  ): void {
    const running = options.running ? (["running_mean", "running_var"] as const) : [];
    const names = ["weight", ...(options.bias ? (["bias"] as const) : []), ...running] as const;
    for (const name of names) this.param(`${path}.${name}`, [width], !name.startsWith("running_"));
    this.sites.push({
      path,
      kind: "norm",
      ...(options.layer === undefined ? {} : { layer: options.layer }),
      ...(options.unit ? { weightOffset: 1 } : {}),
      params: Object.fromEntries(names.map((name) => [name, `${path}.${name}`])),
    });
  }

  /** The language-model head; `tied` names the embedding's parameter that it reads. */
  head(path: string, width: number, vocabulary: number, tied?: string): void {
    if (tied === undefined) this.param(`${path}.weight`, [vocabulary, width]);
    this.sites.push({
      path,
      kind: "head",
      weight: { name: tied ?? `${path}.weight`, layout: "out-in", in: width, out: vocabulary },
      params: { weight: tied ?? `${path}.weight` },
    });
  }

  byPath(): (path: string) => Site {
    const map = new Map(this.sites.map((s) => [s.path, s]));
    return (path) => map.get(path)!;
  }
}

function withOffsets(parts: readonly Omit<SitePart, "offset">[]): readonly SitePart[] {
  let offset = 0;
  return parts.map(({ role, size }) => {
    offset += size;
    return { role, offset: offset - size, size };
  });
}
