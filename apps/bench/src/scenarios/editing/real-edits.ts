import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError, type Metric, padRows, Rng } from "@lfm/core";
import { loadText, readEdits } from "@lfm/data";
import { type EditorInputs, prepareEditor } from "@lfm/editing";
import { idsOfText, loadModel, type TextRules } from "@lfm/models";
import { type Corpus, tokenCorpus } from "@lfm/statistics";
import { z } from "zod";
import type { CellContext, Scenario } from "../../scenario.js";
import { editLatency } from "./edit-latency.js";
import { type EditedBase, editOutcome, evaluateEdits, readUntouched } from "./evaluate-edits.js";
import { knownMetrics, knownOf } from "./known-edits.js";
import { type RecordEdit, recordEdits } from "./record-edits.js";
import { openPerplexity, perplexityMetric } from "./text-perplexity.js";

const FOLDER = "smollm2-135m-instruct";
const [CORPUS_LINES, CORPUS_TOKENS] = [256, 64];
const [PREFIXES, PREFIX_TOKENS] = [4, 8];
/** Facts that are asked for each one that is wanted among those that the model knows. */
const ASKED = 6;

const options = z.strictObject({
  edits: z.number().int().positive().default(20).describe("edits, each made on the untouched model"),
  watched: z.number().int().positive().default(2).describe("edits after which perplexity is taken"),
  text: z.number().int().positive().default(1024).describe("tokens of real text that perplexity is taken of"),
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

interface Opened {
  readonly base: EditedBase;
  readonly inputs: EditorInputs;
  readonly hash: string;
  /** Real text that no statistics were taken of. */
  readonly text: string;
}

function realEdits({ id, file, facts, summary }: RealEdits): Scenario {
  return {
    id,
    paradigm: "editing",
    model: FOLDER,
    summary,
    headline: "score",
    access: ["weights", "grad", "activations", "logits"],
    requires: ["data", "models"],
    options,
    run: async (cell, context) => {
      const { engine, seed, signal } = context;
      const sizes = options.parse(cell.options ?? {});
      const { base, inputs, hash, text } = await context.shared(FOLDER, () => openReal(context));
      const key = `${id} ${seed} ${sizes.edits}`;
      const { edits, metrics: known } = await context.shared(`${key} edits`, () =>
        chooseEdits(base, join(context.folders.data!, file), facts, sizes.edits, context),
      );
      const before = await context.shared(`${key} before`, () => readUntouched(base, edits, 0, context));
      const perplexity = await openPerplexity(base, text, sizes.text, context);
      const editor = await prepareEditor(cell.method, inputs, cell.config, { ...context, progress: () => {} });
      try {
        const untouched = await context.shared(`${FOLDER} perplexity ${sizes.text}`, () => perplexity.of(base.model, signal));
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

/** @throws {LfmError} FILE_IO where the folder of models has no such model */
async function openReal({ folders }: Pick<CellContext, "folders">): Promise<Opened> {
  const folder = join(folders.models!, FOLDER);
  if (!existsSync(folder))
    throw new LfmError("FILE_IO", `[@lfm/bench] there is no ${FOLDER} in ${folders.models}`, { hint: `npm run smollm2 -- ${folder}` });
  const { model, text: rules, hash } = await loadModel(folder);
  if (!rules) throw new LfmError("CAPABILITY_MISSING", `[@lfm/bench] ${folder} has no tokenizer`);
  const { splits } = await loadText("wikitext2", { folder: folders.data! });
  const lines = splits.train.split("\n").filter((line) => line.split(" ").length > 20);
  const parent = await hash();
  return {
    base: { model, rules },
    inputs: { model, parent, text: rules, corpus: corpusOf(lines, rules), prefixes: prefixesOf(lines, rules) },
    hash: parent,
    text: splits.test,
  };
}

function corpusOf(lines: readonly string[], rules: TextRules): Corpus {
  const rows = lines.slice(0, CORPUS_LINES).map((line) => [...rules.start, ...idsOfText(rules, line.trim())].slice(0, CORPUS_TOKENS));
  return tokenCorpus("wikitext2", padRows(rows), 8);
}

/** Beginnings of lines to put before the prompt, so that an edit does not hang on the beginning of the text. */
function prefixesOf(lines: readonly string[], rules: TextRules): readonly (readonly number[])[] {
  return lines.slice(-PREFIXES).map((line) => idsOfText(rules, line.trim()).slice(0, PREFIX_TOKENS));
}

interface Chosen {
  readonly edits: readonly RecordEdit[];
  readonly metrics: Readonly<Record<string, Metric>>;
}

/** Edits of the file in a random order, and how many of the facts that were asked the model knows. */
async function chooseEdits(
  { model, rules }: EditedBase,
  path: string,
  facts: RealEdits["facts"],
  count: number,
  { engine, seed, signal, log }: CellContext,
): Promise<Chosen> {
  const { edits, refused } = recordEdits(readEdits(path), rules);
  const asked = new Rng(seed).split("real edits").sample(edits, Math.min(edits.length, facts === "known" ? ASKED * count : count));
  const found = await knownOf({ model, rules }, asked, edits, { engine, ...(signal ? { signal } : {}) });
  const known = found.flatMap(({ edit, fact }) => (fact.known ? [edit] : []));
  log(
    `of ${found.length} facts the model names ${found.filter(({ fact }) => fact.first).length} first and knows ${known.length}; ${refused.length} records cannot be written into it`,
  );
  return {
    edits: (facts === "known" ? known : asked).slice(0, count),
    metrics: knownMetrics(found),
  };
}
