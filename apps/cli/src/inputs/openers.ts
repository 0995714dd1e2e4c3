import {
  deltaInput,
  deltasInput,
  type FieldInput,
  type InputKind,
  type InputKindName,
  itemShapeInput,
  LfmError,
  learnerInput,
  type Method,
  membersInput,
  modelInput,
  modelNameInput,
  modelsInput,
  namedWeightsInput,
  type Provider,
  parameterNamesInput,
  parentInput,
  previousInput,
  provideInputs,
  studentInput,
  type Weights,
  weightsInput,
} from "@lfm/core";
import { type Examples, readDocuments, readExamples, readTopics, readTrecRun } from "@lfm/data";
import { cacheOptions, keepLayers, logitCacheInput } from "@lfm/distillation";
import { editBatchInput, editCasesInput, editRequestsInput, gramInput, keyCorpusInput, loadEditor, trainedEditorInput } from "@lfm/editing";
import { readPeftAdapter } from "@lfm/formats";
import { metaInputs } from "@lfm/meta";
import { continuationOf, createGenerator, createPromptBox, promptBoxInput, promptIds, textRulesInput } from "@lfm/models";
import { probedInput, probedTextsInput, referencesInput, victimBeforeInput, victimInput } from "@lfm/probe";
import { answererInput, generatorAnswerer, passagesInput, queriesInput, retrieverInput, runInput, textEncoderInput } from "@lfm/retrieval";
import {
  adaptersInput,
  examplesInput,
  expertPromptsInput,
  fishersInput,
  gramsInput,
  heldOutInput,
  scoreInput,
  taskProbesInput,
} from "@lfm/reuse";
import { loadStats, requireKind, type Statistics } from "@lfm/statistics";
import { type LearningTask, taskInput, validationInput } from "@lfm/train";
import {
  answeredRows,
  answeredTask,
  answersInput,
  answersOf,
  choiceRows,
  choicesInput,
  classChoices,
  demonstrationsInput,
  fisherInput,
  freshInput,
  languageTask,
  learnedRows,
  packedTask,
  replayInput,
  retainedInput,
  samplerOf,
} from "@lfm/tuning";
import type { z } from "zod";
import { openBefore, openProbed, openProbedTexts, openReferences } from "./attacks.js";
import { openEncoder, openIndex } from "./documents.js";
import { openEditCases } from "./edit-cases.js";
import { openEdits } from "./edits.js";
import { openHeldOut, openMembers } from "./ensembles.js";
import { openFamily } from "./families.js";
import { openGram, openKeyCorpus } from "./keys.js";
import { loadEach, openStudent, requireText, shapeOfItem, withHead } from "./models.js";
import { openPreferenceTask } from "./preferences.js";
import { activationBatches, answerProbe, promptRows } from "./probes.js";
import { requireSameVocabulary } from "./same-vocabulary.js";
import { openScore } from "./scores.js";
import type { Sources } from "./sources.js";
import { openRetained, openValidation } from "./validation.js";

type Open<T> = (input: FieldInput, s: Sources) => Promise<T>;

interface Opener {
  readonly kind: InputKindName;
  readonly open: Open<unknown>;
}

/** Checked by the compiler: what is opened is of the kind's type. Absent is what was not given of an optional input. */
function opener<T>(kind: InputKind<T>, open: Open<T | undefined>): Opener {
  return { kind: kind.name, open };
}

/** One for each kind. */
export const openers: readonly Opener[] = [
  opener(modelInput, async (input, s) => (await s.model(input)).model),
  opener(learnerInput, async (input, s) => {
    const [{ model }, goal] = [await s.model(input), await s.goal()];
    return goal ? withHead(model, goal, s.batching.seed) : model;
  }),
  opener(studentInput, async (input, s) => {
    const { studentLayers } = s.request as { readonly studentLayers?: readonly number[] };
    if (studentLayers) return keepLayers((await s.reader()).model, studentLayers);
    const folder = s.text(input.name)!;
    const model = await openStudent(folder, s.batching.seed, s.job);
    if (s.declares("task")) await requireSameVocabulary(await s.reader(), { folder, model }, (await s.examples())[0]!);
    return model;
  }),
  opener(weightsInput, async (input, s) => (await s.model(input)).model.params),
  opener(modelsInput, async (_, s) => mapValues(await s.models(), (m) => m.model)),
  opener(namedWeightsInput, async (_, s): Promise<Readonly<Record<string, Weights>>> => mapValues(await s.models(), (m) => m.model.params)),
  opener(membersInput, (_, s) => openMembers(s)),
  opener(parentInput, async (_, s) => (await s.reader()).hash()),
  opener(modelNameInput, async (_, s) => (await s.reader()).name),
  // A head that the checkpoint does not have is part of what is learned.
  opener(parameterNamesInput, async (input, s) => [...(await freshParameters(s)), ...s.texts(input.name)]),
  opener(freshInput, (_, s) => freshParameters(s)),
  opener(itemShapeInput, async (_, s) => shapeOfItem((await s.reader()).model)),
  opener(logitCacheInput, async (input, s) => {
    const folder = s.text(input.name);
    if (folder === undefined) return undefined;
    const { cacheTopK: topK, cacheDtype: dtype } = cacheOptions.parse(s.request.inputOptions?.[input.field] ?? {});
    return { folder, teacher: await (await s.reader()).hash(), topK, dtype };
  }),
  opener(promptBoxInput, async (input, s) =>
    createPromptBox(s.context.engine, (await s.model(input)).model, { budget: s.count("queries") ?? Number.MAX_SAFE_INTEGER }),
  ),
  opener(choicesInput, async (_, s) => {
    const [reader, [examples], goal] = [await s.reader(), await s.examples(), await s.goal()];
    const rules = requireText(reader);
    return goal?.kind === "classes" ? classChoices(examples!, rules, goal.names) : choiceRows(examples!, rules);
  }),
  opener(demonstrationsInput, async (_, s) => (await s.examples())[0]!),
  opener(textRulesInput, async (_, s) => requireText(await s.reader())),
  opener(answersInput, async (_, s) => answersOf((await s.examples())[0]!)),
  opener(deltaInput, async (input, s) => {
    const folder = s.text(input.name);
    return folder === undefined ? undefined : (await loadEach([folder], await s.reader()))[0];
  }),
  opener(deltasInput, async (_, s) => byFolder(s.texts("adapter"), await loadEach(s.texts("adapter"), await s.reader()))),
  opener(previousInput, (_, s) => s.previous()),
  opener(adaptersInput, async (_, s) => {
    const folders = s.texts("adapter");
    return Object.fromEntries(folders.map((folder, i) => [`${i + 1}: ${folder}`, readPeftAdapter(folder)]));
  }),
  opener(fisherInput, async (_, s) => {
    const file = s.text("fisher");
    return file === undefined ? undefined : requireKind(loadStats(file), "fisher", (await s.reader()).name);
  }),
  opener(fishersInput, (_, s) => statisticsOfEach(s)),
  opener(gramsInput, (_, s) => statisticsOfEach(s)),
  opener(taskInput, async (_, s) => {
    const { objective, config, pack } = s.task;
    return objective ? openPreferenceTask({ objective, config }, s) : openTask((await s.examples())[0]!, pack, s);
  }),
  opener(replayInput, async (_, s) => {
    const file = s.text("replay");
    return file === undefined ? undefined : openTask(readExamples(file, await s.columns()), false, s);
  }),
  opener(retainedInput, (_, s) => openRetained(s)),
  // Without --valid-every the examples of --valid are only looked at before and after: no method gets to see them.
  opener(validationInput, async (_, s) => (s.config.validEvery === undefined ? undefined : openValidation(s))),
  opener(taskProbesInput, async (_, s) => {
    const [reader, sets, names] = [await s.reader(), await s.examples(), Object.keys(await s.models())];
    return Object.fromEntries(names.map((name, i) => [name, answerProbe(name, reader, sets[i]!, s.batching)]));
  }),
  opener(expertPromptsInput, async (_, s) => {
    const [reader, sets, names] = [await s.reader(), await s.examples(), Object.keys(await s.models())];
    const ids = (i: number): readonly (readonly number[])[] => promptRows(sets[i]!, requireText(reader), s.batching.maxLength);
    return Object.fromEntries(names.map((name, i) => [name, { positive: ids(i) }]));
  }),
  opener(examplesInput, async (_, s) => activationBatches(await s.reader(), await s.examples(), s.batching)),
  opener(scoreInput, (_, s) => openScore(s)),
  opener(heldOutInput, (_, s) => openHeldOut(s)),
  opener(metaInputs.model, async (_, s) => (await openFamily(s)).model),
  opener(metaInputs.task, async (_, s) => (await openFamily(s)).task),
  opener(metaInputs.ways.kind, async (_, s) => (await openFamily(s)).ways),
  opener(metaInputs.episodes, async (_, s) => (await openFamily(s)).episodes),
  opener(editRequestsInput, async (_, s) => (await openEdits(s)).map((e) => e.request)),
  opener(editCasesInput, (_, s) => openEditCases(s)),
  opener(trainedEditorInput, async (input, s) => loadEditor(s.text(input.name)!)),
  opener(editBatchInput, async (_, s) => s.count("batch")),
  opener(keyCorpusInput, (_, s) => openKeyCorpus(s)),
  opener(gramInput, (_, s) => openGram(s)),
  opener(passagesInput, async (_, s) => readDocuments(s.text("documents")!)),
  opener(queriesInput, async (_, s) => readTopics(s.text("queries")!)),
  opener(textEncoderInput, (input, s) => openEncoder(s.text(input.name)!, s.context.engine, s.job)),
  opener(runInput, async (input, s) => readTrecRun(s.text(input.name)!)),
  opener(retrieverInput, async (_, s) => {
    const { passages, search } = await openIndex(s.text("index")!, s.context.engine, s.job);
    const byId = new Map(passages.map((p) => [p.id, p]));
    return async (queries, k) => {
      const found = await search(
        queries.map((q) => q.text),
        k,
      );
      return found.map((hits) => hits.map((hit) => byId.get(hit.id)!));
    };
  }),
  opener(answererInput, async (_, s) => {
    const m = await s.model({ name: "model" });
    const rules = requireText(m);
    const generator = await createGenerator(s.context.engine, m.model);
    const reader = { encode: (text: string) => ({ ids: promptIds(rules, text) }), decode: rules.tokenizer.decode };
    const maxNewTokens = s.count("max-new-tokens") ?? 32;
    return generatorAnswerer(generator, reader, (prompt) => continuationOf(rules, prompt, { maxNewTokens }).options);
  }),
  opener(victimInput, async (input, s) => (await s.victim(input)).model),
  opener(victimBeforeInput, (_, s) => openBefore(s)),
  opener(probedInput, openProbed),
  opener(probedTextsInput, openProbedTexts),
  opener(referencesInput, (_, s) => openReferences(s)),
];

/** What a method is given, by field, opened in the order of its declaration. @throws {LfmError} as the openers */
export async function openInputs<I, O, S extends z.ZodObject>(method: Method<I, O, S>, s: Sources): Promise<I> {
  const providers = openers.map(({ kind, open }): Provider => ({ kind, provide: (input) => open(input, s) }));
  // What is declared was checked against I, and what is opened against what is declared.
  return (await provideInputs("lfm", method, s.config, providers)) as I;
}

/** Parameters of a head that the checkpoint does not have. */
async function freshParameters(s: Sources): Promise<readonly string[]> {
  const [{ model }, goal] = [await s.reader(), await s.goal()];
  const { info } = goal ? withHead(model, goal, s.batching.seed) : model;
  return Object.keys(info.params).filter((name) => !(name in model.params) && info.params[name]!.trainable);
}

/** Examples as the first model learns them. @param pack several to a row; @throws {LfmError} CONFIG_INVALID for rows of another model */
async function openTask(examples: Examples, pack: boolean, s: Sources): Promise<LearningTask> {
  const [reader, goal, o] = [await s.reader(), await s.goal(), s.batching];
  const rules = requireText(reader);
  if (!goal)
    return (pack ? packedTask : languageTask)(
      learnedRows(examples, rules, o, (m) => s.job.log(m)),
      o,
    );
  if (pack)
    throw new LfmError("CONFIG_INVALID", `lfm: ${reader.name} is no language model: its examples are not packed`, {
      hint: "leave --pack out",
    });
  const rows = answeredRows(examples, goal);
  return answeredTask("examples", rows, rules.tokenizer, o, samplerOf(rows.texts.length, o));
}

async function statisticsOfEach(s: Sources): Promise<Readonly<Record<string, Statistics>>> {
  const files = s.texts("statistics");
  return Object.fromEntries(Object.keys(await s.models()).map((name, i) => [name, loadStats(files[i]!)]));
}

function mapValues<A, B>(record: Readonly<Record<string, A>>, f: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(record).map(([name, value]) => [name, f(value)]));
}

/** A folder that stands twice has its place behind its second name. */
function byFolder<T>(folders: readonly string[], values: readonly T[]): Record<string, T> {
  return Object.fromEntries(folders.map((folder, i) => [folders.indexOf(folder) === i ? folder : `${folder}-${i + 1}`, values[i]!]));
}
