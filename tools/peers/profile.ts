import { createReadStream } from "node:fs";
import { createInterface } from "node:readline";

/** Rows, inner dimension and columns of a product, and how many of them are in one operation. */
export interface ProductShape {
  readonly batch: number;
  readonly m: number;
  readonly k: number;
  readonly n: number;
  /** The right side is a weight, which ONNX Runtime packs once. */
  readonly packed: boolean;
  readonly transA: boolean;
}

export interface ProductTime extends ProductShape {
  /** Per step. */
  readonly count: number;
  /** Of all of them in one step. */
  readonly ms: number;
}

export interface StepProfile {
  /** Time in all operations, per step. */
  readonly ms: number;
  /** Time by operation, per step. */
  readonly byOp: Readonly<Record<string, number>>;
  /** Largest first. */
  readonly products: readonly ProductTime[];
}

interface Event {
  readonly cat: string;
  readonly name: string;
  readonly dur: number;
  readonly ts: number;
  readonly args: { readonly op_name?: string; readonly input_type_shape?: readonly Shape[]; readonly output_type_shape?: readonly Shape[] };
}
type Shape = Readonly<Record<string, readonly number[]>>;

const PRODUCTS = new Set(["Gemm", "MatMul", "FusedMatMul", "MatMulIntegerToFloat", "MatMulNBits"]);

/** Reads a profile of ONNX Runtime. @param skip runs at the front that are not counted: they warm up */
export async function readProfile(path: string, skip: number): Promise<StepProfile> {
  const events = await readEvents(path);
  const runs = events.filter((e) => e.cat === "Session" && e.name === "model_run").sort((a, b) => a.ts - b.ts);
  const counted = runs.slice(Math.min(skip, runs.length - 1));
  const from = counted[0]?.ts ?? 0;
  const nodes = events.filter((e) => e.cat === "Node" && e.name.endsWith("_kernel_time") && e.ts >= from);
  const byOp: Record<string, number> = {};
  const products = new Map<string, { shape: ProductShape; count: number; us: number }>();
  for (const { args, dur } of nodes) {
    const op = args.op_name ?? "";
    byOp[op] = (byOp[op] ?? 0) + dur / 1000 / counted.length;
    if (!PRODUCTS.has(op)) continue;
    const shape = productShape(args);
    const key = JSON.stringify(shape);
    const known = products.get(key) ?? { shape, count: 0, us: 0 };
    products.set(key, { shape, count: known.count + 1, us: known.us + dur });
  }
  return {
    ms: Object.values(byOp).reduce((a, b) => a + b, 0),
    byOp,
    products: [...products.values()]
      .map(({ shape, count, us }) => ({ ...shape, count: count / counted.length, ms: us / 1000 / counted.length }))
      .sort((a, b) => b.ms - a.ms),
  };
}

/** ORT writes an event a line; hundreds of decoding steps make a file that is longer than a string may be. */
async function readEvents(path: string): Promise<Event[]> {
  const events: Event[] = [];
  for await (const line of createInterface({ input: createReadStream(path) }))
    if (line.startsWith("{")) events.push(JSON.parse(line.replace(/,$/, "")) as Event);
  return events;
}

/** Packed weights are missing from the inputs that a profile names. The inner dimension follows from the size of the left side. */
function productShape({ input_type_shape = [], output_type_shape = [] }: Event["args"]): ProductShape {
  const [a, b] = input_type_shape.map((s) => Object.values(s)[0]!);
  const out = Object.values(output_type_shape[0]!)[0]!;
  const [m, n] = [out.at(-2) ?? 1, out.at(-1) ?? 1];
  const size = (shape: readonly number[]): number => shape.reduce((x, y) => x * y, 1);
  const batch = size(out.slice(0, -2));
  const k = size(a!) / (m * batch);
  return { batch, m, k, n, packed: b === undefined || size(b) !== k * n * (b.length > 2 ? batch : 1), transA: a!.at(-1) === m && m !== k };
}

/** 2·m·k·n of all products of a step, in 10⁹. */
export function gigaFlops(products: readonly ProductTime[]): number {
  return products.reduce((sum, p) => sum + (p.count * 2 * p.batch * p.m * p.k * p.n) / 1e9, 0);
}

/** Time in products, as a share of the time in all operations. */
export function productShare(profile: StepProfile): number {
  return profile.products.reduce((sum, p) => sum + p.ms, 0) / profile.ms;
}
