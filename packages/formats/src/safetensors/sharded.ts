import { existsSync, readdirSync, rmSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { bytesPerElement, type FileTensor, LfmError, sizeOf, type Weight } from "@lfm/core";
import { z } from "zod";
import { readJsonObject, writeTextFile } from "../json-file.js";
import { readSafetensors } from "./read.js";
import { type WriteOptions, writeSafetensors } from "./write.js";

export interface StoredWeights {
  readonly weights: Readonly<Record<string, FileTensor>>;
  readonly metadata: Readonly<Record<string, string>>;
  readonly files: readonly string[];
}

const INDEX = "model.safetensors.index.json";
const indexSchema = z.looseObject({ weight_map: z.record(z.string(), z.string()) });

/**
 * Weights of a file, or of a Hugging Face folder: `model.safetensors`, a sharded index, or the only safetensors file there.
 * @throws {LfmError} FILE_IO, FILE_FORMAT (naming the tensor that an index lists and no shard has); a folder with pickles only gets a hint
 */
export function readWeights(fileOrFolder: string): StoredWeights {
  if (!existsSync(fileOrFolder)) throw new LfmError("FILE_IO", `[@lfm/formats] ${fileOrFolder} does not exist`);
  if (!statSync(fileOrFolder).isDirectory()) return fileOrFolder.endsWith(".index.json") ? readIndex(fileOrFolder) : single(fileOrFolder);
  const whole = join(fileOrFolder, "model.safetensors");
  if (existsSync(whole)) return single(whole);
  const index = join(fileOrFolder, INDEX);
  if (existsSync(index)) return readIndex(index);
  const names = readdirSync(fileOrFolder);
  const found = names.filter((n) => n.endsWith(".safetensors"));
  if (found.length === 1) return single(join(fileOrFolder, found[0]!));
  if (found.length > 1)
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${fileOrFolder} holds ${found.length} safetensors files and no ${INDEX}`);
  const pickled = names.some((n) => /\.(bin|pt|pth|ckpt)$/.test(n));
  throw new LfmError(
    "FILE_FORMAT",
    `[@lfm/formats] ${fileOrFolder} holds no safetensors file`,
    pickled ? { hint: "pickled weights can run code and are not read; save the model with save_pretrained(safe_serialization=True)" } : {},
  );
}

function single(path: string): StoredWeights {
  const file = readSafetensors(path);
  return { weights: file.tensors, metadata: file.metadata, files: [file.path] };
}

function readIndex(path: string): StoredWeights {
  const fail = (message: string): LfmError => new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: ${message}`);
  const parsed = indexSchema.safeParse(readJsonObject(path));
  if (!parsed.success) throw fail(z.prettifyError(parsed.error));
  const folder = path.slice(0, path.length - basename(path).length);
  const shards = new Map<string, ReturnType<typeof readSafetensors>>();
  const weights: Record<string, FileTensor> = Object.create(null) as Record<string, FileTensor>;
  for (const [name, shard] of Object.entries(parsed.data.weight_map)) {
    if (shard !== basename(shard) || shard === ".." || shard.includes("\\"))
      throw fail(`tensor "${name}" points out of the folder: "${shard}"`);
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

/**
 * Writes weights into a folder as Hugging Face does: one `model.safetensors`, or shards of at most `maxShardBytes` with an index that comes last.
 * @throws {LfmError} FILE_IO
 */
export async function writeSharded(
  folder: string,
  tensors: Readonly<Record<string, Weight>>,
  options: WriteOptions & { readonly maxShardBytes?: number } = {},
): Promise<readonly string[]> {
  const { maxShardBytes = 5e9, ...rest } = options;
  const write = { ...rest, metadata: { format: "pt", ...rest.metadata } };
  const bytes = (t: Weight): number => sizeOf(t.shape) * bytesPerElement[rest.dtype ?? t.dtype];
  const shards: Record<string, Weight>[] = [{}];
  let held = 0;
  for (const [name, t] of Object.entries(tensors)) {
    if (held > 0 && held + bytes(t) > maxShardBytes) {
      shards.push({});
      held = 0;
    }
    shards.at(-1)![name] = t;
    held += bytes(t);
  }
  // An index of before must not name shards of now.
  rmSync(join(folder, INDEX), { force: true });
  if (shards.length === 1) {
    await writeSafetensors(join(folder, "model.safetensors"), tensors, write);
    return ["model.safetensors"];
  }
  const digits = (n: number): string => String(n).padStart(5, "0");
  const files = shards.map((_, i) => `model-${digits(i + 1)}-of-${digits(shards.length)}.safetensors`);
  for (const [i, shard] of shards.entries()) await writeSafetensors(join(folder, files[i]!), shard, write);
  const weightMap = Object.fromEntries(shards.flatMap((shard, i) => Object.keys(shard).map((name) => [name, files[i]!])));
  const total = Object.values(tensors).reduce((n, t) => n + bytes(t), 0);
  writeTextFile(join(folder, INDEX), `${JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap }, null, 2)}\n`);
  // Readers prefer one whole file: that of before must not hide the shards.
  rmSync(join(folder, "model.safetensors"), { force: true });
  return [...files, INDEX];
}
