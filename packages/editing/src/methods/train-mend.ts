/**
 * Trains the editor that {@link mend} edits with, on cases that share neither subject nor relation with those that it is measured on. Loss and
 * network as in the authors' program, with the negative log likelihood of the answer in other words and the divergence from before on unrelated
 * sequences; here every record of a step is an edit of its own, where the authors sum up the gradients of several steps.
 */
import { adam, defineMethod, type Model, modelInput, parentInput, scaledRates, sum } from "@lfm/core";
import { hashWeights } from "@lfm/formats";
import { z } from "zod";
import { type EditCase, editCasesInput, splitCases } from "../cases.js";
import { answerLossOfRows } from "../inputs.js";
import { type EditorNetwork, type EditorScores, trainEditor } from "../learned/editor-training.js";
import { gradientFactors } from "../learned/factors.js";
import { mendSites, mendStatistics, mendUpdates, mendWeights, RATES } from "../learned/mend-network.js";
import type { TrainedEditor } from "../trained-editor.js";

const config = z.strictObject({
  blocks: z.number().int().positive().default(3).describe("last blocks whose MLP projections are edited"),
  rank: z.number().int().positive().default(64).describe("rank of the network's matrices"),
  hidden: z.number().int().min(0).default(1).describe("hidden layers of the network"),
  editRate: z.number().positive().default(1e-4).describe("how much of an update is taken at first, α"),
  steps: z.number().int().positive().default(600).describe("Adam steps"),
  edits: z.number().int().positive().default(8).describe("cases of a step, each an edit of its own"),
  lr: z.number().positive().default(1e-3).describe("step size of Adam on the network"),
  rateLr: z.number().positive().default(1e-4).describe("step size of Adam on the rates α"),
  editFactor: z.number().positive().default(0.1).describe("weight of the answer's loss; that of staying the same elsewhere is 1"),
  clipNorm: z.number().positive().default(100).describe("largest joint gradient norm"),
  paraphrases: z.number().int().min(0).default(1).describe("other wordings of each fact in a step"),
  unrelated: z.number().int().positive().default(3).describe("unrelated sequences of each fact in a step"),
  heldOut: z
    .number()
    .gt(0)
    .lt(1)
    .default(0.25)
    .describe("share of the subjects, and of the relations, that nothing is learned from: it is measured there"),
  validEvery: z.number().int().positive().default(50).describe("steps between two measurements of held-out cases; the best state is kept"),
  patience: z.number().int().positive().optional().describe("stop after so many measurements without a better loss"),
});

export interface TrainEditorInputs {
  readonly model: Model;
  readonly cases: readonly EditCase[];
  /** Hash of the model. */
  readonly parent?: string;
}

export interface TrainEditorOutput {
  readonly editor: TrainedEditor;
  readonly curves: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** Cases of each side; the rest shares a subject or a relation with both. */
  readonly cases: { readonly train: number; readonly heldOut: number };
  /** On held-out cases, at most 64 of them. */
  readonly heldOut: EditorScores;
}

export const trainMend = defineMethod({
  id: "train-mend",
  paradigm: "editing",
  summary: "Trains the network that turns the gradient of a fact into an update of the last MLPs.",
  paper: { title: "Fast Model Editing at Scale", arxiv: "2110.11309", year: 2022, survey: "7.2 parameter-based editing" },
  needs: ["weights", "grad", "activations"],
  inputs: { model: modelInput, cases: editCasesInput, parent: parentInput },
  config,
  presets: {
    paper: {
      summary: "rank, rates and steps of the authors' program",
      config: { rank: 1920, lr: 1e-6, steps: 100_000, edits: 10, validEvery: 5000, patience: 4 },
    },
  },
  run: async ({ model, cases, parent }: TrainEditorInputs, c, context): Promise<TrainEditorOutput> => {
    const split = splitCases(cases, c.heldOut, context.rng.split("held out"));
    const sites = mendSites(model, c.blocks);
    const network: EditorNetwork = {
      sites,
      trainable: mendWeights(sites, { rank: c.rank, hidden: c.hidden, rate: c.editRate }, context.rng.split("network")),
      buffers: mendStatistics(sites),
      optimizer: scaledRates(adam(), (name) => (name === RATES ? c.rateLr / c.lr : 1)),
      updates: (params, { tokens, mask, labels }, see) => {
        const { factors } = gradientFactors(model, params, { tokens, mask }, sites, (logits) => sum(answerLossOfRows(logits, labels)));
        const { updates, statistics } = mendUpdates(sites, params, factors, see);
        return { updates, buffers: statistics };
      },
    };
    const fitted = await trainEditor(model, network, split, c, context, "train-mend");
    const editor: TrainedEditor = {
      method: "mend",
      config: { blocks: c.blocks },
      parent: parent ?? (await hashWeights(model.params)),
      tensors: { ...fitted.params, ...fitted.buffers },
    };
    const { train, heldOut } = split;
    return { editor, curves: fitted.curves, cases: { train: train.length, heldOut: heldOut.length }, heldOut: fitted.heldOut };
  },
});
