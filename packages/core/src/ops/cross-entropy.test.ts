import { describe, expect, it } from "vitest";
import { grad } from "../autodiff.js";
import { compile } from "../compile.js";
import { f32, i32 } from "../dtype.js";
import { ortEngine } from "../engines/ort.js";
import { constant, type Tensor } from "../tensor.js";
import { checkGradients } from "../testing/gradient-check.js";
import { trace } from "../trace.js";
import { crossEntropyPerItem, IGNORE_INDEX } from "./cross-entropy.js";
import { crossEntropy } from "./loss.js";
import { linear } from "./matmul.js";

const numbers = (shape: readonly number[], seed: number) =>
  f32(
    Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => Math.sin(seed + 1.7 * i)),
    shape,
  );
const labels = i32([0, 5, IGNORE_INDEX, 2, 5, 1], [2, 3]);

describe("cross entropy", () => {
  it("of logits that are far apart keeps every digit, and 0 where a label does not count", async () => {
    const engine = await ortEngine({ threads: 1 });
    const run = await compile(engine, { logits: { dtype: "f32", shape: [3, 3] }, labels: { dtype: "i32", shape: [3] } }, (x) => ({
      losses: crossEntropyPerItem(x.logits, x.labels),
    }));
    const { losses } = await run({ logits: f32([0, 500, 0, 0, 500, 0, 1, 2, 3], [3, 3]), labels: i32([0, 1, IGNORE_INDEX]) });
    expect([...losses.data]).toEqual([500, 0, 0]);
    await engine.dispose();
  });

  it("of a head's logits has right derivatives, with weights of positions as well", async () => {
    const inputs = [numbers([2, 3, 2], 1), numbers([6, 2], 2), numbers([2, 3], 3)];
    const { first, second } = await checkGradients({
      inputs,
      call: (x, w, weights) => crossEntropy(linear(x, w, undefined), constantLabels(), weights),
    });
    expect(first).toBeLessThan(1e-6);
    expect(second).toBeLessThan(1e-5);
  });

  it("multiplies the factor of a position into the narrow side of the head's product", () => {
    const specs = {
      x: { dtype: "f32", shape: [2, 3, 2] },
      w: { dtype: "f32", shape: [6, 2] },
    } as const;
    const { graph } = trace(specs, ({ x, w }) => grad(crossEntropy(linear(x, w, undefined), constantLabels()), { x, w }));
    const wide = graph.nodes.filter((n) => n.op.name === "mul" && n.outputs[0]!.dim(-1) === 6);
    expect(wide).toEqual([]);
  });
});

function constantLabels(): Tensor {
  return constant(labels);
}
