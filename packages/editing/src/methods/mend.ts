/**
 * MEND (arXiv 2110.11309): the gradient of −log p(answer) by the MLP weights of the last blocks comes apart into two vectors for each token; a
 * network that has learned to edit this model turns them into those of an update (equation 3), W̃ = W − α·Σ δ̃ũᵀ. One forward and one backward
 * pass for an edit, nothing is searched. Several facts are one batch: their mean loss, and all their tokens in one update.
 */
import { compileModel, type Delta, type HostTensor, LfmError, type Model, makeDelta, throwIfAborted } from "@lfm/core";
import { hashWeights } from "@lfm/formats";
import { z } from "zod";
import { CleanAndEdited, defineEditingMethod, type Editor, editedModel, type OnModel } from "../editor.js";
import { answerLoss, type EditBatch, editBatch, editBatchSpec, promptRows, requireRequests } from "../inputs.js";
import { baseWeights } from "../keys.js";
import { gradientFactors } from "../learned/factors.js";
import { checkMend, mendSites, mendUpdates } from "../learned/mend-network.js";
import { editThreads } from "../optimise.js";
import { type RankOne, rankOneForm, rankOneTensors } from "../rank-one.js";
import { requireEditor, type TrainedEditor, trainedEditorInput } from "../trained-editor.js";

const config = z.strictObject({
  scale: z.number().min(0).default(1).describe("how much of the update is taken: 0 leaves the model as it is"),
});
/** What an editor of this method says of its layout. */
const layout = z.strictObject({ blocks: z.number().int().positive() });

export const mend = defineEditingMethod({
  id: "mend",
  summary: "Writes facts by a trained network that turns their gradient into an update of the last MLPs.",
  paper: { title: "Fast Model Editing at Scale", arxiv: "2110.11309", year: 2022, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad", "activations"],
  inputs: { editor: trainedEditorInput },
  config,
  delta: rankOneForm,
  prepare: ({ model, editor, parent }, c, context): Editor => {
    let ready: Ready | undefined;
    const prepared = async (): Promise<Ready> => {
      const trained = requireEditor(editor, "mend", parent ?? (await hashWeights(baseWeights(model))));
      return { trained, writers: new CleanAndEdited((at) => compileWriter(context.engine, at, trained)) };
    };
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        throwIfAborted(context.signal, "[@lfm/editing] mend");
        ready ??= await prepared();
        const batch = editBatch(requests.flatMap((request) => promptRows(request, [[]])));
        const below = editedModel(model, previous);
        const writer = await ready.writers.on(below, previous.length > 0 ? "edited" : "clean");
        const { loss, tensors } = await writer.write(batch, c.scale);
        if (!Number.isFinite(loss)) throw new LfmError("NUMERIC_DIVERGED", `[@lfm/editing] mend: the loss of the answer is ${loss}`);
        context.progress({ phase: "mend", done: 1, total: 1, unit: "step", values: { loss } });
        const delta: Delta = makeDelta(mend, c, tensors, { parent: parent ?? null });
        return { delta, model: editedModel(model, [...previous, delta]), curves: { before: [[0, loss]] } };
      },
      dispose: async () => ready?.writers.dispose(),
    };
  },
});

interface Ready {
  readonly trained: TrainedEditor;
  readonly writers: CleanAndEdited<Writer>;
}

const { subject: _subject, scored: _scored, ...requestSpec } = editBatchSpec;

/** One forward and one backward pass. */
interface Writer extends OnModel {
  write(batch: EditBatch, scale: number): Promise<{ readonly loss: number; readonly tensors: Readonly<Record<string, HostTensor>> }>;
}

async function compileWriter(
  engine: Parameters<typeof compileModel>[0],
  first: Model,
  { config, tensors }: TrainedEditor,
): Promise<Writer> {
  const said = layout.safeParse(config);
  if (!said.success)
    throw new LfmError("FILE_FORMAT", `[@lfm/editing] the editor does not say what it edits: ${z.prettifyError(said.error)}`);
  const sites = mendSites(first, said.data.blocks);
  checkMend(sites, tensors);
  // The editor is compiled in beside the model's own weights.
  const withEditor = (model: Model): Model => ({ ...model, params: { ...model.params, ...tensors } });
  const f = await compileModel(
    engine,
    withEditor(first),
    requestSpec,
    ({ tokens, mask, labels }, params, at) => {
      const { factors, loss } = gradientFactors(at, params, { tokens, mask }, sites, (logits) => answerLoss(logits, labels));
      return { updates: mendUpdates(sites, params, factors, false).updates, loss };
    },
    editThreads(first),
  );
  let on = first;
  return {
    write: async (batch, scale) => {
      const { tokens, mask, labels } = batch;
      const { updates, loss } = await f({ tokens, mask, labels });
      const found = sites.map((site) => rankOneTensors(site, rowsOf(updates[site.path]!.keys, updates[site.path]!.values, scale)));
      return { loss: Number(loss.data[0]), tensors: Object.assign({}, ...found) };
    },
    model: () => on,
    swap: async (model) => {
      await f.swap(withEditor(model));
      on = model;
    },
    dispose: f.dispose,
  };
}

/** The rows that change something: positions that no loss depends on are left out. keys — f32[batch, length, in], values — f32[batch, length, out] */
function rowsOf(keys: HostTensor, values: HostTensor, scale: number): readonly RankOne[] {
  const [width, out] = [keys.shape[2]!, values.shape[2]!];
  const row = (t: HostTensor, i: number, n: number): Float64Array =>
    Float64Array.from((t.data as Float32Array).subarray(i * n, (i + 1) * n));
  const all = Array.from({ length: keys.data.length / width }, (_, i) => ({
    key: row(keys, i, width),
    value: row(values, i, out).map((v) => scale * v),
  }));
  const found = all.filter(({ value }) => value.some((v) => v !== 0));
  // A patch without rows has no shape: one that adds nothing stands for it.
  return found.length > 0 ? found : [{ key: new Float64Array(width), value: new Float64Array(out) }];
}
