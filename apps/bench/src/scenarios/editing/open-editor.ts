import { type HostTensor, inputsOf, LfmError, type Model, modelInput, parentInput, parseConfig, provider } from "@lfm/core";
import { counterfacts } from "@lfm/data";
import {
  type EditCase,
  type Editor,
  editCasesInput,
  editorTrainings,
  prepareEditor,
  type TrainEditorOutput,
  type TrainedEditor,
  trainedEditorInput,
} from "@lfm/editing";
import { textRules } from "@lfm/models";
import { type Zoo, zooTokenizer } from "@lfm/models/zoo";
import { z } from "zod";
import type { CellContext, CellMethod } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";
import { editPrefixes, editRequest, keyCorpus } from "./requests.js";
import { isDevelopment } from "./zoo-edits.js";

/** What suites may set of the training of learned editors. */
export const editorOptions = {
  editorSteps: z.number().int().positive().optional().describe("steps that learned editors are trained for; default their own"),
};

/** Facts that learned editors are trained on, and that show how others are to be used. */
const CASES = 512;

/** A cell's method made ready for the zoo's model. Progress counts edits, not the steps inside one. */
export async function openEditor(zoo: Zoo, cell: CellMethod, context: CellContext, editorSteps?: number): Promise<Editor> {
  const { seed } = context;
  const common = {
    model: zoo.lm,
    parent: zoo.lmHash,
    text: textRules(zooTokenizer(zoo.world), { limits: zoo.lm.info }),
    corpus: keyCorpus(zoo.world, seed),
    prefixes: editPrefixes(zoo.world, seed),
    demonstrations: editCases(zoo, seed),
  };
  const isLearned = inputsOf(cell.method).some((input) => input.kind === trainedEditorInput.name);
  const learned = isLearned ? { editor: await trainedEditor(zoo, cell.method.id, context, editorSteps) } : {};
  return prepareEditor(cell.method, { ...common, ...learned }, cell.config, { ...context, progress: () => {} });
}

/** An editor that has learned on the people whose facts are never edited in what is reported; trained once a seed. */
function trainedEditor(zoo: Zoo, id: string, context: CellContext, steps: number | undefined): Promise<TrainedEditor> {
  const training = editorTrainings.find((t) => t.id === `train-${id}`);
  if (!training) throw new LfmError("CAPABILITY_MISSING", `[@lfm/bench] nothing trains the editor that ${id} edits with`);
  const { seed } = context;
  return context.shared(`editor ${id} ${seed} ${steps ?? ""}`, async () => {
    const config = parseConfig(training, steps === undefined ? {} : { steps });
    const own = { ...context, access: training.needs, progress: () => {} };
    const providers = [
      provider(modelInput, () => zoo.lm),
      provider(editCasesInput, () => editCases(zoo, seed)),
      provider(parentInput, () => zoo.lmHash),
    ];
    return (await runByKind<TrainEditorOutput>(training.id, { method: training, config }, providers, own)).editor;
  });
}

function editCases({ world }: Zoo, seed: number): readonly EditCase[] {
  const { bos, encode, id } = world.vocabulary;
  const records = counterfacts(world, { seed, count: CASES, accept: (fact) => isDevelopment(world, fact) });
  return records.map((record) => {
    const { subject, relation_id: relation, target_new } = record.requested_rewrite;
    const ids = (prompt: string): readonly number[] => [bos, ...encode(prompt)];
    return {
      subject,
      relation,
      request: editRequest(world, record),
      paraphrases: record.paraphrase_prompts.map((prompt) => ({ prompt: ids(prompt), target: [id(target_new.str)] })),
      unrelated: [...record.locality.map((p) => p.prompt), ...record.neighborhood_prompts].map(ids),
    };
  });
}

/** Weights as they are, to tell later whether a bit of them has changed. */
export function copyOf(model: Model): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(model.params).map(([name, w]) => [name, { ...(w as HostTensor), data: (w as HostTensor).data.slice() }]),
  );
}

export function sameWeights(model: Model, copy: Readonly<Record<string, HostTensor>>): boolean {
  return Object.entries(copy).every(([name, t]) => sameBits(t.data, (model.params[name] as HostTensor).data));
}

export function sameBits(a: HostTensor["data"], b: HostTensor["data"]): boolean {
  const bytes = (t: HostTensor["data"]): Uint8Array => new Uint8Array(t.buffer, t.byteOffset, t.byteLength);
  return Buffer.compare(bytes(a), bytes(b)) === 0;
}
