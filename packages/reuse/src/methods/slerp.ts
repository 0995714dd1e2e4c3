/**
 * Spherical interpolation of two models: sin((1−t)Ω)/sin Ω · θ₀ + sin(tΩ)/sin Ω · θ₁, Ω the angle between the flattened tensors
 * (K. Shoemake, "Animating rotation with quaternion curves", 1985). Nearly parallel tensors (|cos Ω| > .9995) are interpolated linearly.
 * t = 0 gives the base, t = 1 the other model.
 */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { kernels } from "../merging/kernels.js";

const PARALLEL = 0.9995;
const NOTHING = 1e-8;

export const slerp = defineMerge({
  id: "slerp",
  summary: "Interpolates two models along the arc between them.",
  paper: {
    title: "Animating rotation with quaternion curves",
    url: "https://doi.org/10.1145/325334.325242",
    year: 1985,
    survey: "5.1 weight interpolation",
  },
  base: "required",
  models: [1, 1],
  shared: { t: z.number().default(0.5).describe("place between the base (0) and the other model (1); mergekit wants it given") },
  perModel: {},
  merge: (tensor) => {
    const { t } = tensor.parameters;
    const { fn } = kernels();
    let [aa, bb, ab] = [0, 0, 0];
    tensor.read(({ models, base, length }) => {
      const [a, b] = [base.byteOffset, models[0]!.byteOffset];
      aa += fn.dot(a, a, length);
      bb += fn.dot(b, b, length);
      ab += fn.dot(a, b, length);
    });
    const norm = (squares: number): number => (Math.sqrt(squares) > NOTHING ? Math.sqrt(squares) : 1);
    const cos = Math.min(1, Math.max(-1, ab / (norm(aa) * norm(bb))));
    const angle = Math.acos(cos);
    const straight = Math.abs(cos) > PARALLEL;
    const [ka, kb] = straight ? [1 - t, t] : [Math.sin((1 - t) * angle) / Math.sin(angle), Math.sin(t * angle) / Math.sin(angle)];
    tensor.write(({ models, base, length }, out) => {
      fn.scale(out.byteOffset, base.byteOffset, ka, length);
      fn.addScaled(out.byteOffset, models[0]!.byteOffset, kb, length);
    });
  },
});
