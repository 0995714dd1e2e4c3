import { forEachLine, formatError, isMissing, isRecord, parseJson } from "./files.js";
import { type DatasetLocation, readPinnedText } from "./folder.js";

export interface RetrievalDocument {
  readonly id: string;
  readonly title: string;
  readonly text: string;
}

export interface RetrievalQuery {
  readonly id: string;
  readonly text: string;
}

/** Relevance of documents to queries: query id → document id → grade (0 = judged not relevant). */
export type RelevanceJudgements = Readonly<Record<string, Readonly<Record<string, number>>>>;

export interface RetrievalSet {
  readonly name: "scifact";
  readonly documents: readonly RetrievalDocument[];
  readonly splits: {
    /** Missing where the optional file of training claims is not at hand. */
    readonly train?: { readonly queries: readonly RetrievalQuery[]; readonly qrels: RelevanceJudgements };
    readonly test: { readonly queries: readonly RetrievalQuery[]; readonly qrels: RelevanceJudgements };
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
    documents: parseCorpus(corpus!.path, corpus!.text),
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

/** One JSON object a line: `_id`, `title`, `text`. @throws {LfmError} FILE_FORMAT */
export function parseCorpus(path: string, text: string): RetrievalDocument[] {
  const documents: RetrievalDocument[] = [];
  forEachLine(text, (line, number) => {
    const row = parseJson(path, line, number);
    if (!isRecord(row) || typeof row._id !== "string" || typeof row.text !== "string") {
      throw formatError(path, "expected an object with _id and text", { line: number });
    }
    documents.push({ id: row._id, title: typeof row.title === "string" ? row.title : "", text: row.text });
  });
  return documents;
}

/** `id<TAB>text` a line. @throws {LfmError} FILE_FORMAT */
export function parseTopics(path: string, text: string): RetrievalQuery[] {
  const queries: RetrievalQuery[] = [];
  forEachLine(text, (line, number) => {
    const tab = line.indexOf("\t");
    if (tab <= 0) throw formatError(path, "expected id<TAB>text", { line: number });
    queries.push({ id: line.slice(0, tab), text: line.slice(tab + 1) });
  });
  return queries;
}

/** TREC form: `query 0 document grade` a line. @throws {LfmError} FILE_FORMAT */
export function parseQrels(path: string, text: string): RelevanceJudgements {
  const qrels: Record<string, Record<string, number>> = {};
  forEachLine(text, (line, number) => {
    const [query, , document, grade, ...rest] = line.trim().split(/\s+/);
    if (grade === undefined || rest.length > 0 || !/^-?\d+$/.test(grade)) {
      throw formatError(path, "expected: query 0 document grade", { line: number });
    }
    qrels[query!] ??= {};
    qrels[query!]![document!] = Number(grade);
  });
  return qrels;
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
