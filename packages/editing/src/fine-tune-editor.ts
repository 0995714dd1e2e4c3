import {
  add,
  cast,
  clip,
  type DeltaMethod,
  dimScalar,
  div,
  f32,
  gatherElements,
  greaterEqual,
  iota,
  loadWeight,
  logSoftmax,
  type MethodContext,
  type Model,
  makeDelta,
  mul,
  neg,
  type ParamTree,
  sub,
  sum,
  type Tensor,
  widenToF32,
} from "@lfm/core";
import { scoredHead } from "@lfm/train";
import { z } from "zod";
import { CleanAndEdited, type Editor, editedModel } from "./editor.js";
import { answerLossOf, type EditorInputs, editBatch, editBatchSpec, promptRows, requireRequests } from "./inputs.js";
import { mlpOutSite } from "./keys.js";
import { compileEditStep } from "./optimise.js";

/** Options of fine-tuning one projection on facts. */
export const fineTuneFields = {
  layer: z.number().int().min(0).default(0).describe("block whose MLP output projection learns"),
  steps: z.number().int().positive().default(25).describe("Adam steps"),
  lr: z.number().positive().default(5e-4).describe("step size of Adam"),
  stopLoss: z.number().min(0).default(0.01).describe("stop when the answer's loss is below"),
};
type FineTuneOptions = z.output<z.ZodObject<typeof fineTuneFields>>;

/** f32[] of a model, the parameters that it runs with, and a batch. */
export type FactLoss = (on: Model, params: ParamTree, batch: Readonly<Record<string, Tensor>>) => Tensor;

/** Every token of the answer behind those before it. */
export const behindAnswer: FactLoss = (on, params, batch) => answerLossOf(on, params, batch, { mode: "eval" });

/** Every token of the answer right behind the prompt, as in the programs of ROME, MEMIT and EasyEdit's first FT-L; for one token the same. */
export const behindPrompt: FactLoss = (on, params, { tokens, mask, labels }) => {
  const isAnswer = greaterEqual(labels!, 0);
  const counts = cast(isAnswer, "f32");
  // What the prompt ends in, as a row of all tokens.
  const [rows, seq] = [labels!.dim(0), labels!.dim(1)];
  const first = mul(iota(rows), typeof seq === "number" ? seq : cast(dimScalar(seq), "i32"));
  const last = add(first, cast(sub(sub(sum(mask!, 1), sum(counts, 1)), 1), "i32"));
  const { logits } = on.forward(params, { tokens: tokens!, mask: mask! }, { mode: "eval", hooks: [scoredHead(last, tokens!)] });
  const each = gatherElements(logSoftmax(logits!), mul(labels!, cast(isAnswer, "i32")), 1);
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
      batch: editBatchSpec,
      loss: (on, params, change, batch) => ({
        loss: loss(on, { ...params, [name]: add(cast(params[name]!, "f32"), change) }, batch),
        ...(epsilon === undefined ? {} : { project: (moved: Tensor) => clip(moved, -epsilon, epsilon) }),
      }),
    }),
  );
  return {
    edit: async (requests, previous = []) => {
      requireRequests(requests);
      const below = editedModel(model, previous);
      const batch = editBatch(requests.flatMap((request) => promptRows(request, [[]])));
      const step = await steps.on(below, previous.length > 0 ? "edited" : "clean");
      const { steps: count, lr, stopLoss } = c;
      const run = { batch: { ...batch }, steps: count, lr, stopLoss, updateLast: true, phase: method.id };
      const { change, losses } = await step.run(run, context);
      const before = widenToF32(loadWeight(below.params[name]!));
      const after = (before.data as Float32Array).map((w, i) => w + Number(change.data[i]));
      const delta = makeDelta(method, c, { [name]: f32(after, shape) }, { parent: parent ?? null });
      return { delta, model: editedModel(model, [...previous, delta]), curves: { loss: losses } };
    },
    dispose: () => steps.dispose(),
  };
}
