import { createHash } from "node:crypto";
import { closeSync, existsSync, fstatSync, ftruncateSync, mkdirSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { inputKind, LfmError } from "@lfm/core";
import { lockFolder, writeError } from "@lfm/formats";
import { z } from "zod";
import { bytesOf, decodeRow, type Exactness, encodeRow, type ToldRow } from "./told-rows.js";

/** Where a teacher's answers are kept from epoch to epoch and from student to student. */
export interface LogitCachePlace extends Partial<Exactness> {
  /** Made where it is not there. Answers of several teachers, and of one teacher in several exactnesses, lie side by side in it. */
  readonly folder: string;
  /** Hash of the teacher's weights. */
  readonly teacher: string;
}

/** How answers are kept, beside where. */
export const cacheOptions = z.strictObject({
  cacheTopK: z
    .number()
    .int()
    .positive()
    .optional()
    .describe("largest answers of each position that are kept; the others share what remains [all]"),
  cacheDtype: z.enum(["f16", "f32"]).default("f16").describe("how exactly answers are kept"),
});

/** Where the teacher's answers are kept. */
export const logitCacheInput = inputKind<LogitCachePlace>("logit-cache");

/** A teacher's answers on disk; this process alone has them until it closes them. */
export interface LogitCache {
  /** Classes of the answers that are there; undefined while there are none. */
  readonly classes: number | undefined;
  has(key: Buffer): boolean;
  /** @throws {LfmError} FILE_FORMAT where the bytes are not those that were written; INTERNAL for a key that is not there */
  get(key: Buffer): ToldRow;
  /** @throws {LfmError} FILE_IO */
  put(key: Buffer, row: ToldRow): void;
  close(): void;
}

const FORMAT = "lfm teacher logits 1\n";
const KEY = 32;
const CHECK = 8;
/** Key, positions, classes, and a check of the three. */
const HEAD = KEY + 4 + 4 + CHECK;

interface Place {
  readonly at: number;
  readonly positions: number;
}

/**
 * Opens the answers of a teacher, or begins them. Records are put one behind the other; one that a killed process left half written at the end is
 * dropped.
 * @param shows what the answers depend on besides weights, e.g. the teacher's configuration
 * @throws {LfmError} FILE_FORMAT for a file that is not of this kind or has other bytes than were written; FILE_IO, also where another process has it
 */
export function openLogitCache({ folder, teacher, topK, dtype = "f16" }: LogitCachePlace, shows: unknown = {}): LogitCache {
  const how: Exactness = { dtype, ...(topK === undefined ? {} : { topK }) };
  const name = createHash("sha256")
    .update(JSON.stringify([teacher, shows, topK ?? "all", dtype]))
    .digest("hex")
    .slice(0, 16);
  const own = join(folder, name);
  try {
    mkdirSync(own, { recursive: true });
  } catch (cause) {
    throw writeError(own, cause);
  }
  const lock = lockFolder(own, `the answers in ${folder}`);
  let file: number | undefined;
  try {
    const path = join(own, "answers.bin");
    const fresh = !existsSync(path);
    file = openSync(path, fresh ? "w+" : "r+");
    return opened(file, path, how, () => lock.release());
  } catch (cause) {
    if (file !== undefined) closeSync(file);
    lock.release();
    throw writeError(own, cause);
  }
}

function opened(file: number, path: string, how: Exactness, released: () => void): LogitCache {
  const places = new Map<string, Place>();
  let classes: number | undefined;
  let end = FORMAT.length;
  const size = fstatSync(file).size;
  const begins = read(file, 0, Math.min(size, FORMAT.length)).toString("latin1");
  if (!FORMAT.startsWith(begins)) throw corrupt(path, "does not begin as a file of a teacher's answers does");
  if (begins.length < FORMAT.length) writeSync(file, FORMAT, 0, "latin1");
  else
    while (end + HEAD <= size) {
      const head = read(file, end, HEAD);
      if (!checks(head)) throw corrupt(path, `has a broken record at byte ${end}`);
      const [positions, own] = [head.readUInt32LE(KEY), head.readUInt32LE(KEY + 4)];
      classes ??= own;
      if (own !== classes) throw corrupt(path, `has answers of ${own} classes at byte ${end}, before them ${classes}`);
      const next = end + HEAD + bytesOf(how, positions, own) + CHECK;
      if (next > size) break;
      places.set(keyText(head), { at: end, positions });
      end = next;
    }
  // What a killed writer left behind the last whole record.
  ftruncateSync(file, end);
  return {
    get classes() {
      return classes;
    },
    has: (key) => places.has(keyText(key)),
    get: (key) => {
      const place = places.get(keyText(key));
      if (!place || classes === undefined) throw new LfmError("INTERNAL", "[@lfm/distillation] asked for an answer that is not kept");
      const body = read(file, place.at + HEAD, bytesOf(how, place.positions, classes) + CHECK);
      if (!checks(body)) throw corrupt(path, `has other bytes than were written at byte ${place.at + HEAD}`);
      return decodeRow(body.subarray(0, -CHECK), how, place.positions, classes);
    },
    put: (key, row) => {
      const [positions, own] = row.shape as readonly [number, number];
      const head = Buffer.alloc(KEY + 8);
      key.copy(head);
      head.writeUInt32LE(positions, KEY);
      head.writeUInt32LE(own, KEY + 4);
      const record = Buffer.concat([checked(head), checked(encodeRow(row, how))]);
      try {
        writeSync(file, record, 0, record.length, end);
      } catch (cause) {
        throw writeError(path, cause);
      }
      classes ??= own;
      places.set(keyText(key), { at: end, positions });
      end += record.length;
    },
    close: () => {
      closeSync(file);
      released();
    },
  };
}

const keyText = (bytes: Buffer): string => bytes.toString("latin1", 0, KEY);

function read(file: number, at: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  return bytes.subarray(0, readSync(file, bytes, 0, length, at));
}

const checkOf = (bytes: Uint8Array): Buffer => createHash("sha256").update(bytes).digest().subarray(0, CHECK);
const checked = (bytes: Uint8Array): Buffer => Buffer.concat([bytes, checkOf(bytes)]);
const checks = (bytes: Buffer): boolean => checkOf(bytes.subarray(0, -CHECK)).equals(bytes.subarray(-CHECK));

function corrupt(path: string, what: string): LfmError {
  return new LfmError("FILE_FORMAT", `[@lfm/distillation] ${path} ${what}`, { hint: `rm ${path}; its answers are then asked anew` });
}
