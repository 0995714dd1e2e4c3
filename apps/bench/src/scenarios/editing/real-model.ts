import { existsSync } from "node:fs";
import { join } from "node:path";
import { LfmError, padRows } from "@lfm/core";
import { loadText } from "@lfm/data";
import { type EditorInputs, mlpOutSite } from "@lfm/editing";
import { idsOfText, loadModel, type TextRules } from "@lfm/models";
import { type Corpus, collectGrams, type GramStatistics, tokenCorpus } from "@lfm/statistics";
import type { CellContext } from "../../scenario.js";
import type { EditedBase } from "./evaluate-edits.js";

/** The real language model of LFM_MODELS. */
export const SMOLLM2 = "smollm2-135m-instruct";
const [CORPUS_LINES, CORPUS_TOKENS, BATCH] = [256, 64, 16];
const [PREFIXES, PREFIX_TOKENS] = [4, 8];

/** A real model that is edited, and real text to do it with. */
export interface RealModel {
  readonly base: EditedBase;
  /** Texts to take statistics from are part of it; {@link keyStatistics} takes them once for all methods. */
  readonly inputs: EditorInputs & { readonly corpus: Corpus };
  readonly hash: string;
  /** Text that no statistics were taken of. */
  readonly text: string;
}

/** @throws {LfmError} FILE_IO where the folder of models has no such model */
export async function openReal({ folders }: Pick<CellContext, "folders">): Promise<RealModel> {
  const folder = join(folders.models!, SMOLLM2);
  if (!existsSync(folder))
    throw new LfmError("FILE_IO", `[@lfm/bench] there is no ${SMOLLM2} in ${folders.models}`, { hint: `npm run smollm2 -- ${folder}` });
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

/** Second moments of what flows into the MLPs' output projections of some blocks. */
export function keyStatistics(
  { base: { model }, inputs: { corpus }, hash }: RealModel,
  layers: readonly number[],
  { engine, signal, progress }: Pick<CellContext, "engine" | "signal" | "progress">,
): Promise<GramStatistics> {
  const sites = layers.map((layer) => mlpOutSite(model, layer));
  return collectGrams(engine, model, corpus, { sites, samples: corpus.samples, model: hash, progress, ...(signal ? { signal } : {}) });
}

function corpusOf(lines: readonly string[], rules: TextRules): Corpus {
  const rows = lines.slice(0, CORPUS_LINES).map((line) => [...rules.start, ...idsOfText(rules, line.trim())].slice(0, CORPUS_TOKENS));
  return tokenCorpus("wikitext2", padRows(rows), BATCH);
}

/** Beginnings of lines to put before the prompt, so that an edit does not hang on the beginning of the text. */
function prefixesOf(lines: readonly string[], rules: TextRules): readonly (readonly number[])[] {
  return lines.slice(-PREFIXES).map((line) => idsOfText(rules, line.trim()).slice(0, PREFIX_TOKENS));
}
