/**
 * Several models answer as one: mean of probabilities or logits, weighted mean (weights given, or learned on held-out examples), most confident
 * member, majority vote, or stacking (a linear model over what the members say, learned on held-out examples). The result is a model like any
 * other: it can be evaluated, exported and tuned; the linear model of stacking is part of its parameters.
 */

import {
  add,
  argMax,
  cast,
  concat,
  defineMethod,
  dimEqual,
  dimSub,
  expandDims,
  f32,
  greaterEqual,
  type HostTensor,
  LfmError,
  linear,
  log,
  logSoftmax,
  type Model,
  max,
  maximum,
  membersInput,
  mul,
  type Outputs,
  oneHot,
  type ParamInfo,
  type ParamTree,
  slice,
  softmax,
  type Tensor,
  throwIfAborted,
  where,
} from "@lfm/core";
import { z } from "zod";
import { shares } from "../alignment/inputs.js";
import { type HeldOutBatch, type MemberOutputs, memberOutputs } from "../ensembling/held-out.js";
import { mixtureWeights } from "../ensembling/mixture-weights.js";
import { fitStacker } from "../ensembling/stacking.js";
import { heldOutInput } from "../input-kinds.js";

export interface EnsembleInputs {
  readonly members: readonly Model[];
  /** Labelled batches that no member was trained on: what `weighted` without weights and `stacking` learn from. */
  readonly heldOut?: readonly HeldOutBatch[];
}
export interface EnsembleOutput {
  readonly model: Model;
  /** Weight of each member, Σ = 1; of no meaning under max-confidence and stacking. */
  readonly weights: readonly number[];
}

const config = z.strictObject({
  mode: z
    .enum(["probabilities", "logits", "weighted", "max-confidence", "majority", "stacking"])
    .default("probabilities")
    .describe(
      "mean of probabilities or of logits; weighted: of probabilities, weights learned if not given; the surest member; vote; meta-model",
    ),
  weights: z.array(z.number()).optional().describe("weight w of each member (votes too); default 1 each"),
  l2: z.number().nonnegative().default(0.01).describe("stacking: strength of the pull towards the members' mean (λ)"),
});

const STACKER = { weight: "stacker.weight", bias: "stacker.bias" } as const;
const keyOf = (i: number, name: string): string => `member.${i}.${name}`;

export const ensemble = defineMethod({
  id: "ensemble",
  paradigm: "reuse",
  summary: "Lets several models answer together, as one model.",
  paper: {
    title: "Simple and Scalable Predictive Uncertainty Estimation using Deep Ensembles",
    arxiv: "1612.01474",
    year: 2016,
    survey: "5.2 model ensemble",
  },
  needs: ["logits"],
  inputs: {
    members: membersInput,
    heldOut: {
      kind: heldOutInput,
      about: "that no member learned from",
      when: (c) => c.mode === "stacking" || (c.mode === "weighted" && c.weights === undefined),
      hint: "stacking, or weighted without --weights",
    },
  },
  config,
  presets: {
    mean: { summary: "mean of the members' probabilities", config: { mode: "probabilities" } },
    vote: { summary: "one member, one vote", config: { mode: "majority" } },
  },
  run: async (inputs: EnsembleInputs, c, context): Promise<EnsembleOutput> => {
    throwIfAborted(context.signal, "[@lfm/reuse] ensemble");
    const [first] = inputs.members;
    if (!first) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] an ensemble needs at least one member");
    for (const { info } of inputs.members) {
      const [mine, theirs] = [first.info.vocabSize ?? first.info.classes, info.vocabSize ?? info.classes];
      if (info.input !== first.info.input || mine !== theirs)
        throw new LfmError(
          "SHAPE_MISMATCH",
          `[@lfm/reuse] an ensemble's members read and answer the same: ${first.info.architecture} reads ${first.info.input} and has ${mine} answers, ${info.architecture} ${info.input} and ${theirs}`,
        );
    }
    const said = (): Promise<MemberOutputs> => memberOutputs(context.engine, inputs.members, inputs.heldOut ?? [], context.signal);
    const learns = c.mode === "weighted" && c.weights === undefined;
    const w = learns ? mixtureWeights(await said()) : shares(c.weights, inputs.members.length);
    const params: Record<string, Model["params"][string]> = {};
    const stackerInfos: Record<string, ParamInfo> = {};
    if (c.mode === "stacking") {
      const outputs = await said();
      const { weight, bias } = fitStacker(outputs, c.l2);
      params[STACKER.weight] = f32(weight, [outputs.classes, outputs.classes * inputs.members.length]);
      params[STACKER.bias] = f32(bias);
      for (const name of Object.values(STACKER)) stackerInfos[name] = { shape: params[name]!.shape, dtype: "f32", trainable: true };
    }
    inputs.members.forEach((m, i) => {
      for (const [name, t] of Object.entries(m.params)) params[keyOf(i, name)] = t;
    });
    const model: Model = {
      info: {
        ...first.info,
        architecture: `ensemble(${inputs.members.map((m) => m.info.architecture).join("+")})`,
        params: {
          ...stackerInfos,
          ...Object.fromEntries(inputs.members.flatMap((m, i) => Object.entries(m.info.params).map(([n, p]) => [keyOf(i, n), p]))),
        },
      },
      params,
      forward: (tree, input, asked): Outputs => {
        const logits = inputs.members.map((m, i) => ownLogits(m.forward(memberTree(tree, i, m.params), input, asked)));
        if (c.mode === "stacking") {
          const all = concat(
            logits.map((l) => maximum(logSoftmax(l), -20)),
            1,
          );
          return { logits: linear(all, tree[STACKER.weight]!, tree[STACKER.bias]!) };
        }
        return { logits: combine(logits, w, c.mode) };
      },
    };
    return { model, weights: w };
  },
});

function memberTree(tree: ParamTree, i: number, params: Readonly<Record<string, HostTensor | unknown>>): ParamTree {
  return Object.fromEntries(Object.keys(params).map((name) => [name, tree[keyOf(i, name)]!]));
}

/** Logits of the tokens alone: what a member's own prompt puts in front left out. @throws {LfmError} CAPABILITY_MISSING */
function ownLogits({ logits, prefix }: Outputs): Tensor {
  if (!logits) throw new LfmError("CAPABILITY_MISSING", "[@lfm/reuse] ensemble: a member gives no logits");
  return prefix === undefined || dimEqual(prefix, 0) ? logits : slice(logits, 1, prefix, dimSub(logits.dim(1), prefix));
}

/** Combines logits f32[..., classes] with weights that sum to 1; results are logits again (log-probabilities, or votes). */
function combine(logits: readonly Tensor[], w: readonly number[], mode: Exclude<z.output<typeof config>["mode"], "stacking">): Tensor {
  const sum = (xs: readonly Tensor[]): Tensor => xs.map((x, i) => mul(x, w[i]!)).reduce((a, b) => add(a, b));
  if (mode === "logits") return sum(logits);
  if (mode === "probabilities" || mode === "weighted") return log(maximum(sum(logits.map((l) => softmax(l))), 1e-12));
  if (mode === "majority") return sum(logits.map((l) => oneHot(argMax(l), l.dim(-1))));
  // The member whose largest probability is largest; the first among equals.
  let [best, confidence] = [logits[0]!, max(softmax(logits[0]!), -1)];
  for (const l of logits.slice(1)) {
    const c = max(softmax(l), -1);
    const keep = greaterEqual(confidence, c);
    best = where(expandDims(keep, -1), best, l);
    confidence = where(keep, confidence, c);
  }
  return cast(best, "f32");
}
