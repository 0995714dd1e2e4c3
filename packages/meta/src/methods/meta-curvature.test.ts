import { compile, f32, referenceEngine } from "@lfm/core";
import { expect, it } from "vitest";
import { lineInputs, tinyContext } from "../../test/tiny-meta.js";
import { maml } from "./maml.js";
import { alongCurvature, metaCurvature } from "./meta-curvature.js";

it("a hand-worked kernel: each mode is multiplied by its matrix", async () => {
  // One output, two inputs, kernels of 1 × 2: inputs change places, then the places of a kernel, then all is doubled; α = 1.
  const spec = (shape: number[]): { dtype: "f32"; shape: number[] } => ({ dtype: "f32", shape });
  const f = await compile(
    referenceEngine(),
    { g: spec([1, 2, 1, 2]), out: spec([1, 1]), in: spec([2, 2]), places: spec([2, 2]) },
    ({ g, out, in: inner, places }) => {
      const learned = { "inner.curvature.out.w": out, "inner.curvature.in.w": inner, "inner.curvature.places.w": places };
      const zero = { w: g };
      return alongCurvature(1)(zero, { w: g }, { step: 0, start: zero, learned, axes: 0, carry: {} }).own;
    },
  );
  const swap = f32([0, 1, 1, 0], [2, 2]);
  const { w } = await f({ g: f32([1, 2, 3, 4], [1, 2, 1, 2]), out: f32([2], [1, 1]), in: swap, places: swap });
  // MC(g) = 2·[[4, 3], [2, 1]]; g − MC(g)
  expect(Array.from(w!.data, Number)).toEqual([1 - 8, 2 - 6, 3 - 4, 4 - 2]);
});

it("begins as MAML does: identities turn nothing", async () => {
  const options = { steps: 1, innerSteps: 2, innerLr: 0.1 };
  const own = await metaCurvature.run(lineInputs(), metaCurvature.config.parse(options), tinyContext());
  const plain = await maml.run(lineInputs(), maml.config.parse(options), tinyContext());
  expect(own.curves.loss![0]![1]).toBeCloseTo(plain.curves.loss![0]![1], 6);
  for (const [name, t] of Object.entries(plain.delta.tensors))
    for (const [i, v] of Array.from(t.data, Number).entries()) expect(Number(own.delta.tensors[name]!.data[i])).toBeCloseTo(v, 4);
  expect(own.delta.tensors["inner.curvature.in.fc2.weight"]!.shape).toEqual([3, 3]);
});
