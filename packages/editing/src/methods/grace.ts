/**
 * GRACE (arXiv 2211.11031): the model stays as it is; a codebook beside one layer says where its output is replaced.
 *   h′ = the value of the nearest key where ‖h − k‖ ≤ its radius, what the layer gives elsewhere (equation 1)
 * The key of a fact is what flows into the layer at the prompt's last token; its value is found by Adam on −log p(answer). New keys have the radius
 * ε; balls grow and split as facts agree and disagree (algorithm 1, as in the authors' code). Several facts are written one after the other.
 */
import {
  cast,
  crossEntropyPerItem,
  type Engine,
  expandDims,
  f32,
  type Hook,
  logicalAnd,
  type Model,
  makeDelta,
  mean,
  type Site,
  where,
} from "@lfm/core";
import { scoredHead } from "@lfm/train";
import { z } from "zod";
import { atPromptEnd, codebookForm, PROMPT_END } from "../codebook.js";
import { codebookEditor } from "../codebook-editor.js";
import { behindFront, cutMask, cutRows, cutSpec } from "../cut-rows.js";
import { CleanAndEdited, defineEditingMethod, type Editor } from "../editor.js";
import { editBatch, promptRows } from "../inputs.js";
import { mlpOutSite } from "../keys.js";
import { lateLayer } from "../late-layer.js";
import { compileEditStep, type EditStep } from "../optimise.js";
import { compileSubjectReader } from "../subject-reader.js";

const config = z.strictObject({
  layer: z
    .number()
    .int()
    .min(0)
    .optional()
    .describe("block whose MLP output is replaced; default the one at three quarters of the depth, of several never the last"),
  epsilon: z.number().positive().default(1).describe("radius ε of new keys"),
  steps: z.number().int().positive().default(100).describe("Adam steps for a value"),
  lr: z.number().positive().default(1).describe("step size of Adam"),
  init: z.enum(["cold", "warm"]).default("cold").describe("values begin at random in [0, 1), or as what the layer gives"),
  stopLoss: z.number().min(0).default(0.01).describe("stop when the answer's loss is below"),
});

export const grace = defineEditingMethod({
  id: "grace",
  summary: "Keeps facts in a codebook beside one layer, which answers where the layer's input is near to a key.",
  paper: {
    title: "Aging with GRACE: Lifelong Model Editing with Discrete Key-Value Adaptors",
    arxiv: "2211.11031",
    year: 2022,
    survey: "7.2 memory-based editing",
  },
  needs: ["weights", "grad", "activations"],
  config,
  delta: codebookForm(({ given, value, within, context }) => {
    const asked = atPromptEnd(context);
    return where(asked ? logicalAnd(expandDims(asked, -1), within) : within, value, given);
  }),
  prepare: ({ model, parent = null }, c, context): Editor => {
    const site = mlpOutSite(model, c.layer ?? lateLayer(model));
    const readers = new CleanAndEdited((at) => compileSubjectReader(context.engine, at, { inputs: [site], outputs: [site] }));
    const searches = new CleanAndEdited((at) => compileValueStep(context.engine, at, site));
    return codebookEditor({
      model,
      site,
      method: "editing/grace",
      delta: (tensors) => makeDelta(grace, c, tensors, { parent }),
      // What flows into the layer is what it was, and at the prompt's end stands what is looked for.
      open: async ({ below, which }) => {
        const reader = await readers.on(below, which);
        const search = await searches.on(below, which);
        return async (book, request, part) => {
          const { prompt, target } = request;
          const subject = prompt.length - 1;
          const rows = promptRows(request, [[]]).map((row) => ({ ...row, subject }));
          const seen = await reader.read(editBatch([{ tokens: prompt, subject, answer: 0 }]));
          const key = Float32Array.from(seen.inputs[0]![0]!);
          const place = book.place(key, target, c.epsilon);
          const given = Float32Array.from(seen.outputs[0]![0]!);
          const first = c.init === "warm" ? given : context.rng.split(`value ${book.size}`).uniformArray(site.weight!.out);
          const from = f32(place.fresh ? first : book.entry(place.at).value);
          const { steps, lr, stopLoss } = c;
          const run = { batch: cutRows(rows, model.info), from, steps, lr, stopLoss, updateLast: true, phase: "grace", part };
          const { change, losses } = await search.run(run, context);
          return { place, key, answer: target, value: change.data as Float32Array, losses };
        };
      },
      dispose: async () => {
        await readers.dispose();
        await searches.dispose();
      },
    });
  },
});

/** The value that makes the answer likely when it stands in place of what the site gives at the token of the cut, the prompt's last. */
function compileValueStep(engine: Engine, model: Model, site: Site): Promise<EditStep> {
  return compileEditStep(engine, model, {
    shape: [site.weight!.out],
    batch: cutSpec,
    loss: (on, params, value, rows) => {
      const { scored, targets, tokens } = rows;
      const at = cast(cutMask(rows), "bool");
      const hook: Hook = { matches: ({ path }) => path === site.path, output: (y) => where(at, value, y) };
      const { logits } = behindFront(on, params, rows, PROMPT_END)([hook, scoredHead(scored!, tokens!)]);
      return { loss: mean(crossEntropyPerItem(logits!, targets!)) };
    },
  });
}
