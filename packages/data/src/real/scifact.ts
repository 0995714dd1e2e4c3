import { formatError, isMissing, isRecord, parseJson } from "../files.js";
import { parsePassages } from "../retrieval/passages.js";
import { parseTopics } from "../retrieval/topics.js";
import { parseQrels } from "../retrieval/trec.js";
import type { Passage, Qrels, Query } from "../retrieval/types.js";
import { type DatasetLocation, readPinnedText } from "./folder.js";

export interface RetrievalSet {
  readonly name: "scifact";
  readonly documents: readonly Passage[];
  readonly splits: {
    /** Missing where the optional file of training claims is not at hand. */
    readonly train?: { readonly queries: readonly Query[]; readonly qrels: Qrels };
    readonly test: { readonly queries: readonly Query[]; readonly qrels: Qrels };
  };
}

/** SciFact as BEIR poses it: 300 claims against 5,183 abstracts. @throws {LfmError} FILE_IO, FILE_FORMAT */
export async function loadSciFact(location: DatasetLocation = {}): Promise<RetrievalSet> {
  const [corpus, topics, qrels] = await Promise.all(
    ["corpus.jsonl.gz", "topics.test.tsv.gz", "qrels.test.txt"].map((file) => readPinnedText("scifact", file, location)),
  );
  const test = { queries: parseTopics(topics!.path, topics!.text), qrels: parseQrels(qrels!.path, qrels!.text) };
  const claims = await readTrainingClaims(location);
  const train = claims && without(claims, new Set(test.queries.map((query) => query.text)));
  return {
    name: "scifact",
    documents: parsePassages(corpus!.path, corpus!.text),
    splits: {
      ...(train ? { train } : {}),
      test,
    },
  };
}

type Split = RetrievalSet["splits"]["test"];

/** The published training claims repeat two of the test claims under other ids; training must not see them. */
function without(split: Split, texts: ReadonlySet<string>): Split {
  const queries = split.queries.filter((query) => !texts.has(query.text));
  return { queries, qrels: Object.fromEntries(queries.map(({ id }) => [id, split.qrels[id]!])) };
}

async function readTrainingClaims(location: DatasetLocation): Promise<Split | undefined> {
  try {
    const { path, text } = await readPinnedText("scifact", "claims_train.json", location);
    return parseClaims(path, text);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

/** Claims with the abstracts they cite; a claim with evidence in several abstracts stands in several rows. @throws {LfmError} FILE_FORMAT */
export function parseClaims(path: string, text: string): Split {
  const rows = parseJson(path, text);
  if (!Array.isArray(rows)) throw formatError(path, "expected a list of claims");
  const texts = new Map<string, string>();
  const qrels: Record<string, Record<string, number>> = {};
  for (const [i, row] of rows.entries()) {
    if (!isRecord(row) || typeof row.id !== "string" || typeof row.claim !== "string" || typeof row.cited_doc_ids !== "string") {
      throw formatError(path, `claim ${i} lacks id, claim or cited_doc_ids`);
    }
    if (!/^\[[\d\s,]*\]$/.test(row.cited_doc_ids)) throw formatError(path, `claim ${i}: cited_doc_ids is not a list of numbers`);
    const cited = row.cited_doc_ids.match(/\d+/g) ?? [];
    texts.set(row.id, row.claim);
    qrels[row.id] ??= {};
    for (const document of cited) qrels[row.id]![document] = 1;
  }
  return { queries: [...texts].map(([id, claim]) => ({ id, text: claim })), qrels };
}
