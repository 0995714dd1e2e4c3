import { LfmError } from "./errors.js";

/**
 * A dimension: a non-negative integer, or a polynomial with integer coefficients over named symbols
 * (batch, sequence). One compiled graph serves every binding of its symbols.
 */
export type Dim = number | SymbolicDim;

/** Values of the symbols of a graph, e.g. `{ batch: 8, seq: 128 }`. */
export type DimEnv = Readonly<Record<string, number>>;

/** A polynomial in canonical form: monomial ("" is the constant, "batch*seq" a product of sorted symbols) → coefficient. */
export class SymbolicDim {
  readonly terms: ReadonlyMap<string, number>;

  constructor(terms: ReadonlyMap<string, number>) {
    this.terms = terms;
  }

  toString(): string {
    const parts = [...this.terms].map(([monomial, c]) => (monomial === "" ? `${c}` : c === 1 ? monomial : `${c}*${monomial}`));
    return parts.length > 1 ? `(${parts.join("+")})` : parts.join("");
  }

  toJSON(): string {
    return this.toString();
  }
}

/** The symbol `name` as a dimension. Names are identifiers: letters, digits, underscore. */
export function sym(name: string): SymbolicDim {
  if (!/^[A-Za-z_]\w*$/.test(name)) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] "${name}" is no name for a dimension`);
  return new SymbolicDim(new Map([[name, 1]]));
}

/** True when the dimension is a bare symbol; such an input axis binds it at run time. */
export function isBareSymbol(dim: Dim): dim is SymbolicDim {
  if (typeof dim === "number" || dim.terms.size !== 1) return false;
  const [monomial, c] = [...dim.terms][0]!;
  return c === 1 && monomial !== "" && !monomial.includes("*");
}

export function dimAdd(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a + b;
  const out = new Map(termsOf(a));
  for (const [m, c] of termsOf(b)) out.set(m, (out.get(m) ?? 0) + c);
  return canonical(out);
}

export function dimSub(a: Dim, b: Dim): Dim {
  return dimAdd(a, dimMul(b, -1));
}

export function dimMul(a: Dim, b: Dim): Dim {
  if (typeof a === "number" && typeof b === "number") return a * b;
  const out = new Map<string, number>();
  for (const [ma, ca] of termsOf(a)) {
    for (const [mb, cb] of termsOf(b)) {
      const m = [...ma.split("*"), ...mb.split("*")].filter(Boolean).sort().join("*");
      out.set(m, (out.get(m) ?? 0) + ca * cb);
    }
  }
  return canonical(out);
}

/** Exact quotient by a single-term divisor. @throws {LfmError} SHAPE_MISMATCH when it does not divide. */
export function dimDiv(a: Dim, b: Dim): Dim {
  if (dimEqual(a, b)) return 1;
  const divisor = [...termsOf(b)];
  if (divisor.length === 1) {
    const [mb, cb] = divisor[0]!;
    const out = new Map<string, number>();
    let exact = cb !== 0;
    for (const [ma, ca] of termsOf(a)) {
      const rest = ma.split("*").filter(Boolean);
      for (const s of mb.split("*").filter(Boolean)) {
        const i = rest.indexOf(s);
        if (i < 0) exact = false;
        else rest.splice(i, 1);
      }
      if (ca % cb !== 0) exact = false;
      out.set(rest.join("*"), ca / cb);
    }
    if (exact) return canonical(out);
  }
  throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] dimension ${a} is not divisible by ${b}`);
}

export function dimEqual(a: Dim, b: Dim): boolean {
  if (typeof a === "number" || typeof b === "number") return a === b;
  if (a === b) return true;
  if (a.terms.size !== b.terms.size) return false;
  for (const [m, c] of a.terms) if (b.terms.get(m) !== c) return false;
  return true;
}

/** The concrete value under `env`. @throws {LfmError} SHAPE_MISMATCH for an unbound symbol or a negative value. */
export function dimEval(dim: Dim, env: DimEnv): number {
  if (typeof dim === "number") return dim;
  let total = 0;
  for (const [monomial, c] of dim.terms) {
    let v = c;
    for (const s of monomial.split("*").filter(Boolean)) {
      const x = env[s];
      if (x === undefined) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] the dimension "${s}" has no value`);
      v *= x;
    }
    total += v;
  }
  if (total < 0) throw new LfmError("SHAPE_MISMATCH", `[@lfm/core] dimension ${dim} is ${total}`);
  return total;
}

/** The same polynomial over other symbols. */
export function dimRename(dim: Dim, name: (symbol: string) => string): Dim {
  if (typeof dim === "number") return dim;
  const renamed = [...dim.terms].map(([monomial, c]): [string, number] => [
    monomial.split("*").filter(Boolean).map(name).sort().join("*"),
    c,
  ]);
  return canonical(new Map(renamed));
}

export function shapeEqual(a: readonly Dim[], b: readonly Dim[]): boolean {
  return a.length === b.length && a.every((d, i) => dimEqual(d, b[i]!));
}

export function shapeSize(shape: readonly Dim[]): Dim {
  return shape.reduce<Dim>((n, d) => dimMul(n, d), 1);
}

export function shapeEval(shape: readonly Dim[], env: DimEnv): number[] {
  return shape.map((d) => dimEval(d, env));
}

export function formatShape(shape: readonly Dim[]): string {
  return `[${shape.map(String).join(",")}]`;
}

function termsOf(d: Dim): ReadonlyMap<string, number> {
  return typeof d === "number" ? new Map(d === 0 ? [] : [["", d]]) : d.terms;
}

function canonical(terms: Map<string, number>): Dim {
  for (const [m, c] of terms) if (c === 0) terms.delete(m);
  if (terms.size === 0) return 0;
  if (terms.size === 1 && terms.has("")) return terms.get("")!;
  return new SymbolicDim(new Map([...terms].sort(([x], [y]) => (x < y ? -1 : 1))));
}
