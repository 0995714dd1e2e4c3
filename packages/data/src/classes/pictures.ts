import { decode } from "fast-png";
import { formatError } from "../files.js";

/** Values of a picture, channel by channel, row by row, 0 = black … 1 = white. */
export interface Picture {
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** f32[channels · height · width] */
  readonly data: Float32Array;
}

/** A PNG of any depth; transparency is left out. @throws {LfmError} FILE_FORMAT */
export function decodePicture(path: string, png: Uint8Array): Picture {
  let image: ReturnType<typeof decode>;
  try {
    image = decode(png);
  } catch (cause) {
    throw formatError(path, "damaged PNG", { cause });
  }
  const { width, height, depth, channels: stored, data, palette } = image;
  if (palette) throw formatError(path, "a PNG with a palette", { hint: "save it as grey or RGB" });
  const channels = stored > 2 ? 3 : 1;
  const out = new Float32Array(channels * height * width);
  const stride = depth < 8 ? Math.ceil((width * depth) / 8) : width * stored;
  const white = 2 ** depth - 1;
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const bit = x * depth;
      for (let c = 0; c < channels; c++) {
        const value = depth < 8 ? (data[y * stride + (bit >> 3)]! >> (8 - depth - (bit & 7))) & white : data[y * stride + x * stored + c]!;
        out[(c * height + y) * width + x] = value / white;
      }
    }
  }
  return { channels, height, width, data: out };
}

/** The same picture, square: each pixel the mean over the area that it covers. f32[channels · size · size] */
export function resizePicture({ channels, height, width, data }: Picture, size: number): Float32Array {
  const [rows, columns] = [areas(height, size), areas(width, size)];
  const out = new Float32Array(channels * size * size);
  for (let c = 0; c < channels; c++) {
    for (let y = 0; y < size; y++) {
      for (let x = 0; x < size; x++) {
        let sum = 0;
        for (const [i, wy] of rows[y]!) for (const [j, wx] of columns[x]!) sum += wy * wx * data[(c * height + i) * width + j]!;
        out[(c * size + y) * size + x] = sum;
      }
    }
  }
  return out;
}

/** Of each of `size` parts of a line of `side` pixels the pixels in it, with their shares. */
function areas(side: number, size: number): (readonly [number, number])[][] {
  return Array.from({ length: size }, (_, t) => {
    const [from, to] = [(t * side) / size, ((t + 1) * side) / size];
    const parts: (readonly [number, number])[] = [];
    for (let i = Math.floor(from); i < Math.min(side, Math.ceil(to)); i++)
      parts.push([i, (Math.min(to, i + 1) - Math.max(from, i)) / (to - from)]);
    return parts;
  });
}
