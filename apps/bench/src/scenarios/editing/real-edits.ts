import { join } from "node:path";
import { inputsOf, type Metric, Rng } from "@lfm/core";
import { readEdits } from "@lfm/data";
import { caseOfRecord, type EditDemonstration, gramInput, prepareEditor } from "@lfm/editing";
import { z } from "zod";
import type { CellContext, CellMethod, Scenario } from "../../scenario.js";
import { editLatency } from "./edit-latency.js";
import { type EditedBase, editOutcome, evaluateEdits, readUntouched } from "./evaluate-edits.js";
import { type KnownEdit, knownMetrics, knownOf } from "./known-edits.js";
import { keyStatistics, openReal, type RealModel, SMOLLM2 } from "./real-model.js";
import { type RecordEdit, recordEdits } from "./record-edits.js";
import { openPerplexity, perplexityMetric } from "./text-perplexity.js";

/** Facts that are asked at a time until enough of them are known. */
const ASKED = 60;

const options = z.strictObject({
  edits: z.number().int().positive().default(20).describe("edits, each made on the untouched model"),
  watched: z.number().int().positive().default(2).describe("edits after which perplexity is taken"),
  text: z.number().int().positive().default(1024).describe("tokens of real text that perplexity is taken of"),
  records: z
    .enum(["test", "development"])
    .default("test")
    .describe("which records of the file: settings are chosen on its first quarter, development, which is never reported on"),
});

/** Edits of facts that the model knows. */
export const smollm2Counterfact = realEdits({
  id: "smollm2-counterfact",
  file: "counterfact/counterfact-edit-4k.json",
  facts: "known",
  summary:
    "Single edits of a real language model on CounterFact: facts that it knows, named first by greedy decoding or among the first ten of fifty objects or more of the relation. The file asks for the prompt, one paraphrase and one neighbour; what it does not ask is not run.",
});

/** Edits of facts that the model does not know: its files were made for another one. */
export const smollm2Zsre = realEdits({
  id: "smollm2-zsre",
  file: "zsre/zsre-500.json",
  facts: "any",
  summary:
    "Single edits of a real language model on zsRE, questions with another answer than the true one; the model knows few of these facts, so that most edits write something new. The file asks for the question, one paraphrase and one unrelated question.",
});

interface RealEdits {
  readonly id: string;
  readonly file: string;
  /** Which facts are edited. */
  readonly facts: "known" | "any";
  readonly summary: string;
}

function realEdits({ id, file, facts, summary }: RealEdits): Scenario {
  return {
    id,
    paradigm: "editing",
    model: SMOLLM2,
    summary,
    headline: "score",
    access: ["weights", "grad", "activations", "logits", "tokenizer"],
    requires: ["data", "models"],
    options,
    run: async (cell, context) => {
      const { engine, seed, signal } = context;
      const sizes = options.parse(cell.options ?? {});
      const real = await context.shared(SMOLLM2, () => openReal(context));
      const { base, hash, text } = real;
      const key = `${id} ${sizes.records} ${seed} ${sizes.edits}`;
      const {
        edits,
        demonstrations,
        metrics: known,
      } = await context.shared(`${key} edits`, () =>
        chooseEdits(base, join(context.folders.data!, file), { facts, records: sizes.records, count: sizes.edits }, context),
      );
      const before = await context.shared(`${key} before`, () => readUntouched(base, edits, 0, context));
      const perplexity = await openPerplexity(base, text, sizes.text, context);
      const inputs = { ...real.inputs, demonstrations, ...(await statisticsFor(cell, real, context)) };
      const editor = await prepareEditor(cell.method, inputs, cell.config, { ...context, progress: () => {} });
      try {
        const untouched = await context.shared(`${SMOLLM2} perplexity ${sizes.text}`, () => perplexity.of(base.model, signal));
        const after: number[] = [];
        const watch = async (model: EditedBase["model"], i: number): Promise<void> => {
          if (i < sizes.watched) after.push(await perplexity.of(model, signal));
        };
        const evaluation = await evaluateEdits(base, edits, editor, { before, tokens: 0, watch }, context);
        const prompts = edits.slice(0, 4).map((edit) => edit.request.prompt);
        return {
          ...editOutcome(evaluation),
          metrics: {
            ...evaluation.metrics,
            ...known,
            perplexity: perplexityMetric(after, untouched, `per token of the first ${sizes.text} of WikiText-2's test split`),
            latency: await editLatency(engine, base.model, evaluation.last.model, prompts),
          },
          modelHash: hash,
        };
      } finally {
        await editor.dispose();
        await perplexity.dispose();
      }
    },
  };
}

/** Statistics of the layers that a cell's options name, taken once for all methods that write there. */
async function statisticsFor(
  { method, config }: CellMethod,
  real: RealModel,
  context: CellContext,
): Promise<{ readonly statistics?: Awaited<ReturnType<typeof keyStatistics>> }> {
  const { layer, layers } = config;
  const named = Array.isArray(layers) ? layers.map(Number) : typeof layer === "number" ? [layer] : [];
  if (named.length === 0 || !inputsOf(method).some((input) => input.kind === gramInput.name)) return {};
  return { statistics: await context.shared(`${SMOLLM2} keys ${named}`, () => keyStatistics(real, named, context)) };
}

interface ChosenFacts {
  readonly facts: RealEdits["facts"];
  readonly records: z.output<typeof options>["records"];
  readonly count: number;
}

interface Chosen {
  readonly edits: readonly RecordEdit[];
  /** Of development records that are no edits. */
  readonly demonstrations: readonly EditDemonstration[];
  readonly metrics: Readonly<Record<string, Metric>>;
}

/** Settings are chosen on one record of so many, the first ones of the file. */
const DEVELOPMENT_SHARE = 4;
/** So many of these, the last ones, show how facts in words are to be used. */
const DEMONSTRATIONS = 100;

/** Edits of the file in a random order, and how many of the facts that were asked the model knows. */
export async function chooseEdits(
  { model, rules }: RealModel["base"],
  path: string,
  { facts, records, count }: ChosenFacts,
  { engine, seed, signal, log }: Pick<CellContext, "engine" | "seed" | "signal" | "log">,
): Promise<Chosen> {
  const { edits, refused } = recordEdits(readEdits(path), rules);
  const first = Math.floor(edits.length / DEVELOPMENT_SHARE);
  const shown = Math.max(0, first - DEMONSTRATIONS);
  const own = records === "development" ? edits.slice(0, shown) : edits.slice(first);
  const drawn = new Rng(seed).split("real edits").shuffle(own);
  const asked = facts === "known" ? drawn : drawn.slice(0, count);
  const found: KnownEdit[] = [];
  const known: RecordEdit[] = [];
  for (let from = 0; from < asked.length && known.length < count; from += ASKED) {
    const some = await knownOf({ model, rules }, asked.slice(from, from + ASKED), edits, { engine, ...(signal ? { signal } : {}) });
    found.push(...some);
    known.push(...some.flatMap(({ edit, fact }) => (fact.known ? [edit] : [])));
  }
  log(
    `of ${found.length} facts the model names ${found.filter(({ fact }) => fact.first).length} first and knows ${known.length}; ${refused.length} records cannot be written into it`,
  );
  return {
    edits: (facts === "known" ? known : asked).slice(0, count),
    demonstrations: edits.slice(shown, first).flatMap(({ record }) => caseOfRecord(rules, record) ?? []),
    metrics: knownMetrics(found),
  };
}
