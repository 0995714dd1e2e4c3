/**
 * Meta-Curvature (arXiv 1902.03356): θ' = θ − α·MC(∇L_S(θ)). The gradient of a layer is a tensor over outputs, inputs and (of convolutions)
 * places of the kernel; MC multiplies each of these modes by a learned matrix, that of a vector its elements. All begin as identities.
 */
import { f32, type HostTensor, matmul, mul, reshape, type Tensor } from "@lfm/core";
import { z } from "zod";
import { defineGradientMethod, gradientOptions, OWN } from "../gradient/gradient-method.js";
import type { Move, Place } from "../gradient/inner-loop.js";
import { alongDirection } from "../gradient/moves.js";

const modes = ["out", "in", "places"] as const;
const curvatureOf = (name: string, mode: string): string => `${OWN}curvature.${mode}.${name}`;

/** Sizes of the modes: [n] of a vector, [out, in] of a matrix, [out, in, places] of a kernel. */
function modesOf(shape: readonly number[]): readonly number[] {
  const [out, inner, ...kernel] = shape;
  return kernel.length === 0 ? shape : [out!, inner!, kernel.reduce((a, b) => a * b, 1)];
}

/** −α·MC(g). @param lr α */
export function alongCurvature(lr: number): Move {
  return alongDirection((g, name, place) => mul(curved(g, name, place), lr));
}

function curved(g: Tensor, name: string, { learned, axes }: Place): Tensor {
  const lead = g.shape.slice(0, axes);
  const sizes = modesOf(g.shape.slice(axes) as number[]);
  const matrix = (mode: (typeof modes)[number]): Tensor => learned[curvatureOf(name, mode)]!;
  const [out, inner, places] = sizes;
  if (inner === undefined) return mul(g, matrix("out"));
  // M_out · G, over inputs and places together.
  const rows = matmul(matrix("out"), reshape(g, [...lead, out!, inner * (places ?? 1)]));
  if (places === undefined) return matmul(rows, matrix("in"), { transB: true });
  const kernel = matmul(reshape(rows, [...lead, out!, inner, places]), matrix("places"), { transB: true });
  return reshape(matmul(matrix("in"), kernel), g.shape);
}

export const metaCurvature = defineGradientMethod({
  id: "meta-curvature",
  summary: "Learns an initialisation together with matrices that turn the gradients of the inner loop.",
  paper: { title: "Meta-Curvature", arxiv: "1902.03356", year: 2019, survey: "6.1 white-box meta-learning" },
  config: z.strictObject(gradientOptions),
  loop: (c, steps) => ({ steps, move: alongCurvature(c.innerLr) }),
  own: (moves, model) => Object.assign({}, ...moves.map((name) => identities(name, model.params[name]!.shape))),
});

function identities(name: string, shape: readonly number[]): Record<string, HostTensor> {
  const sizes = modesOf(shape);
  if (sizes.length === 1) return { [curvatureOf(name, "out")]: f32(new Float32Array(sizes[0]!).fill(1)) };
  return Object.fromEntries(
    sizes.map((n, i) => [
      curvatureOf(name, modes[i]!),
      f32(
        Float32Array.from({ length: n * n }, (_, at) => (at % (n + 1) === 0 ? 1 : 0)),
        [n, n],
      ),
    ]),
  );
}
