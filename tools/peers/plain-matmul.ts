import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compile, f32, type HostTensor, matmul, ortEngine } from "@lfm/core";
import { type ProductShape, readProfile } from "./profile.js";

const [WARM_UP, REPETITIONS] = [2, 7];

/** Milliseconds of one product alone, at this shape and on as many threads: the mean of a few after two that warm up. */
export async function plainMatmulMs(shape: ProductShape, threads: number): Promise<number> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-matmul-"));
  try {
    const engine = await ortEngine({ threads, profile: join(folder, "p") });
    const { batch, m, k, n, packed, transA } = shape;
    const lead = batch > 1 ? [batch] : [];
    const a = filled([...lead, ...(transA ? [k, m] : [m, k])]);
    const b = filled([...lead, k, n]);
    const spec = (t: HostTensor) => ({ dtype: t.dtype, shape: t.shape });
    const product = packed
      ? await compile(engine, { a: spec(a) }, (x, w) => ({ y: matmul(x.a, w.b, { transA }) }), { frozen: { b } })
      : await compile(engine, { a: spec(a), b: spec(b) }, (x) => ({ y: matmul(x.a, x.b, { transA }) }));
    for (let i = 0; i < WARM_UP + REPETITIONS; i++) await product({ a, b });
    await product.dispose();
    await engine.dispose();
    const [file] = readdirSync(folder);
    const profile = await readProfile(join(folder, file!), WARM_UP);
    return profile.products.reduce((sum, p) => sum + p.ms, 0);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function filled(shape: readonly number[]): HostTensor {
  return f32(new Float32Array(shape.reduce((x, y) => x * y, 1)).fill(0.5), shape);
}
