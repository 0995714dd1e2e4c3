import { compile, type HostTensor, hostTensor, type MethodContext, type Model, type Monitor, randomNormal } from "@lfm/core";
import { type GeneratorShape, generate } from "./generator.js";
import type { ItemField } from "./invented-items.js";

const SAMPLES = 512;
const THRESHOLD = 0.8;

/**
 * Mode collapse from how often there was each class: entropy as a share of the largest possible; warns below .8.
 * @param of what was counted, for the message
 */
export function collapseVerdict(counts: readonly number[], of = "invented samples"): Monitor & { readonly value: number } {
  const total = counts.reduce((a, n) => a + n, 0);
  const entropy = counts.reduce((h, n) => (n === 0 ? h : h - (n / total) * Math.log(n / total)), 0) / Math.log(Math.max(2, counts.length));
  const covered = counts.filter((n) => n > 0).length;
  return {
    id: "mode-collapse",
    value: entropy,
    threshold: THRESHOLD,
    warning: entropy < THRESHOLD,
    message: `${of} cover ${covered} of ${counts.length} classes, entropy ${(100 * entropy).toFixed(0)} % of even`,
  };
}

/** Adds up which class was the largest of each row f32[n, classes]. */
export function countClasses({ shape, data }: HostTensor, counts: number[]): void {
  const classes = shape[1]!;
  for (let r = 0; r < shape[0]!; r++) {
    let best = 0;
    for (let k = 1; k < classes; k++) if (Number(data[r * classes + k]) > Number(data[r * classes + best])) best = k;
    counts[best] = (counts[best] ?? 0) + 1;
  }
}

/** Draws 512 samples of a generator and looks at the teacher's classes of them. */
export async function collapseMonitor(
  teacher: Model,
  generator: Readonly<Record<string, HostTensor>>,
  shape: GeneratorShape,
  field: ItemField,
  context: Pick<MethodContext, "engine" | "rng">,
): Promise<Monitor> {
  const f = await compile(
    context.engine,
    { key: { dtype: "i32", shape: [] } },
    ({ key }, { g, t }) => {
      const x = generate(g, randomNormal(key, [SAMPLES, shape.noise]), shape);
      return { logits: teacher.forward(t, { [field]: x }, { mode: "eval" }).logits! };
    },
    { frozen: { g: generator, t: teacher.params } },
  );
  try {
    const { logits } = await f({ key: hostTensor("i32", [], Int32Array.of(context.rng.split("collapse").uint32())) });
    const counts = new Array<number>(logits.shape[1]!).fill(0);
    countClasses(logits, counts);
    return collapseVerdict(counts);
  } finally {
    await f.dispose();
  }
}
