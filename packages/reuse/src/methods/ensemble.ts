/** Mean of probabilities or logits, most confident model, or majority vote: several models answer as one. */
import {
  add,
  argMax,
  cast,
  defineMethod,
  dimEqual,
  dimSub,
  expandDims,
  greaterEqual,
  type HostTensor,
  LfmError,
  log,
  type Model,
  max,
  maximum,
  mul,
  type Outputs,
  oneHot,
  type ParamTree,
  slice,
  softmax,
  type Tensor,
  throwIfAborted,
  where,
} from "@lfm/core";
import { z } from "zod";
import { modelWeights } from "../inputs.js";

export interface EnsembleInputs {
  readonly members: readonly Model[];
}
export interface EnsembleOutput {
  readonly model: Model;
}

const config = z.strictObject({
  mode: z.enum(["probabilities", "logits", "max-confidence", "majority"]).default("probabilities").describe("what is combined"),
  weights: z.array(z.number()).optional().describe("weight of each member; default 1 each"),
});

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
  config,
  run: async (inputs: EnsembleInputs, c, context): Promise<EnsembleOutput> => {
    throwIfAborted(context.signal, "[@lfm/reuse] ensemble");
    const [first] = inputs.members;
    if (!first) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] an ensemble needs at least one member");
    const w = modelWeights(c.weights, inputs.members.length);
    for (const { info } of inputs.members) {
      const [mine, theirs] = [first.info.vocabSize ?? first.info.classes, info.vocabSize ?? info.classes];
      if (info.input !== first.info.input || mine !== theirs)
        throw new LfmError(
          "SHAPE_MISMATCH",
          `[@lfm/reuse] an ensemble's members read and answer the same: ${first.info.architecture} reads ${first.info.input} and has ${mine} answers, ${info.architecture} ${info.input} and ${theirs}`,
        );
    }
    const params: Record<string, Model["params"][string]> = {};
    inputs.members.forEach((m, i) => {
      for (const [name, t] of Object.entries(m.params)) params[keyOf(i, name)] = t;
    });
    const model: Model = {
      info: {
        ...first.info,
        architecture: `ensemble(${inputs.members.map((m) => m.info.architecture).join("+")})`,
        params: Object.fromEntries(inputs.members.flatMap((m, i) => Object.entries(m.info.params).map(([n, p]) => [keyOf(i, n), p]))),
      },
      params,
      forward: (tree, input, asked): Outputs => {
        const logits = inputs.members.map((m, i) => ownLogits(m.forward(memberTree(tree, i, m.params), input, asked)));
        return { logits: combine(logits, w, c.mode) };
      },
    };
    return { model };
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

/** Combines logits f32[..., classes]; results are logits again (log-probabilities, or votes). */
function combine(logits: readonly Tensor[], w: readonly number[], mode: z.output<typeof config>["mode"]): Tensor {
  const total = w.reduce((a, b) => a + b, 0);
  const sum = (xs: readonly Tensor[]): Tensor => xs.map((x, i) => mul(x, w[i]! / total)).reduce((a, b) => add(a, b));
  if (mode === "logits") return sum(logits);
  if (mode === "probabilities") return log(maximum(sum(logits.map((l) => softmax(l))), 1e-12));
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
