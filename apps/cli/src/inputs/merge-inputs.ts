import { type HostTensor, LfmError, type MethodContext, type Weights } from "@lfm/core";
import { type Examples, readExamples } from "@lfm/data";
import type { MergeModelsRequest } from "../jobs/merge-models.js";
import { measureClassifier, measureLanguage } from "../outputs/measure.js";
import { classNames } from "./labels.js";
import { type OpenedModel, requireTokenizer } from "./models.js";
import { activationBatches, answerProbe, promptIds } from "./probes.js";
import { type BatchOptions, labelledRows, languageRows, taskKind } from "./tasks.js";

interface Opened {
  readonly base: OpenedModel | undefined;
  readonly models: Readonly<Record<string, OpenedModel>>;
}

type Config = Readonly<Record<string, unknown>>;

/** Whether the method looks at examples under these options. */
export function readsData(method: string, { match, gate }: Config): boolean {
  if (method === "re-basin" || method === "ot-fusion") return match === "activations";
  return method !== "moe-upcycling" || !String(gate).endsWith("random");
}

/** What the method is given: models under their names, and examples in the form that it reads. @throws {LfmError} as the readers of examples */
export async function inputsOf(request: MergeModelsRequest, config: Config, opened: Opened, context: MethodContext): Promise<object> {
  const { base, models } = opened;
  const names = Object.keys(models);
  const all = Object.values(models);
  const sets = (request.data ?? []).map(readExamples);
  const options = { batchSize: request.batchSize ?? 16, maxLength: request.maxLength ?? 128, seed: request.seed ?? 0 };
  const weights = Object.fromEntries(names.map((name) => [name, models[name]!.model.params]));
  switch (request.method) {
    case "re-basin":
    case "ot-fusion":
    case "zipit": {
      const data = readsData(request.method, config) ? activationBatches(all[0]!, sets, options) : [];
      return { models: Object.fromEntries(names.map((name) => [name, models[name]!.model])), data };
    }
    case "greedy-soup":
      return { models: weights, evaluate: scoreOf(all[0]!, sets, config.lower_is_better === true, options, context) };
    case "moe-upcycling": {
      if (!readsData(request.method, config)) return { model: base!.model, experts: weights };
      const tokenizer = requireTokenizer(base!);
      const prompts = names.map((name, i) => [name, { positive: promptIds(sets[i]!, tokenizer, options.maxLength) }]);
      return { model: base!.model, experts: weights, prompts: Object.fromEntries(prompts) };
    }
    case "smile":
      return { model: base!.model, models: weights, parent: await base!.hash() };
    default: {
      const tasks = Object.fromEntries(names.map((name, i) => [name, answerProbe(name, base!, sets[i]!, options)]));
      return { model: base!.model, models: weights, tasks, ...(request.method === "wemoe" ? { parent: await base!.hash() } : {}) };
    }
  }
}

/** Mean over files of the loss, or of the share of right answers. @throws {LfmError} CONFIG_INVALID for texts that have no right answer */
function scoreOf(
  first: OpenedModel,
  sets: readonly Examples[],
  loss: boolean,
  o: BatchOptions,
  context: MethodContext,
): (params: Readonly<Record<string, HostTensor>>) => Promise<number> {
  const { engine } = context;
  const tokenizer = requireTokenizer(first);
  const language = taskKind(first.model) === "language";
  if (!loss && sets.some((s) => s.kind === "text"))
    throw new LfmError("CONFIG_INVALID", "lfm: greedy-soup: plain text has no right answers to count", { hint: "--lower-is-better" });
  const names = language ? [] : classNames(first);
  const measures = sets.map((examples) => {
    const rows = language ? languageRows(examples, tokenizer, o.maxLength) : undefined;
    const labelled = rows ? undefined : labelledRows(examples, names);
    return async (params: Weights): Promise<number> => {
      const model = { ...first.model, params: { ...first.model.params, ...params } };
      if (labelled) {
        const found = await measureClassifier(engine, model, labelled, tokenizer, o);
        return loss ? found.loss : found.accuracy;
      }
      const found = await measureLanguage(engine, model, rows!, tokenizer, o);
      return loss ? found.loss : found.exactMatch;
    };
  });
  return async (params) => {
    let sum = 0;
    for (const measure of measures) sum += await measure(params);
    return sum / measures.length;
  };
}
