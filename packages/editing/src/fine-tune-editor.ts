import {
  add,
  cast,
  type DeltaMethod,
  div,
  f32,
  gatherElements,
  greaterEqual,
  loadWeight,
  logSoftmax,
  type MethodContext,
  makeDelta,
  maximum,
  minimum,
  mul,
  neg,
  sub,
  sum,
  type Tensor,
  widenToF32,
} from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited, type Editor, editedModel } from "./editor.js";
import { answerLoss, type EditorInputs, editBatch, promptRows, requireRequests } from "./inputs.js";
import { mlpOutSite, positionMask } from "./keys.js";
import { compileEditStep } from "./optimise.js";
import { ownPositions } from "./subject-reader.js";

/** Options of fine-tuning one projection on facts. */
export const fineTuneFields = {
  layer: z.number().int().min(0).default(0).describe("block whose MLP output projection learns"),
  steps: z.number().int().positive().default(25).describe("Adam steps"),
  lr: z.number().positive().default(5e-4).describe("step size of Adam"),
  stopLoss: z.number().min(0).default(0.01).describe("stop when the answer's loss is below"),
};
type FineTuneOptions = z.output<z.ZodObject<typeof fineTuneFields>>;

/** f32[] from logits f32[batch, prefix + seq, vocab] and the batch. */
export type FactLoss = (logits: Tensor, batch: Readonly<Record<"labels" | "mask", Tensor>>) => Tensor;

/** Every token of the answer behind those before it. */
export const behindAnswer: FactLoss = (logits, { labels }) => answerLoss(logits, labels);

/** Every token of the answer right behind the prompt, as in the programs of ROME, MEMIT and EasyEdit's first FT-L; for one token the same. */
export const behindPrompt: FactLoss = (logits, { labels, mask }) => {
  const isAnswer = greaterEqual(labels, 0);
  const counts = cast(isAnswer, "f32");
  const last = positionMask(cast(sub(sub(sum(mask, 1), sum(counts, 1)), 1), "i32"), labels);
  const next = logSoftmax(sum(mul(ownPositions(logits, last), last), 1));
  const each = gatherElements(next, mul(labels, cast(isAnswer, "i32")), 1);
  return neg(div(sum(mul(each, counts)), sum(counts)));
};

/**
 * The editor of FT, FT-L and FT-M: Adam on the facts' loss for one MLP projection; several facts are one batch.
 * @param epsilon largest change of any weight, where it is bounded
 */
export function fineTuneEditor<C extends FineTuneOptions>(
  method: DeltaMethod<C>,
  loss: FactLoss,
  { model, parent }: EditorInputs,
  c: C & Readonly<Record<string, unknown>>,
  context: MethodContext,
  epsilon?: number,
): Editor {
  const { name } = mlpOutSite(model, c.layer).weight!;
  const { shape } = model.info.params[name]!;
  const steps = new CleanAndEdited((at) =>
    compileEditStep(context.engine, at, {
      shape,
      limit: [],
      extra: {},
      loss: (on, params, change, { tokens, mask, labels }) => {
        const moved = { ...params, [name]: add(cast(params[name]!, "f32"), change) };
        return loss(on.forward(moved, { tokens: tokens!, mask: mask! }, { mode: "eval" }).logits!, { labels: labels!, mask: mask! });
      },
      project: (change, limit) => (epsilon === undefined ? change : minimum(maximum(change, neg(limit)), limit)),
    }),
  );
  return {
    edit: async (requests, previous = []) => {
      requireRequests(requests);
      const below = editedModel(model, previous);
      const batch = editBatch(requests.flatMap((request) => promptRows(request, [[]])));
      const step = await steps.on(below, previous.length > 0 ? "edited" : "clean");
      const { steps: count, lr, stopLoss } = c;
      const run = { batch, extra: {}, limit: f32([epsilon ?? 0], []), steps: count, lr, stopLoss, updateLast: true, phase: method.id };
      const { change, losses } = await step.run(run, context);
      const before = widenToF32(loadWeight(below.params[name]!));
      const after = (before.data as Float32Array).map((w, i) => w + Number(change.data[i]));
      const delta = makeDelta(method, c, { [name]: f32(after, shape) }, { parent: parent ?? null });
      return { delta, model: editedModel(model, [...previous, delta]), curves: { loss: losses } };
    },
    dispose: () => steps.dispose(),
  };
}
