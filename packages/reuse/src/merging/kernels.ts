import { LfmError } from "@lfm/core";
import { kernelsWasm } from "./kernels-wasm.js";

/** What the language knows of WebAssembly everywhere, and the types of Node 20 leave out. */
interface WasmGlobal {
  readonly Module: new (bytes: Uint8Array) => object;
  readonly Instance: new (module: object, imports: object) => { readonly exports: object };
}
const { Module, Instance } = (globalThis as unknown as { readonly WebAssembly: WasmGlobal }).WebAssembly;

/** The compiled functions; addresses are bytes in linear memory, see assembly/kernels.ts. */
interface Compiled {
  readonly memory: { readonly buffer: ArrayBuffer; grow(pages: number): number };
  decodeBf16(from: number, to: number, n: number): number;
  encodeBf16(from: number, to: number, n: number): void;
  roundBf16(at: number, n: number): void;
  decodeF16(from: number, to: number, n: number): number;
  encodeF16(from: number, to: number, n: number): void;
  roundF16(at: number, n: number): void;
  hasNaN(at: number, n: number): number;
  scale(out: number, x: number, a: number, n: number): void;
  addScaled(out: number, x: number, a: number, n: number): void;
  combine(xs: number, ws: number, k: number, base: number, out: number, n: number, relative: number): void;
  subtract(x: number, y: number, n: number): void;
  dot(x: number, y: number, n: number): number;
  sumMagnitudes(x: number, n: number): number;
  countHigh(x: number, n: number, counts: number): void;
  countLow(x: number, n: number, high: number, counts: number): void;
  keepAbove(x: number, n: number, limit: number, equal: number): number;
  dropRandom(x: number, base: number, n: number, start: number, key: number, key2: number, keep: number): void;
  readonly sumKept: { readonly value: number };
  sumDropped(x: number, base: number, n: number, start: number, key: number, key2: number, keep: number): number;
  elect(
    xs: number,
    ws: number,
    ss: number,
    k: number,
    base: number,
    out: number,
    n: number,
    lambda: number,
    normalize: number,
    count: number,
  ): void;
}

const PAGE = 65536;
/** Below lies what the compiler keeps there. */
const FIRST = PAGE;

/**
 * Compiled kernels with their memory, one per thread. Memory is handed out as a stack: `mark`, `reserve`, `take` …, `release`.
 * Arrays are views: taking more than was reserved may move the memory under them, so a method takes its own arrays before it reads chunks.
 */
export class Kernels {
  readonly fn: Compiled;
  /** Most bytes that may be handed out at a time. */
  limit = 1 << 30;
  private top = FIRST;

  constructor() {
    const module = new Module(Uint8Array.from(atob(kernelsWasm), (c) => c.charCodeAt(0)));
    const abort = (): never => {
      throw new LfmError("INTERNAL", "[@lfm/reuse] a kernel stopped");
    };
    this.fn = new Instance(module, { env: { abort } }).exports as unknown as Compiled;
  }

  mark(): number {
    return this.top;
  }

  /** Gives back everything that was taken after `mark`. */
  release(mark: number): void {
    this.top = mark;
  }

  /** Bytes that can still be taken. */
  get free(): number {
    return this.limit - (this.top - FIRST);
  }

  /** Makes room for `bytes` more, so that taking them moves nothing. @throws {LfmError} BUDGET_EXCEEDED */
  reserve(bytes: number): void {
    if (bytes > this.free)
      throw new LfmError("BUDGET_EXCEEDED", `[@lfm/reuse] ${bytes} bytes are more than the memory that was granted leaves (${this.free})`, {
        hint: "give more with --max-memory",
      });
    const missing = this.top + bytes - this.fn.memory.buffer.byteLength;
    if (missing > 0) this.fn.memory.grow(Math.ceil(missing / PAGE));
  }

  /** The address of `bytes` fresh bytes (multiple of 16), not cleared. */
  takeBytes(bytes: number): number {
    const padded = Math.ceil(bytes / 16) * 16;
    this.reserve(padded);
    const at = this.top;
    this.top += padded;
    return at;
  }

  /** f32 [n], not cleared. */
  take(n: number): Float32Array {
    const at = this.takeBytes(4 * n);
    return new Float32Array(this.fn.memory.buffer, at, n);
  }

  /** A view of memory that was taken. */
  bytes(at: number, n: number): Uint8Array {
    return new Uint8Array(this.fn.memory.buffer, at, n);
  }

  u32(at: number, n: number): Uint32Array {
    return new Uint32Array(this.fn.memory.buffer, at, n);
  }

  f32(at: number, n: number): Float32Array {
    return new Float32Array(this.fn.memory.buffer, at, n);
  }
}

let own: Kernels | undefined;

/** The kernels of this thread. */
export function kernels(): Kernels {
  own ??= new Kernels();
  return own;
}
