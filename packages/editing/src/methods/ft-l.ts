/** Constrained fine-tuning (FT-L; arXiv 2012.00363, as in the ROME paper): Adam on −log p(answer) for one MLP projection, ‖ΔW‖∞ ≤ ε. */
import { adam, add, clip, type Delta, defineMethod, type HostTensor, loadWeight, sub, widenToF32, withDeltas } from "@lfm/core";
import { fit, fitContext } from "@lfm/train";
import { z } from "zod";
import { answerLoss, type EditingInputs, type EditingOutput, editBatch, editBatchSpec } from "../inputs.js";
import { mlpOutSite } from "../keys.js";

const config = z.strictObject({
  layer: z.number().int().min(0).default(0).describe("block whose MLP output projection learns"),
  steps: z.number().int().positive().default(25).describe("Adam steps"),
  lr: z.number().positive().default(5e-4).describe("step size of Adam"),
  epsilon: z.number().positive().default(5e-4).describe("largest change ε of any weight; use a large value for plain fine-tuning"),
  stopLoss: z.number().min(0).default(0.01).describe("stop when the answer's loss is below"),
});

export const ftL = defineMethod({
  id: "ft-l",
  paradigm: "editing",
  summary: "Fine-tunes one projection on the new fact, no weight moving further than ε.",
  paper: { title: "Modifying Memories in Transformer Models", arxiv: "2012.00363", year: 2020, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad"],
  config,
  hooksFor: () => () => [],
  run: async (inputs: EditingInputs, c, context): Promise<EditingOutput> => {
    const { model, request } = inputs;
    const { name } = mlpOutSite(model, c.layer).weight!;
    const base: HostTensor = widenToF32(loadWeight(model.params[name]!));
    const { [name]: _replaced, ...others } = model.params;
    const result = await fit({
      ...fitContext(context, "ft-l"),
      trainable: { weight: base },
      frozen: { ...others, origin: base },
      batch: editBatchSpec,
      batches: () => editBatch(request, [[]]) as never,
      loss: (params, b) => {
        // The projection onto the box happens where the weight is used; its gradient vanishes at the border, as after a clamp.
        const w = add(params.origin!, clip(sub(params.weight!, params.origin!), -c.epsilon, c.epsilon));
        return {
          loss: answerLoss(model.forward({ ...params, [name]: w }, { tokens: b.tokens, mask: b.mask }, { mode: "eval" }).logits!, b.labels),
        };
      },
      optimizer: adam(),
      lr: c.lr,
      steps: c.steps,
      threads: 1,
      onStep: (_s, v) => (v.loss! < c.stopLoss ? "stop" : undefined),
    });
    const [w0, w1] = [base.data as Float32Array, result.params.weight!.data as Float32Array];
    const updated: HostTensor = { ...base, data: w0.map((v, i) => v + Math.min(c.epsilon, Math.max(-c.epsilon, w1[i]! - v))) };
    const delta: Delta = {
      kind: "weights",
      method: "editing/ft-l",
      config: c,
      parent: inputs.parent ?? null,
      tensors: { [name]: updated },
      hooks: () => [],
    };
    return { delta, model: withDeltas(model, [delta]), curves: result.curves };
  },
});
