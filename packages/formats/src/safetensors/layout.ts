import { bytesPerElement, type DType, LfmError, sizeOf } from "@lfm/core";
import { halfPair, nameOfDtype } from "./header.js";

/** What a header says of a tensor. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/** A file before its tensors are written. */
export interface FileLayout {
  /** Everything in front of the data. */
  readonly head: Uint8Array;
  /** First byte of each tensor, counted from the start of the file; in the order of the file. */
  readonly positions: ReadonlyMap<string, number>;
  /** Bytes of the whole file. */
  readonly size: number;
}

function bytesOf(t: TensorType): number {
  return sizeOf(t.shape) * bytesPerElement[t.dtype];
}

/**
 * Where everything will lie in a safetensors file. Order: larger elements first, then by name, as the reference implementation writes;
 * the header is padded to 8 bytes.
 * @throws {LfmError} CONFIG_INVALID for a tensor called __metadata__, or by half of a surrogate pair, which no file holds
 */
export function layoutFile(tensors: Readonly<Record<string, TensorType>>, metadata: Readonly<Record<string, string>> = {}): FileLayout {
  const ordered = Object.entries(tensors).sort(([a, x], [b, y]) => bytesPerElement[y.dtype] - bytesPerElement[x.dtype] || (a < b ? -1 : 1));
  // No prototype: "__proto__" is a name like any other.
  const header = Object.create(null) as Record<string, unknown>;
  if (Object.keys(metadata).length > 0) header.__metadata__ = metadata;
  let at = 0;
  const begins: [string, number][] = [];
  for (const [name, t] of ordered) {
    if (name === "__metadata__") throw new LfmError("CONFIG_INVALID", "[@lfm/formats] no tensor may be called __metadata__");
    if (halfPair.test(name)) throw new LfmError("CONFIG_INVALID", `[@lfm/formats] the name ${JSON.stringify(name)} is no Unicode text`);
    header[name] = { dtype: nameOfDtype[t.dtype], shape: t.shape, data_offsets: [at, at + bytesOf(t)] };
    begins.push([name, at]);
    at += bytesOf(t);
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const length = Math.ceil(text.length / 8) * 8;
  const head = new Uint8Array(8 + length).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(length), true);
  head.set(text, 8);
  return { head, positions: new Map(begins.map(([name, begin]) => [name, head.length + begin])), size: head.length + at };
}

export const SHARD_INDEX = "model.safetensors.index.json";

export interface ShardLayout {
  /** File name → its tensors. One file is called `model.safetensors`. */
  readonly files: ReadonlyMap<string, Readonly<Record<string, TensorType>>>;
  /** Text of {@link SHARD_INDEX}; undefined where one file holds everything. */
  readonly index: string | undefined;
}

/** Cuts tensors into files of at most `maxBytes` (a larger tensor has a file for itself), named as Hugging Face names them. */
export function layoutShards(tensors: Readonly<Record<string, TensorType>>, maxBytes = 5e9): ShardLayout {
  const shards: Record<string, TensorType>[] = [Object.create(null) as Record<string, TensorType>];
  let held = 0;
  for (const [name, t] of Object.entries(tensors)) {
    if (held > 0 && held + bytesOf(t) > maxBytes) {
      shards.push(Object.create(null) as Record<string, TensorType>);
      held = 0;
    }
    shards.at(-1)![name] = t;
    held += bytesOf(t);
  }
  if (shards.length === 1) return { files: new Map([["model.safetensors", shards[0]!]]), index: undefined };
  const digits = (n: number): string => String(n).padStart(5, "0");
  const files = new Map(shards.map((shard, i) => [`model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`, shard]));
  const total = Object.values(tensors).reduce((n, t) => n + bytesOf(t), 0);
  const weightMap = Object.fromEntries([...files].flatMap(([file, shard]) => Object.keys(shard).map((name) => [name, file])));
  return { files, index: `${JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }, null, 2)}\n` };
}
