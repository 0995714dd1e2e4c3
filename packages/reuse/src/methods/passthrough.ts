/** Takes a tensor as it is, times `scale`; with slices of several models it stacks their layers ("frankenmerge"). */
import { z } from "zod";
import { defineMerge } from "../merging/define-merge.js";
import { kernels } from "../merging/kernels.js";

export const passthrough = defineMerge({
  id: "passthrough",
  summary: "Copies tensors; with slices it stacks layers of several models.",
  paper: { title: "mergekit: Tools for merging pretrained large language models", arxiv: "2403.13257", year: 2024 },
  base: "none",
  models: [1, 1],
  shared: {},
  perModel: { scale: z.number().default(1).describe("factor of the tensor") },
  merge: (tensor) => {
    const { scale } = tensor.models[0]!.parameters;
    tensor.write(({ models, length }, out) => kernels().fn.scale(out.byteOffset, models[0]!.byteOffset, scale, length));
  },
});
