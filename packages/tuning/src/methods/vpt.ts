/**
 * Visual prompt tuning (arXiv 2203.12119): learned vectors stand beside an image's patches, before the first block (shallow) or before every block,
 * where they take the place of what the block before made of the last ones (deep).
 */
import {
  broadcastTo,
  concat,
  type Dim,
  dimAdd,
  dimSub,
  dropoutAt,
  expandDims,
  f32,
  full,
  type Hook,
  type HookContext,
  iota,
  LfmError,
  reshape,
  slice,
  type Tensor,
} from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { trainingFields } from "../training-options.js";

/** f32[v, hidden], or f32[blocks, v, hidden] of deep ones. */
const PROMPTS = "prompts";

const config = z.strictObject({
  numVirtualTokens: z.number().int().positive().default(10).describe("length v of the prompt, vectors"),
  deep: z.boolean().default(true).describe("every block gets vectors of its own"),
  promptDropout: z.number().min(0).lt(1).default(0).describe("share of the prompt's values that is dropped in training"),
  ...trainingFields(1e-3),
});
type Config = z.output<typeof config>;

/** In front or behind the class token is the same to a block: it has no positions of its own. */
function shallow(prompts: Tensor, rate: number): readonly Hook[] {
  const v = prompts.dim(0);
  return [
    {
      matches: (site) => site.kind === "conv",
      sequence: ({ embeddings, mask, prefix }, _site, context) => {
        const [batch, all] = [embeddings.dim(0), dimAdd(embeddings.dim(1), v)];
        return {
          embeddings: inFront(prompts, embeddings, rate, context),
          mask: concat([full([batch, v], 1), mask], 1),
          positions: broadcastTo(expandDims(iota(all), 0), [batch, all]),
          prefix: dimAdd(prefix, v),
        };
      },
    },
  ];
}

/** What a block makes of its own vectors is read by nobody: it is cut off again. */
function deep(prompts: Tensor, rate: number): readonly Hook[] {
  const [v, d] = [prompts.dim(1), prompts.dim(2)];
  return [
    {
      matches: (site) => site.kind === "block",
      input: (x, { layer = 0 }, context) => inFront(reshape(slice(prompts, 0, layer, 1), [v, d]), x, rate, context),
      output: (y) => slice(y, 1, v, dimSub(y.dim(1), v)),
    },
  ];
}

function inFront(prompts: Tensor, x: Tensor, rate: number, context: HookContext): Tensor {
  const rows: readonly Dim[] = [x.dim(0), prompts.dim(0), prompts.dim(1)];
  return concat([dropoutAt(broadcastTo(expandDims(prompts, 0), rows), rate, context), x], 1);
}

export const vpt = defineTuning({
  id: "vpt",
  summary: "Learns vectors that stand beside the patches of an image, before the first block or before every one.",
  paper: { title: "Visual Prompt Tuning", arxiv: "2203.12119", year: 2022, survey: "3.2 input engineering" },
  config,
  presets: {
    shallow: { summary: "before the first block alone", config: { deep: false } },
    deep: { summary: "before every block", config: { deep: true } },
  },
  delta: { hooks: (c: Config, t) => (c.deep ? deep : shallow)(t[PROMPTS]!, c.promptDropout) },
  training: (c) => c,
  start: ({ model }, c, context) => {
    const { input, architecture, hiddenSize: d, sites } = model.info;
    const patches = sites.find((s) => s.kind === "conv")?.conv;
    const blocks = sites.filter((s) => s.kind === "block").length;
    if (input !== "pixels" || !patches || !sites.some((s) => s.kind === "kv"))
      throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] vpt: ${architecture} reads no patches of images`, {
        hint: "prompt puts vectors in front of tokens",
      });
    // Xavier over a patch and the vector that it becomes, as the authors have it.
    const bound = Math.sqrt(6 / (patches.in * patches.kernel[0] * patches.kernel[1] + d));
    const shape = c.deep ? [blocks, c.numVirtualTokens, d] : [c.numVirtualTokens, d];
    const size = shape.reduce((a, b) => a * b, 1);
    return { learned: { [PROMPTS]: f32(context.rng.split("init").uniformArray(size, -bound, bound), shape) } };
  },
});
