/** Mean of probabilities or logits, most confident model, or majority vote: several models answer as one. */
import {
  add,
  argMax,
  cast,
  defineMethod,
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
  softmax,
  type Tensor,
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
  run: async (inputs: EnsembleInputs, c): Promise<EnsembleOutput> => {
    const [first] = inputs.members;
    if (!first) throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] an ensemble needs at least one member");
    const w = modelWeights(c.weights, inputs.members.length);
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
      forward: (tree, input, context): Outputs => {
        const logits = inputs.members.map((m, i) => m.forward(memberTree(tree, i, m.params), input, context).logits!);
        return { logits: combine(logits, w, c.mode) };
      },
    };
    return { model };
  },
});

function memberTree(tree: ParamTree, i: number, params: Readonly<Record<string, HostTensor | unknown>>): ParamTree {
  return Object.fromEntries(Object.keys(params).map((name) => [name, tree[keyOf(i, name)]!]));
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
