import { f32, type HostTensor, i32, LfmError, Rng as Random, type Rng, selectRows } from "@lfm/core";

export interface GlyphOptions {
  readonly seed?: number;
  /** Different glyphs (default 10). */
  readonly classes?: number;
  /** Height and width in pixels, divisible by 4 (default 16). */
  readonly size?: number;
  /** Standard deviation of a stroke point's displacement, in glyph widths (default 0.05). */
  readonly wobble?: number;
  /** Standard deviation of the noise of a pixel, ink being 1 (default 0.15). */
  readonly noise?: number;
}

/** Images with their classes. */
export interface GlyphBatch {
  /** f32[n, 1, size, size], about zero mean and unit variance over many glyphs. */
  readonly x: HostTensor;
  /** i32[n] */
  readonly labels: HostTensor;
}

export type GlyphSplit = "train" | "validation" | "test";

export interface Glyphs {
  readonly classes: number;
  readonly size: number;
  /** One image f32[size · size] of a class: number `index` of a split, a pure function of all three. */
  image(split: GlyphSplit, label: number, index: number): Float32Array;
  /** `perClass` images of every class, in random order: the first `perClass` of the split. */
  all(split: GlyphSplit, perClass: number): GlyphBatch;
}

type Point = readonly [number, number];
type Stroke = readonly [Point, Point, Point];

/** Mean and standard deviation of ink over glyphs of default options: images are standardised by them. */
const INK = { mean: 0.19, std: 0.36 } as const;
const PIECES = 6;

/**
 * Procedural handwriting: a class is three random curved strokes; a sample bends them, turns, shears, scales and shifts the glyph, varies the
 * thickness of the pen and adds pixel noise. A pure function of the options.
 * @throws {LfmError} CONFIG_INVALID
 */
export function createGlyphs(options: GlyphOptions = {}): Glyphs {
  const { seed = 1, classes = 10, size = 16, wobble = 0.05, noise = 0.15 } = options;
  if (!Number.isInteger(classes) || classes < 2)
    throw new LfmError("CONFIG_INVALID", `[@lfm/data] glyphs: classes must be >= 2, got ${classes}`);
  if (!Number.isInteger(size) || size < 8 || size % 4 !== 0)
    throw new LfmError("CONFIG_INVALID", `[@lfm/data] glyphs: size must be a multiple of 4 from 8 on, got ${size}`);
  const rng = new Random(seed).split("glyphs");
  const shapes = Array.from({ length: classes }, (_, k) => drawShape(rng.split(`shape/${k}`)));
  const image: Glyphs["image"] = (split, label, index) =>
    render(shapes[label]!, size, wobble, noise, rng.split(`${split}/${label}/${index}`));
  return {
    classes,
    size,
    image,
    all: (split, perClass) => {
      const order = rng.split(`order/${split}`).shuffle(Array.from({ length: classes * perClass }, (_, i) => i));
      const x = new Float32Array(order.length * size * size);
      const labels = order.map((i) => i % classes);
      order.forEach((i, at) => {
        x.set(image(split, i % classes, Math.floor(i / classes)), at * size * size);
      });
      return { x: f32(x, [order.length, 1, size, size]), labels: i32(labels, [order.length]) };
    },
  };
}

/** Rows of a batch, e.g. those of a training step. */
export function takeRows({ x, labels }: GlyphBatch, rows: readonly number[]): GlyphBatch {
  return { x: selectRows(x, rows), labels: selectRows(labels, rows) };
}

/** Three curves through the unit square, no stroke shorter than a third of it. */
function drawShape(rng: Rng): Stroke[] {
  const point = (): Point => [0.1 + 0.8 * rng.uniform(), 0.1 + 0.8 * rng.uniform()];
  return Array.from({ length: 3 }, () => {
    for (;;) {
      const [a, b, c] = [point(), point(), point()];
      if (Math.hypot(a[0] - c[0], a[1] - c[1]) > 0.35) return [a, b, c];
    }
  });
}

function render(shape: readonly Stroke[], size: number, wobble: number, noise: number, rng: Rng): Float32Array {
  const place = jitter(rng);
  const thickness = 0.045 + 0.035 * rng.uniform();
  const lines = shape.flatMap((stroke) => {
    const [a, b, c] = stroke.map(([x, y]) => place([x + wobble * rng.normal(), y + wobble * rng.normal()])) as [Point, Point, Point];
    return pieces(a, b, c);
  });
  const image = new Float32Array(size * size);
  const soft = 0.5 / size;
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [px, py] = [(x + 0.5) / size, (y + 0.5) / size];
      let nearest = Number.POSITIVE_INFINITY;
      for (const line of lines) nearest = Math.min(nearest, distance(px, py, line));
      const ink = Math.min(1, Math.max(0, (thickness - nearest) / (2 * soft) + 0.5));
      image[y * size + x] = (ink + noise * rng.normal() - INK.mean) / INK.std;
    }
  }
  return image;
}

/** A small random turn, shear, scale and shift about the centre. */
function jitter(rng: Rng): (p: Point) => Point {
  const angle = 0.2 * rng.normal();
  const [sx, sy] = [0.85 + 0.3 * rng.uniform(), 0.85 + 0.3 * rng.uniform()];
  const shear = 0.12 * rng.normal();
  const [dx, dy] = [0.06 * rng.normal(), 0.06 * rng.normal()];
  const [cos, sin] = [Math.cos(angle), Math.sin(angle)];
  return ([x, y]) => {
    const [u, v] = [sx * (x - 0.5) + shear * (y - 0.5), sy * (y - 0.5)];
    return [0.5 + cos * u - sin * v + dx, 0.5 + sin * u + cos * v + dy];
  };
}

type Segment = readonly [ax: number, ay: number, bx: number, by: number];

/** A quadratic Bézier curve from a to c as straight pieces. */
function pieces(a: Point, b: Point, c: Point): Segment[] {
  const at = (t: number): Point => {
    const [u, v, w] = [(1 - t) ** 2, 2 * t * (1 - t), t * t];
    return [u * a[0] + v * b[0] + w * c[0], u * a[1] + v * b[1] + w * c[1]];
  };
  return Array.from({ length: PIECES }, (_, i) => [...at(i / PIECES), ...at((i + 1) / PIECES)] as const);
}

function distance(x: number, y: number, [ax, ay, bx, by]: Segment): number {
  const [dx, dy] = [bx - ax, by - ay];
  const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy + 1e-12)));
  return Math.hypot(x - ax - t * dx, y - ay - t * dy);
}
