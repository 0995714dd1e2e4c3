/**
 * Constrained fine-tuning (FT-L; arXiv 2012.00363, as in the ROME paper, arXiv 2202.05262, appendix E): Adam on −log p(answer) for one MLP
 * projection; after every step each weight is put back to within ε of where it was. Several facts are one batch.
 */
import {
  add,
  cast,
  f32,
  loadWeight,
  makeDelta,
  maximum,
  minimum,
  modelInput,
  neg,
  parentInput,
  previousInput,
  replacedParameters,
  widenToF32,
} from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited, defineEditingMethod, type Editor, editedModel } from "../editor.js";
import { answerLoss, editBatch, editRequestsInput, promptRows, requireRequests } from "../inputs.js";
import { mlpOutSite } from "../keys.js";
import { compileEditStep } from "../optimise.js";

const config = z.strictObject({
  layer: z.number().int().min(0).default(0).describe("block whose MLP output projection learns"),
  steps: z.number().int().positive().default(25).describe("Adam steps"),
  lr: z.number().positive().default(5e-4).describe("step size of Adam"),
  epsilon: z.number().positive().default(5e-4).describe("largest change ε of any weight; use a large value for plain fine-tuning"),
  stopLoss: z.number().min(0).default(0.01).describe("stop when the answer's loss is below"),
});

export const ftL = defineEditingMethod({
  id: "ft-l",
  summary: "Fine-tunes one projection on the new facts, no weight moving further than ε.",
  paper: { title: "Modifying Memories in Transformer Models", arxiv: "2012.00363", year: 2020, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad"],
  inputs: {
    model: modelInput,
    requests: editRequestsInput,
    previous: { kind: previousInput, optional: true, about: "earlier edits" },
    parent: parentInput,
  },
  config,
  presets: { unconstrained: { summary: "plain fine-tuning: no bound on the change", config: { epsilon: 1e6 } } },
  delta: replacedParameters,
  prepare: ({ model, parent }, c, context): Editor => {
    const { name } = mlpOutSite(model, c.layer).weight!;
    const { shape } = model.info.params[name]!;
    const steps = new CleanAndEdited((at) =>
      compileEditStep(context.engine, at, {
        shape,
        limit: [],
        extra: {},
        loss: (on, params, change, { tokens, mask, labels }) => {
          const moved = { ...params, [name]: add(cast(params[name]!, "f32"), change) };
          return answerLoss(on.forward(moved, { tokens: tokens!, mask: mask! }, { mode: "eval" }).logits!, labels!);
        },
        project: (change, epsilon) => minimum(maximum(change, neg(epsilon)), epsilon),
      }),
    );
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        const below = editedModel(model, previous);
        const batch = editBatch(requests.flatMap((request) => promptRows(request, [[]])));
        const step = await steps.on(below, previous.length > 0 ? "edited" : "clean");
        const { steps: count, lr, stopLoss } = c;
        const run = { batch, extra: {}, limit: f32([c.epsilon], []), steps: count, lr, stopLoss, updateLast: true, phase: "ft-l" };
        const { change, losses } = await step.run(run, context);
        const before = widenToF32(loadWeight(below.params[name]!));
        const after = (before.data as Float32Array).map((w, i) => w + Number(change.data[i]));
        const delta = makeDelta(ftL, c, { [name]: f32(after, shape) }, { parent: parent ?? null });
        return { delta, model: editedModel(model, [...previous, delta]), curves: { loss: losses } };
      },
      dispose: () => steps.dispose(),
    };
  },
});
