import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type FileTensor, LfmError, type Weight } from "@lfm/core";
import { readJsonObject } from "../json-file.js";
import { nameFlaw } from "../names.js";
import { writeTextFile } from "../whole-file.js";
import { layoutShards, SHARD_INDEX } from "./layout.js";
import { formOf, unread } from "./other-forms.js";
import { readSafetensors } from "./read.js";
import { type StreamedTensor, streamed, type WriteOptions, writeStreamed } from "./write.js";

export interface StoredWeights {
  readonly weights: Readonly<Record<string, FileTensor>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}

/** Kept as it was parsed: a schema of records would lose a tensor called __proto__. */
function weightMapOf(index: Readonly<Record<string, unknown>>): Readonly<Record<string, string>> | undefined {
  const map = index.weight_map;
  const isMap = typeof map === "object" && map !== null && !Array.isArray(map) && Object.values(map).every((v) => typeof v === "string");
  return isMap ? (map as Readonly<Record<string, string>>) : undefined;
}

/**
 * Weights of a file, or of a Hugging Face folder: `model.safetensors`, a sharded index, or the only safetensors file there.
 * @throws {LfmError} FILE_IO, FILE_FORMAT (naming the tensor that an index lists and no shard has); weights in other forms get the line that converts them
 */
export function readWeights(fileOrFolder: string): StoredWeights {
  if (!existsSync(fileOrFolder)) throw new LfmError("FILE_IO", `[@lfm/formats] ${fileOrFolder} does not exist`);
  if (!statSync(fileOrFolder).isDirectory()) {
    if (formOf(fileOrFolder) !== undefined) throw unread(dirname(fileOrFolder), [basename(fileOrFolder)]);
    return fileOrFolder.endsWith(".index.json") ? readIndex(fileOrFolder) : single(fileOrFolder);
  }
  const whole = join(fileOrFolder, "model.safetensors");
  if (existsSync(whole)) return single(whole);
  const index = join(fileOrFolder, SHARD_INDEX);
  if (existsSync(index)) return readIndex(index);
  const names = readdirSync(fileOrFolder);
  const found = names.filter((n) => n.endsWith(".safetensors"));
  if (found.length === 1) return single(join(fileOrFolder, found[0]!));
  if (found.length > 1)
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${fileOrFolder} holds ${found.length} safetensors files and no ${SHARD_INDEX}`);
  throw unread(fileOrFolder, names);
}

function single(path: string): StoredWeights {
  const file = readSafetensors(path);
  return { weights: file.tensors, metadata: file.metadata, files: [file.path] };
}

function readIndex(path: string): StoredWeights {
  const fail = (message: string): LfmError => new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: ${message}`);
  const weightMap = weightMapOf(readJsonObject(path));
  if (!weightMap) throw fail("it has no weight_map of tensors to files");
  const folder = path.slice(0, path.length - basename(path).length);
  const shards = new Map<string, ReturnType<typeof readSafetensors>>();
  const weights: Record<string, FileTensor> = Object.create(null) as Record<string, FileTensor>;
  for (const [name, shard] of Object.entries(weightMap)) {
    const flaw = nameFlaw(shard);
    if (flaw !== undefined) throw fail(`tensor "${name}" is said to be in "${shard}", which ${flaw}`);
    let file = shards.get(shard);
    if (!file) {
      if (!existsSync(join(folder, shard))) throw fail(`the shard "${shard}" of tensor "${name}" is missing`);
      file = readSafetensors(join(folder, shard));
      shards.set(shard, file);
    }
    const tensor = file.tensors[name];
    if (!tensor) throw fail(`tensor "${name}" is not in "${shard}", where the index says it is`);
    weights[name] = tensor;
  }
  return { weights, metadata: [...shards.values()][0]?.metadata ?? {}, files: [...shards.values()].map((f) => f.path) };
}

export interface ShardOptions {
  /** Most bytes of a file's tensors. Default 5e9, as Hugging Face has it. */
  readonly maxShardBytes?: number;
}

/**
 * Writes weights into a folder as Hugging Face does: one `model.safetensors`, or shards of at most `maxShardBytes` with an index that comes last.
 * @throws {LfmError} FILE_IO
 */
export async function writeSharded(
  folder: string,
  tensors: Readonly<Record<string, Weight>>,
  options: WriteOptions & ShardOptions = {},
): Promise<readonly string[]> {
  return writeStreamedShards(folder, streamed(tensors, options.dtype), options);
}

/** The same of tensors that are made while they are written. @throws {LfmError} FILE_IO, SHAPE_MISMATCH */
export async function writeStreamedShards(
  folder: string,
  tensors: Readonly<Record<string, StreamedTensor>>,
  { maxShardBytes = 5e9, metadata }: Pick<WriteOptions, "metadata"> & ShardOptions = {},
): Promise<readonly string[]> {
  const { files, index } = layoutShards(tensors, maxShardBytes);
  // An index of before must not name shards of now.
  rmSync(join(folder, SHARD_INDEX), { force: true });
  for (const [file, shard] of files)
    await writeStreamed(join(folder, file), Object.fromEntries(Object.keys(shard).map((name) => [name, tensors[name]!])), {
      format: "pt",
      ...metadata,
    });
  if (index === undefined) return [...files.keys()];
  writeTextFile(join(folder, SHARD_INDEX), index);
  // Readers prefer one whole file: that of before must not hide the shards.
  rmSync(join(folder, "model.safetensors"), { force: true });
  return [...files.keys(), SHARD_INDEX];
}
