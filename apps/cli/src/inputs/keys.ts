import { readFileSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { type Examples, readExamples, statement } from "@lfm/data";
import type { EditingInputs } from "@lfm/editing";
import { loadZoo } from "@lfm/models/zoo";
import { loadStats, requireKind } from "@lfm/statistics";
import type { NamedModel } from "./models.js";
import { corpusOf, drawn } from "./probes.js";

/** Most texts that the second moments of keys are taken from while an edit waits; `lfm stats gram` takes as many as it is told. */
const TEXTS = 2000;

interface KeysRequest {
  readonly model: string;
  /** A file of texts: a line each, or as {@link readExamples} reads. */
  readonly corpus?: string;
  /** What `lfm stats gram` wrote. */
  readonly statistics?: string;
  readonly seed?: number;
}

/**
 * What an edit is told of the keys of a model: statistics that were taken before, or texts to take them from; zoo-lm brings sentences of its
 * world. Texts are read as `lfm stats gram` reads them, so that the same ones give the same patch.
 * @throws {LfmError} CONFIG_INVALID for both, or statistics of another kind; FILE_IO, FILE_FORMAT
 */
export async function keysOf(request: KeysRequest, base: NamedModel): Promise<Pick<EditingInputs, "corpus" | "statistics">> {
  if (request.statistics !== undefined) {
    if (request.corpus !== undefined)
      throw new LfmError("CONFIG_INVALID", "lfm: --statistics holds what --corpus would be read for", { hint: "give one of them" });
    return { statistics: requireKind(loadStats(request.statistics), "gram", base.name) };
  }
  const texts = await textsOf(request);
  const seed = request.seed ?? 0;
  return texts ? { corpus: corpusOf(base, drawn(texts, TEXTS, seed), { batchSize: 16, maxLength: 128, seed }) } : {};
}

async function textsOf({ corpus, model }: KeysRequest): Promise<Examples | undefined> {
  if (corpus !== undefined && /\.(jsonl|ndjson|csv|tsv)$/i.test(corpus)) return readExamples(corpus);
  if (corpus !== undefined) return textExamples(linesOf(corpus));
  if (model !== "zoo-lm") return undefined;
  const { world } = await loadZoo();
  return textExamples(world.facts.map((fact, i) => statement(world, fact, i % world.relation(fact.relation).templates.length)));
}

function linesOf(path: string): string[] {
  try {
    return readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => line.trim() !== "");
  } catch (cause) {
    throw new LfmError("FILE_IO", `lfm: cannot read ${path}`, { cause, hint: "--corpus is a file of texts, a line each" });
  }
}

function textExamples(texts: readonly string[]): Examples {
  return { kind: "text", rows: texts.map((text) => ({ text })) };
}
