/**
 * Prefix tuning (arXiv 2101.00190): learned keys and values stand in front of those of every layer. They may be learned through an MLP, which is
 * dropped in the end. Without it, and with a head of its own, this is P-tuning v2 (arXiv 2110.07602).
 */
import {
  broadcastTo,
  concat,
  type Dim,
  dimAdd,
  expandDims,
  f32,
  full,
  type Hook,
  LfmError,
  linear,
  type Model,
  type ParamTree,
  reshape,
  type Site,
  slice,
  type Tensor,
  tanh,
  transpose,
  zeros,
} from "@lfm/core";
import { z } from "zod";
import { defineTuning } from "../define-tuning.js";
import { freshEmbedding, freshLinear } from "../fresh-layers.js";
import { expectShape, type PeftForm } from "../peft-form.js";
import { PROMPT_TENSOR } from "../prompt-form.js";
import { trainingFields } from "../training-options.js";

const config = z.strictObject({
  numVirtualTokens: z.number().int().positive().default(20).describe("length v of the prefix, keys and values of each layer"),
  projection: z.boolean().default(false).describe("learn it through an MLP (linear, tanh, linear), which is dropped in the end"),
  encoderHiddenSize: z.number().int().positive().optional().describe("inner width of the MLP; default: the width of a layer's keys"),
  init: z
    .enum(["random", "zero"])
    .default("random")
    .describe("what is learned begins as PEFT's does: keys and values N(0, 1), of an MLP U(±1/√in); or with keys and values of 0"),
  ...trainingFields(1e-1),
});
type Config = z.output<typeof config>;

/** v prefix rows of every layer: row t holds key and value of layer 0, of layer 1 …, each head by head. all — f32[v, 2·layers·width] */
function prefixHooks(all: Tensor): readonly Hook[] {
  const v = all.dim(0);
  return [
    { matches: (site) => site.kind === "embedding", sequence: (s) => ({ ...s, skipped: dimAdd(s.skipped ?? 0, v) }) },
    {
      matches: (site) => site.kind === "kv",
      kv: ({ key, value, mask }, site) => {
        const batch = key.dim(0);
        return {
          key: concat([partOf(all, site, 0, batch), key], 2),
          value: concat([partOf(all, site, 1, batch), value], 2),
          mask: mask && concat([full([batch, v], 1), mask], 1),
        };
      },
    },
  ];
}

/** Keys (0) or values (1) of one layer, f32[batch, kvHeads, v, headDim]. */
function partOf(all: Tensor, { layer = 0, attention }: Site, part: 0 | 1, batch: Dim): Tensor {
  const { kvHeads, headDim } = attention!;
  const own = slice(all, 1, (2 * layer + part) * kvHeads * headDim, kvHeads * headDim);
  const heads = transpose(reshape(own, [all.dim(0), kvHeads, headDim]), [1, 0, 2]);
  return broadcastTo(expandDims(heads, 0), [batch, kvHeads, all.dim(0), headDim]);
}

/** What each layer keeps of a position. @throws {LfmError} CAPABILITY_MISSING for a model whose layers are not alike, or have no attention */
function keyShape({ info }: Model): {
  readonly kvHeads: number;
  readonly headDim: number;
  readonly width: number;
  readonly layers: number;
} {
  const sites = info.sites.filter((s) => s.kind === "kv");
  const [first] = sites;
  const isOne = (s: Site, i: number): boolean => s.layer === i && sizesOf(s) === sizesOf(first!);
  if (!first?.attention || info.task === "seq2seq-lm" || !sites.every(isOne))
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] prefix: ${info.architecture} has no layers of keys and values that are alike`, {
      hint: "prompt puts vectors in front of the input of any model that reads tokens",
    });
  const { kvHeads, headDim } = first.attention;
  return { kvHeads, headDim, width: kvHeads * headDim, layers: sites.length };
}

const sizesOf = ({ attention }: Site): string => `${attention?.kvHeads}·${attention?.headDim}`;

const peft: PeftForm<Config> = {
  type: "PREFIX_TUNING",
  write: (c, own, model) => {
    const { width, kvHeads, layers } = keyShape(model);
    return {
      options: {
        num_virtual_tokens: own[PROMPT_TENSOR]?.shape[0] ?? c.numVirtualTokens,
        token_dim: width,
        num_layers: layers,
        num_attention_heads: kvHeads,
        num_transformer_submodules: 1,
        encoder_hidden_size: c.encoderHiddenSize ?? width,
      },
      tensors: own,
    };
  },
  read: ({ tensors }, model) => {
    const { [PROMPT_TENSOR]: vectors, ...parameters } = tensors;
    if (!vectors) throw new LfmError("FILE_FORMAT", `[@lfm/tuning] the adapter holds no ${PROMPT_TENSOR}`);
    const { width, layers } = keyShape(model);
    const v = vectors.shape[0]!;
    expectShape(PROMPT_TENSOR, vectors, [v, 2 * layers * width]);
    return { config: { numVirtualTokens: v }, tensors: { [PROMPT_TENSOR]: vectors }, parameters };
  },
};

export const prefix = defineTuning({
  id: "prefix",
  summary: "Learns keys and values that stand in front of those of every layer.",
  paper: {
    title: "Prefix-Tuning: Optimizing Continuous Prompts for Generation",
    arxiv: "2101.00190",
    year: 2021,
    survey: "3.2 input engineering",
  },
  config,
  presets: {
    projected: {
      summary: "through an MLP of inner width 512, as the paper learns it",
      config: { projection: true, encoderHiddenSize: 512 },
    },
    "p-tuning-v2": {
      summary: "deep prompts without an MLP, for classifiers with their head (arXiv 2110.07602)",
      config: { projection: false },
    },
  },
  delta: { hooks: (_c, t) => prefixHooks(t[PROMPT_TENSOR]!) },
  peft,
  training: (c) => c,
  start: ({ model }, c, context) => {
    const { width, layers } = keyShape(model);
    const { maxLength } = model.info;
    const v = c.numVirtualTokens;
    if (maxLength !== undefined && v >= maxLength)
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] prefix: ${v} virtual tokens leave no place for text in ${maxLength} positions`, {
        hint: `--num-virtual-tokens ${Math.max(1, Math.floor(maxLength / 4))}`,
      });
    if (c.encoderHiddenSize !== undefined && !c.projection)
      throw new LfmError("CONFIG_INVALID", "[@lfm/tuning] prefix: encoderHiddenSize is that of an MLP", { hint: "--projection" });
    const rng = context.rng.split("init");
    const all = 2 * layers * width;
    if (!c.projection) {
      const drawn = f32(rng.normalArray(v * all), [v, all]);
      return { learned: { [PROMPT_TENSOR]: c.init === "zero" ? zeros([v, all]) : drawn } };
    }
    const inner = c.encoderHiddenSize ?? width;
    const second = freshLinear("transform.2", rng, { in: inner, out: all });
    const zero = Object.fromEntries(Object.entries(second).map(([name, t]) => [name, zeros(t.shape)]));
    return {
      learned: {
        ...freshEmbedding("embedding", rng, v, width),
        ...freshLinear("transform.0", rng, { in: width, out: inner }),
        ...(c.init === "zero" ? zero : second),
      },
    };
  },
  express: (c, t) => ({ [PROMPT_TENSOR]: c.projection ? projected(t) : t[PROMPT_TENSOR]! }),
});

/** What the MLP makes of its rows. */
function projected(t: ParamTree): Tensor {
  const layer = (i: number, x: Tensor): Tensor => linear(x, t[`transform.${i}.weight`]!, t[`transform.${i}.bias`]);
  return layer(2, tanh(layer(0, t["embedding.weight"]!)));
}
