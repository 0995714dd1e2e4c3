import { LfmError } from "@lfm/core";
import type { CodecKind } from "./codec.js";
import { codecKinds } from "./codecs.js";
import type { StructureKind } from "./structure.js";
import { structureKinds } from "./structures.js";

/** What a factory string names. */
export interface Factory {
  /** As it is written in files: "HNSW32,SQ8,RFlat". */
  readonly name: string;
  readonly structure?: { readonly kind: StructureKind; readonly detail: string };
  readonly codec: { readonly kind: CodecKind; readonly detail: string };
  /** The vectors themselves are kept too, and what was found is compared again by them. */
  readonly exact: boolean;
}

const HINT = "Flat, SQ8, LSH, PQ48; IVF64,Flat; IVF64,PQ48; HNSW32; each with ,RFlat to compare what was found by the vectors themselves";

/**
 * Reads an index-factory string of faiss: [IVFn | HNSWm,] [Flat | SQ8 | LSH | PQm] [,RFlat]. Own ids are always there, so IDMap says nothing.
 * @throws {LfmError} CONFIG_INVALID for what is no factory string, or names an index that is not here
 */
export function parseFactory(text: string): Factory {
  const parts = text.split(",").map((part) => part.trim());
  if (/^IDMap2?$/i.test(parts[0]!)) parts.shift();
  const exact = /^RFlat$/i.test(parts.at(-1) ?? "");
  if (exact) parts.pop();
  const first = parts[0] ?? "";
  const structure = structureKinds.find((kind) => kind.pattern.test(first));
  if (structure) parts.shift();
  if (structure && parts.length === 0 && /^HNSW/i.test(first)) parts.push("Flat");
  const named = parts[0] ?? "";
  const codec = codecKinds.find((kind) => kind.pattern.test(named));
  if (!codec || parts.length !== 1) {
    const wrong = parts.length === 0 ? `"${text}" does not say how vectors are kept` : `"${text}" names no index that is here`;
    throw new LfmError("CONFIG_INVALID", `[@lfm/retrieval] ${wrong}`, { hint: HINT });
  }
  return {
    name: nameOf(structure && first, named, exact),
    ...(structure ? { structure: { kind: structure, detail: first.replace(/^[A-Z]+/i, "") } } : {}),
    codec: { kind: codec, detail: named.replace(/^[A-Z]+/i, "") },
    exact,
  };
}

/** As faiss writes it: a graph over the vectors themselves is HNSW32 alone. */
function nameOf(structure: string | undefined, codec: string, exact: boolean): string {
  const written = /^flat$/i.test(codec) ? "Flat" : codec.toUpperCase().replace("X", "x");
  const first = structure?.toUpperCase();
  const alone = first?.startsWith("HNSW") && written === "Flat";
  return [...(first ? [first === "HNSW" ? "HNSW32" : first] : []), ...(alone ? [] : [written]), ...(exact ? ["RFlat"] : [])].join(",");
}
