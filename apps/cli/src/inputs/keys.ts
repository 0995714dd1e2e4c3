import { LfmError } from "@lfm/core";
import { type Examples, readExamples, readTextFile, statement } from "@lfm/data";
import { loadZoo } from "@lfm/models/zoo";
import { type Corpus, type GramStatistics, loadStats, requireKind } from "@lfm/statistics";
import { corpusOf, drawn } from "./probes.js";
import type { Sources } from "./sources.js";

/** Most texts that the second moments of keys are taken from while an edit waits; `lfm stats gram` takes as many as it is told. */
const TEXTS = 2000;

/**
 * Texts to take the keys of a model from; zoo-lm brings sentences of its world. They are read as `lfm stats gram` reads them, so that the same
 * ones give the same patch.
 * @throws {LfmError} CONFIG_INVALID for statistics beside them; FILE_IO, FILE_FORMAT
 */
export async function openKeyCorpus(s: Sources): Promise<Corpus | undefined> {
  const file = s.text("corpus");
  if (s.text("statistics") !== undefined) {
    if (file === undefined) return undefined;
    throw new LfmError("CONFIG_INVALID", "lfm: --statistics holds what --corpus would be read for", { hint: "give one of them" });
  }
  const [base, o] = [await s.reader(), s.batching];
  const texts = await textsOf(file, base.name);
  return texts && corpusOf(base, drawn(texts, TEXTS, o.seed), o);
}

/** What `lfm stats gram` took of the model. @throws {LfmError} CONFIG_INVALID for statistics of another kind; FILE_IO, FILE_FORMAT */
export async function openGram(s: Sources): Promise<GramStatistics | undefined> {
  const file = s.text("statistics");
  return file === undefined ? undefined : requireKind(loadStats(file), "gram", (await s.reader()).name);
}

async function textsOf(corpus: string | undefined, model: string): Promise<Examples | undefined> {
  if (corpus !== undefined && /\.(jsonl|ndjson|csv|tsv)$/i.test(corpus)) return readExamples(corpus);
  if (corpus !== undefined) return textExamples(linesOf(corpus));
  if (model !== "zoo-lm") return undefined;
  const { world } = await loadZoo();
  return textExamples(world.facts.map((fact, i) => statement(world, fact, i % world.relation(fact.relation).templates.length)));
}

function linesOf(path: string): string[] {
  return readTextFile(path, "--corpus is a file of texts, a line each")
    .split("\n")
    .filter((line) => line.trim() !== "");
}

function textExamples(texts: readonly string[]): Examples {
  return { kind: "text", rows: texts.map((text) => ({ text })) };
}
