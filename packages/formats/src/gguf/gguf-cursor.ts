import { LfmError } from "@lfm/core";
import type { ByteSource } from "../file-bytes.js";

/** Bytes that are read at a time. */
const WINDOW = 2 ** 18;
/** Tokens are shorter, chat templates too. */
const MAX_TEXT_BYTES = 2 ** 24;
/** Vocabularies of a million tokens need a tenth of it. */
const MAX_HEADER_BYTES = 2 ** 29;

/** Reads the header of a GGUF file from front to back. Everything that it throws is FILE_FORMAT and names the file. */
export class GgufCursor {
  /** Bytes read so far. */
  position = 0;
  private window = new Uint8Array(0);
  private windowStart = 0;
  private readonly file: string;
  private readonly source: ByteSource;
  private readonly decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(file: string, source: ByteSource) {
    this.file = file;
    this.source = source;
  }

  fail(message: string, hint?: string): LfmError {
    return new LfmError("FILE_FORMAT", `[@lfm/formats] ${this.file} ${message}`, hint === undefined ? {} : { hint });
  }

  /** The next bytes, valid until the next call. */
  view(bytes: number): DataView {
    const next = this.take(bytes);
    return new DataView(next.buffer, next.byteOffset, next.byteLength);
  }

  u32(): number {
    return this.view(4).getUint32(0, true);
  }

  /** A 64-bit size. */
  size(what: string): number {
    const value = this.view(8).getBigUint64(0, true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw this.fail(`claims ${value} as ${what}`);
    return Number(value);
  }

  /** A 64-bit number of things of at least `bytes` each, which the rest of the file must have room for. */
  count(what: string, most: number, bytes: number): number {
    const value = this.view(8).getBigUint64(0, true);
    const room = Math.floor((Math.min(this.source.size, MAX_HEADER_BYTES) - this.position) / bytes);
    if (value > BigInt(Math.min(most, Math.max(0, room))))
      throw this.fail(`claims ${value} ${what}: ${room < most ? "the file is too short for them" : `at most ${most} are read`}`);
    return Number(value);
  }

  boolean(): boolean {
    const value = this.view(1).getUint8(0);
    if (value > 1) throw this.fail(`has the truth value ${value}`);
    return value === 1;
  }

  text(): string {
    const bytes = this.count("bytes of a text", MAX_TEXT_BYTES, 1);
    try {
      return this.decoder.decode(this.take(bytes));
    } catch (cause) {
      if (cause instanceof LfmError) throw cause;
      throw this.fail(`has a text at byte ${this.position - bytes} that is not UTF-8`);
    }
  }

  private take(bytes: number): Uint8Array {
    if (this.position + bytes > Math.min(this.source.size, MAX_HEADER_BYTES))
      throw this.fail(`ends at byte ${this.source.size} within its header: it is cut short`);
    if (this.position < this.windowStart || this.position + bytes > this.windowStart + this.window.length) {
      this.window = new Uint8Array(Math.max(bytes, Math.min(WINDOW, this.source.size - this.position)));
      this.windowStart = this.position;
      this.source.read(this.window, this.position);
    }
    const from = this.position - this.windowStart;
    this.position += bytes;
    return this.window.subarray(from, from + bytes);
  }
}
