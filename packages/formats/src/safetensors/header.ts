import { bytesPerElement, type DType, LfmError } from "@lfm/core";
import { z } from "zod";
import type { ByteSource } from "../file-bytes.js";

/** dtype names of the file format. */
export const dtypeNames: Readonly<Record<string, DType>> = {
  F64: "f64",
  F32: "f32",
  F16: "f16",
  BF16: "bf16",
  F8_E4M3: "f8e4m3",
  F8_E5M2: "f8e5m2",
  I64: "i64",
  I32: "i32",
  I16: "i16",
  I8: "i8",
  U64: "u64",
  U32: "u32",
  U16: "u16",
  U8: "u8",
  BOOL: "bool",
};
export const nameOfDtype = Object.fromEntries(Object.entries(dtypeNames).map(([name, dtype]) => [dtype, name])) as Readonly<
  Record<DType, string>
>;

/** dtypes that the format has too and nothing here computes with. */
const FOREIGN = ["C64", "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"];

/** The reference implementation reads no longer header. */
const MAX_HEADER_BYTES = 100_000_000;

/** One tensor of a header; offsets count from the end of the header. */
interface HeaderEntry {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly begin: number;
  readonly end: number;
}

export interface Header {
  readonly metadata: Readonly<Record<string, string>>;
  readonly entries: Readonly<Record<string, HeaderEntry>>;
}

/**
 * Reads the header in front of the data: an 8-byte little-endian length, then JSON.
 * Holds no more memory than the file has bytes and {@link MAX_HEADER_BYTES} allows, whatever length it claims.
 * @throws {LfmError} FILE_FORMAT naming the file
 */
export function readHeader(file: string, source: ByteSource): { header: Header; dataStart: number } {
  const fail = (message: string): LfmError => new LfmError("FILE_FORMAT", `[@lfm/formats] ${file}: ${message}`);
  if (source.size < 8) throw fail(`${source.size} bytes are no safetensors file`);
  const first = new Uint8Array(8);
  source.read(first, 0);
  const length = new DataView(first.buffer).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) throw fail(`a header of ${length} bytes is longer than the ${MAX_HEADER_BYTES} that are allowed`);
  const headerBytes = Number(length);
  if (8 + headerBytes > source.size)
    throw fail(`the header needs ${headerBytes} bytes, the file has ${source.size - 8} left: it is cut short`);
  const bytes = new Uint8Array(headerBytes);
  source.read(bytes, 8);
  let text: string;
  try {
    // A byte order mark stays in the text, where it is no JSON: the reference implementation refuses it too.
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${file}: the header is not UTF-8`, { cause });
  }
  return { header: parseHeader(file, text, source.size - 8 - headerBytes), dataStart: 8 + headerBytes };
}

const size = z.number().int().nonnegative();
/** What else stands there is passed over, as the reference implementation does. */
const entrySchema = z.object({ dtype: z.string(), shape: z.array(size), data_offsets: z.tuple([size, size]) });
/** Kept as it was parsed: a schema would build another object, and lose a key called __proto__. */
function isMetadata(value: unknown): value is Readonly<Record<string, string>> {
  return typeof value === "object" && value !== null && !Array.isArray(value) && Object.values(value).every((v) => typeof v === "string");
}

/** Half of a surrogate pair, which no UTF-8 text has and an escape in JSON can make. */
export const halfPair = /\p{Surrogate}/u;

/**
 * Reads a header and checks what the format promises: known dtypes, offsets that fit shape and dtype and cover the data without gap or overlap.
 * @param dataBytes bytes after the header
 * @throws {LfmError} FILE_FORMAT naming file and tensor
 */
function parseHeader(path: string, text: string, dataBytes: number): Header {
  const fail = (message: string, cause?: unknown): LfmError =>
    new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: ${message}`, cause === undefined ? {} : { cause });
  const { flaw, fraction } = scan(text);
  if (flaw !== undefined) throw fail(flaw);
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw fail("the header is not JSON", cause);
  }
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) throw fail("the header is not a JSON object");
  let metadata: Readonly<Record<string, string>> = {};
  // No prototype: "__proto__" is a name like any other.
  const entries: Record<string, HeaderEntry> = Object.create(null) as Record<string, HeaderEntry>;
  for (const [name, value] of Object.entries(raw)) {
    if (name === "__metadata__") {
      if (value !== null && !isMetadata(value)) throw fail("__metadata__ is no object of strings");
      metadata = value ?? {};
      continue;
    }
    if (halfPair.test(name)) throw fail(`the name ${JSON.stringify(name)} is no Unicode text`);
    const parsed = entrySchema.safeParse(value);
    if (!parsed.success) throw fail(`tensor "${name}": ${z.prettifyError(parsed.error)}`);
    const dtype = dtypeNames[parsed.data.dtype];
    if (!dtype) throw fail(`tensor "${name}" has the ${unread(parsed.data.dtype)}`);
    const [begin, end] = parsed.data.data_offsets;
    const bytes = sizeInBytes(parsed.data.shape, dtype);
    if (bytes === undefined) throw fail(`tensor "${name}" ${dtype}[${parsed.data.shape}] is larger than any file`);
    if (end - begin !== bytes)
      throw fail(`tensor "${name}" ${dtype}[${parsed.data.shape}] needs ${bytes} bytes, its offsets hold ${end - begin}`);
    if (end > dataBytes) throw fail(`tensor "${name}" ends at ${end}, the data has ${dataBytes} bytes: the file is cut short`);
    entries[name] = { dtype, shape: parsed.data.shape, begin, end };
  }
  // Behind the tensors, whose own errors say more.
  if (fraction) throw fail("a dimension or an offset is written as a fraction");
  checkCoverage(entries, dataBytes, fail);
  return { metadata, entries };
}

function unread(dtype: string): string {
  return FOREIGN.includes(dtype)
    ? `dtype ${dtype}, which is not read here: there are ${Object.keys(dtypeNames).join(", ")}`
    : `unknown dtype ${dtype}`;
}

/** Undefined where it, or a product on the way to it, is not exact any more. */
function sizeInBytes(shape: readonly number[], dtype: DType): number | undefined {
  let n = bytesPerElement[dtype];
  for (const d of shape) {
    n *= d;
    if (!Number.isSafeInteger(n)) return undefined;
  }
  return n;
}

function checkCoverage(entries: Readonly<Record<string, HeaderEntry>>, dataBytes: number, fail: (message: string) => LfmError): void {
  let at = 0;
  for (const [name, entry] of Object.entries(entries).sort(([, a], [, b]) => a.begin - b.begin || a.end - b.end)) {
    if (entry.begin < at) throw fail(`tensor "${name}" overlaps another`);
    if (entry.begin > at) throw fail(`${entry.begin - at} bytes before tensor "${name}" belong to no tensor`);
    at = entry.end;
  }
  if (at !== dataBytes) throw fail(`${dataBytes - at} bytes at the end belong to no tensor`);
}

/** Object of tensors, object of one tensor, its arrays. */
const MAX_DEPTH = 3;

/**
 * What JSON.parse would not say or would pay dearly for: a key twice (it keeps the last), a dimension written as a fraction (it makes 1 of 1.0),
 * and nesting, of which 100 MB take gigabytes. Text that is no JSON at all passes: parsing comes next.
 */
function scan(text: string): { readonly flaw?: string; readonly fraction: boolean } {
  let fraction = false;
  // The keys of every object that is open, undefined for arrays.
  const open: (Set<string> | undefined)[] = [];
  let lastString = "";
  for (let i = 0; i < text.length; i++) {
    const ch = text[i];
    if (ch === '"') {
      const start = i++;
      while (i < text.length && text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
      lastString = text.slice(start, i + 1);
    } else if (ch === "{" || ch === "[") {
      if (open.length === MAX_DEPTH) return { flaw: "the header is nested deeper than a header is", fraction };
      open.push(ch === "{" ? new Set() : undefined);
    } else if (ch === "}" || ch === "]") open.pop();
    else if (open.length > 0 && open.at(-1) === undefined && (ch === "." || ch === "-" || ch === "e" || ch === "E")) fraction = true;
    else if (ch === ":") {
      const keys = open.at(-1);
      const key = lastString.includes("\\") ? unescaped(lastString) : lastString.slice(1, -1);
      if (keys?.has(key)) return { flaw: `the header has the key "${key}" twice`, fraction };
      keys?.add(key);
    }
  }
  return { fraction };
}

function unescaped(string: string): string {
  try {
    return JSON.parse(string) as string;
  } catch {
    return string;
  }
}
