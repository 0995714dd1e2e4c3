/**
 * Constrained fine-tuning (FT-L; arXiv 2012.00363, as in the ROME paper, arXiv 2202.05262, appendix E): Adam on −log p(answer) for one MLP
 * projection; after every step each weight is put back to within ε of where it was.
 */
import {
  add,
  cast,
  defineMethod,
  f32,
  loadWeight,
  makeDelta,
  maximum,
  minimum,
  modelInput,
  neg,
  parentInput,
  replacedParameters,
  sub,
  widenToF32,
  withDeltas,
} from "@lfm/core";
import { z } from "zod";
import { answerLoss, type EditingInputs, type EditingOutput, editBatch, editRequestInput, promptRows } from "../inputs.js";
import { mlpOutSite } from "../keys.js";
import { compileEditStep, runEditStep } from "../optimise.js";
import { withSessions } from "../sessions.js";

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
  inputs: { model: modelInput, request: editRequestInput, parent: parentInput },
  config,
  presets: { unconstrained: { summary: "plain fine-tuning: no bound on the change", config: { epsilon: 1e6 } } },
  delta: replacedParameters,
  run: (inputs: EditingInputs, c, context): Promise<EditingOutput> =>
    withSessions(inputs.sessions, async (sessions) => {
      const { model, request } = inputs;
      const { name } = mlpOutSite(model, c.layer).weight!;
      const batch = editBatch(promptRows(request, [[]]));
      const start = widenToF32(loadWeight(model.params[name]!));
      const step = await sessions.get(`ft-l ${name}`, [context.engine, model], () =>
        compileEditStep(context.engine, model, {
          shape: start.shape,
          extra: { epsilon: { dtype: "f32", shape: [] } },
          loss: (params, w, b) =>
            answerLoss(model.forward({ ...params, [name]: w }, { tokens: b.tokens!, mask: b.mask! }, { mode: "eval" }).logits!, b.labels!),
          project: (params, w, extra) => {
            const origin = cast(params[name]!, "f32");
            return add(origin, minimum(maximum(sub(w, origin), neg(extra.epsilon!)), extra.epsilon!));
          },
        }),
      );
      const run = { start, batch, extra: { epsilon: f32([c.epsilon], []) }, updateLast: true, phase: "ft-l" };
      const { value, curves } = await runEditStep(step, { ...run, steps: c.steps, lr: c.lr, stopLoss: c.stopLoss }, context);
      const delta = makeDelta(ftL, c, { [name]: value }, { parent: inputs.parent ?? null });
      return { delta, model: withDeltas(model, [delta]), curves };
    }),
});
