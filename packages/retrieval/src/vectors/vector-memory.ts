import { LfmError } from "@lfm/core";
import { kernelsWasm } from "./kernels-wasm.js";

/** What the language knows of WebAssembly everywhere, and the types of Node 20 leave out. */
interface WasmGlobal {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}
const { Module, Instance } = (globalThis as unknown as { readonly WebAssembly: WasmGlobal }).WebAssembly;

/** The compiled functions; addresses are bytes in linear memory, see assembly/. */
interface Compiled {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  openTop(at: number, k: number): void;
  sortTop(): number;
  rescoreTop(kind: number, question: number, rows: number, stride: number, n: number): number;
  scan(kind: number, question: number, rows: number, stride: number, n: number, from: number, to: number, mask: number): void;
  scanRows(
    kind: number,
    question: number,
    rows: number,
    stride: number,
    n: number,
    list: number,
    count: number,
    mask: number,
    bias: number,
  ): void;
  quantize(vectors: number, count: number, d: number, out: number, stride: number): void;
  signs(vectors: number, count: number, d: number, out: number, stride: number): void;
  assign(vectors: number, count: number, d: number, centres: number, k: number, offsets: number, out: number, values: number): void;
  fillTables(question: number, centres: number, m: number, d: number, distances: boolean, out: number): void;
  openGraph(
    kind: number,
    rows: number,
    stride: number,
    n: number,
    m: number,
    ground: number,
    blocks: number,
    first: number,
    seen: number,
    equal: number,
    count: number,
    candidates: number,
    fresh: number,
    found: number,
  ): void;
  insert(node: number, level: number, entry: number, highest: number, ef: number): void;
  searchGraph(question: number, entry: number, level: number, ef: number, mask: number): number;
}

let compiled: object | undefined;

/** The module is compiled once: it has no state. */
function kernelModule(): object {
  compiled ??= new Module(Uint8Array.from(atob(kernelsWasm), (c) => c.charCodeAt(0)));
  return compiled;
}

const PAGE = 65536;
/** Below lies what the compiler keeps there. */
const FIRST = PAGE;

/** Compiled kernels with a linear memory of their own, which areas divide among themselves. One per index: at most 4 GiB. */
export class VectorMemory {
  readonly fn: Compiled;
  private top = FIRST;
  private readonly gaps: { at: number; bytes: number }[] = [];

  constructor() {
    const abort = (): never => {
      throw new LfmError("INTERNAL", "[@lfm/retrieval] a kernel stopped");
    };
    this.fn = new Instance(kernelModule(), { env: { abort } }).exports as unknown as Compiled;
  }

  /** Bytes that the memory holds, gaps included. */
  get bytes(): number {
    return this.fn.memory.buffer.byteLength;
  }

  /** @param bytes multiple of 16 @throws {LfmError} BUDGET_EXCEEDED */
  take(bytes: number): number {
    const gap = this.gaps.findIndex((g) => g.bytes >= bytes);
    if (gap >= 0) {
      const found = this.gaps[gap]!;
      const { at } = found;
      found.at += bytes;
      found.bytes -= bytes;
      if (found.bytes === 0) this.gaps.splice(gap, 1);
      return at;
    }
    const missing = this.top + bytes - this.bytes;
    if (missing > 0) {
      try {
        this.fn.memory.grow(Math.ceil(missing / PAGE));
      } catch (cause) {
        throw new LfmError("BUDGET_EXCEEDED", `[@lfm/retrieval] an index of more than 4 GiB does not fit into the memory of its kernels`, {
          hint: "hold the vectors in fewer bytes: SQ8, PQ or LSH",
          cause,
        });
      }
    }
    const at = this.top;
    this.top += bytes;
    return at;
  }

  give(at: number, bytes: number): void {
    if (at + bytes === this.top) this.top = at;
    else if (bytes > 0) this.gaps.push({ at, bytes });
  }
}

/** A stretch of the memory that grows; growing may move it, and any growth makes older views useless. */
export class Area {
  at = 0;
  private room = 0;

  constructor(private readonly memory: VectorMemory) {}

  /** Makes room for `bytes`, of which the first `kept` stay as they are; the rest may hold anything. */
  reserve(bytes: number, kept = 0): void {
    if (bytes <= this.room) return;
    const wanted = 16 * Math.ceil(Math.max(bytes, kept > 0 ? 1.5 * this.room : 0) / 16);
    const at = this.memory.take(wanted);
    if (kept > 0) new Uint8Array(this.memory.fn.memory.buffer).copyWithin(at, this.at, this.at + kept);
    this.memory.give(this.at, this.room);
    this.at = at;
    this.room = wanted;
  }

  free(): void {
    this.memory.give(this.at, this.room);
    this.at = 0;
    this.room = 0;
  }

  u8(count: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.memory.fn.memory.buffer, this.at, count);
  }

  u16(count: number): Uint16Array {
    return new Uint16Array(this.memory.fn.memory.buffer, this.at, count);
  }

  i32(count: number): Int32Array {
    return new Int32Array(this.memory.fn.memory.buffer, this.at, count);
  }

  f32(count: number): Float32Array {
    return new Float32Array(this.memory.fn.memory.buffer, this.at, count);
  }
}
