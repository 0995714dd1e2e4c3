import { LfmError } from "@lfm/core";
import { decode } from "fast-png";
import { type Unzipped, unzipSync } from "fflate";
import { formatError, isRecord, parseJson } from "../files.js";
import { type DatasetLocation, readPinned, readPinnedText } from "./folder.js";

/** A character of an alphabet with its drawings by different people. */
export interface Character {
  readonly alphabet: string;
  /** e.g. "character01". */
  readonly name: string;
  /** f32[size · size] each, row by row: share of ink in 0..1. */
  readonly drawings: readonly Float32Array[];
}

export interface OmniglotSet {
  readonly name: "omniglot";
  /** Width and height of a drawing in pixels. */
  readonly size: number;
  /** Alphabets are disjoint between the splits. */
  readonly splits: { readonly train: readonly Character[]; readonly validation: readonly Character[]; readonly test: readonly Character[] };
}

const SIDE = 105;
const ALPHABETS = { train: 4, validation: 1, test: 3 } as const;

/**
 * Omniglot's two small background sets. Alphabets in code-point order: four train, one validation, three test.
 * @param options `size`: side in pixels, averaged down from 105 (default 28, as usual in few-shot work)
 * @throws {LfmError} FILE_IO, FILE_FORMAT, CONFIG_INVALID
 */
export async function loadOmniglot(options: DatasetLocation & { readonly size?: number } = {}): Promise<OmniglotSet> {
  const size = options.size ?? 28;
  if (!Number.isInteger(size) || size < 1 || size > SIDE) {
    throw new LfmError("CONFIG_INVALID", `[@lfm/data] omniglot: size must be an integer in 1..${SIDE}, got ${size}`);
  }
  // Two alphabets stand in both archives, with the same drawings.
  const byName = new Map<string, Character>();
  for (const archive of ["images_background_small1.zip", "images_background_small2.zip"]) {
    const { path, bytes } = await readPinned("omniglot", archive, options);
    for (const character of readCharacters(path, bytes, size)) byName.set(`${character.alphabet}/${character.name}`, character);
  }
  const characters = [...byName.values()];
  const alphabets = [...new Set(characters.map((c) => c.alphabet))].sort();
  const part = (from: number, count: number): Character[] => {
    const chosen = new Set(alphabets.slice(from, from + count));
    return characters.filter((c) => chosen.has(c.alphabet));
  };
  return {
    name: "omniglot",
    size,
    splits: {
      train: part(0, ALPHABETS.train),
      validation: part(ALPHABETS.train, ALPHABETS.validation),
      test: part(ALPHABETS.train + ALPHABETS.validation, ALPHABETS.test),
    },
  };
}

/** Entries `set/alphabet/character/drawing.png` of an archive, in code-point order of their paths. @throws {LfmError} FILE_FORMAT */
export function readCharacters(path: string, archive: Uint8Array, size: number): Character[] {
  let entries: Unzipped;
  try {
    entries = unzipSync(archive, { filter: (entry) => entry.name.endsWith(".png") && entry.originalSize < 65536 });
  } catch (cause) {
    throw formatError(path, "damaged zip archive", { cause });
  }
  const found = new Map<string, { alphabet: string; name: string; drawings: Float32Array[] }>();
  for (const entry of Object.keys(entries).sort()) {
    const [, alphabet, name] = entry.split("/");
    if (alphabet === undefined || name === undefined) throw formatError(path, `unexpected entry "${entry}"`);
    const key = `${alphabet}/${name}`;
    const character = found.get(key) ?? { alphabet, name, drawings: [] };
    character.drawings.push(averageDown(readInk(`${path}:${entry}`, entries[entry]!), size));
    found.set(key, character);
  }
  return [...found.values()];
}

/** Ink of a black-on-white PNG of 105 × 105, 1 = black. */
function readInk(path: string, png: Uint8Array): { side: number; ink: Float32Array } {
  let image: ReturnType<typeof decode>;
  try {
    image = decode(png);
  } catch (cause) {
    throw formatError(path, "damaged PNG", { cause });
  }
  const { width, height, depth, channels, data } = image;
  if (width !== height || channels !== 1) throw formatError(path, `expected a square grey image, found ${width} × ${height} × ${channels}`);
  const ink = new Float32Array(width * height);
  const stride = depth < 8 ? Math.ceil((width * depth) / 8) : width;
  const white = 2 ** depth - 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      const value = depth < 8 ? (data[y * stride + (bit >> 3)]! >> (8 - depth - (bit & 7))) & white : data[y * stride + x]!;
      ink[y * width + x] = 1 - value / white;
    }
  }
  return { side: width, ink };
}

/** Mean over the area that each target pixel covers. */
function averageDown({ side, ink }: { side: number; ink: Float32Array }, size: number): Float32Array {
  if (size === side) return ink;
  const weights = Array.from({ length: size }, (_, t) => {
    const [from, to] = [(t * side) / size, ((t + 1) * side) / size];
    const parts: [number, number][] = [];
    for (let i = Math.floor(from); i < Math.min(side, Math.ceil(to)); i++) {
      parts.push([i, (Math.min(to, i + 1) - Math.max(from, i)) / (to - from)]);
    }
    return parts;
  });
  const out = new Float32Array(size * size);
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      let sum = 0;
      for (const [i, wy] of weights[y]!) for (const [j, wx] of weights[x]!) sum += wy * wx * ink[i * side + j]!;
      out[y * size + x] = sum;
    }
  }
  return out;
}

export interface DigitSplit {
  /** f32[count · 784], image by image, row by row, 0 = paper … 1 = ink. */
  readonly pixels: Float32Array;
  /** i32[count] in 0..9. */
  readonly labels: Int32Array;
  readonly count: number;
}

export interface MnistSet {
  readonly name: "mnist";
  readonly size: 28;
  readonly splits: { readonly train: DigitSplit; readonly test: DigitSplit };
}

/** 10,000 digits of MNIST; every fifth of each digit is test. @throws {LfmError} FILE_IO, FILE_FORMAT */
export async function loadMnist(location: DatasetLocation = {}): Promise<MnistSet> {
  const digits = await Promise.all(
    Array.from({ length: 10 }, async (_, digit) => {
      const { path, text } = await readPinnedText("mnist", `${digit}.json.gz`, location);
      return parseDigits(path, text);
    }),
  );
  const split = (wanted: (n: number) => boolean): DigitSplit => {
    const rows = digits.flatMap((images, digit) => images.filter((_, i) => wanted(i + 1)).map((image) => ({ image, digit })));
    const pixels = new Float32Array(rows.length * 784);
    rows.forEach((row, i) => {
      pixels.set(row.image, i * 784);
    });
    return { pixels, labels: Int32Array.from(rows, (row) => row.digit), count: rows.length };
  };
  return { name: "mnist", size: 28, splits: { train: split((n) => n % 5 !== 0), test: split((n) => n % 5 === 0) } };
}

/** `{ data: [784 values per image, one after the other] }` → images. @throws {LfmError} FILE_FORMAT */
export function parseDigits(path: string, text: string): Float32Array[] {
  const value = parseJson(path, text);
  const data = isRecord(value) ? value.data : undefined;
  if (!Array.isArray(data) || data.length % 784 !== 0) throw formatError(path, "expected data of 784 values per image");
  const images: Float32Array[] = [];
  for (let at = 0; at < data.length; at += 784) {
    const image = Float32Array.from(data.slice(at, at + 784) as number[]);
    if (!image.every((v) => v >= 0 && v <= 1)) throw formatError(path, `image ${at / 784} has a value outside 0..1`);
    images.push(image);
  }
  return images;
}
