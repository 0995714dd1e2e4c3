import { type Command, Option } from "commander";
import { baseOption } from "../inputs/base-flag.js";
import type { EvalRunOptions } from "../jobs/eval-run.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { withComputeOptions } from "./compute-options.js";
import { readAmount, readCount, readList } from "./flag-values.js";

/** `lfm index`, `lfm search` and `lfm eval-run`. */
export async function registerSearch(program: Command, invocation: Invocation): Promise<void> {
  withComputeOptions(
    withCommonOptions(
      program
        .command("index")
        .argument(
          "<documents>",
          "documents: a .jsonl, .csv or .tsv with text (and id, title), a .txt with one a line, TREC's .trec, .html or .md, a BEIR folder, or a folder of such and of texts",
        ),
    ),
  )
    .description("build an index over documents: BM25 by words, or dense by a sentence encoder")
    .option("--kind <kind>", "bm25, or a dense index as faiss writes it: flat, HNSW32, IVF64,Flat, IVF64,PQ48, SQ8 … ,RFlat", "bm25")
    .option("--model <model>", "sentence encoder of a dense index: a Hugging Face folder, or org/name on the hub")
    .addOption(baseOption())
    .option("--k1 <x>", "BM25: saturation of the term frequency [0.9]", readAmount)
    .option("--b <x>", "BM25: weight of the document length [0.4]", readAmount)
    .option("--analyzer <name>", "BM25: how words are taken: english, words, cjk, thai, or a language such as german [english]")
    .addOption(
      new Option("--chunk <kind>", "cut documents first: at paragraphs, lines and words; sentences; or words").choices([
        "recursive",
        "sentences",
        "words",
      ]),
    )
    .option("--chunk-size <n>", "most that a chunk holds: characters of recursive [1000], words of the others [200]", readCount)
    .option("--chunk-overlap <n>", "most that it repeats of the one before [0]", readCount)
    .option("--out <dir>", "folder of the index (default lfm-out/index)")
    .option("--overwrite", "replace the index that is there")
    .option("--update", "bring the index that is there up to date: what has not changed is not encoded again")
    .action((documents: string, options: VerbOptions) =>
      act(invocation, options, async (console) =>
        (await import("../program/run-verb.js")).runVerb("index", { ...options, documents }, console, invocation),
      ),
    );
  withComputeOptions(
    withCommonOptions(
      program
        .command("search")
        .argument("<index>", "folder that lfm index wrote")
        .argument("[query...]", 'what is looked for; in an index of words also "phrases" and beginnings of words*'),
    ),
  )
    .description("search an index for words, or for all --topics into a TREC run; two indexes of the same documents are fused with --and")
    .option("--top <n>", "hits to show", readCount, 10)
    .option("--topics <file>", "queries: .jsonl with id and text, .tsv of id<TAB>text, TREC topics, or a BEIR folder")
    .option("--split <name>", "of a BEIR folder: only queries with judgements in this split")
    .option("--run <file>", "TREC run of the topics' hits")
    .option("--depth <n>", "hits per topic", readCount, 1000)
    .option("--tag <name>", "name of the run, its last column", "lfm")
    .option("--overwrite", "replace the run that is there")
    .option("--and <index>", "a second index: reciprocal rank fusion of both")
    .option("--ef <n>", "HNSW: documents kept in view [64]", readCount)
    .option("--probes <n>", "IVF: lists looked into [8]", readCount)
    .option("--rescore <n>", "RFlat: so many times the hits are compared again exactly [4]", readCount)
    .action((index: string, query: readonly string[], options: VerbOptions) =>
      act(invocation, options, async (console) =>
        (await import("../program/run-verb.js")).runVerb(
          "search",
          { ...options, index, ...(query.length > 0 ? { query: query.join(" ") } : {}) },
          console,
          invocation,
        ),
      ),
    );
  withCommonOptions(
    program
      .command("eval-run")
      .argument("<run>", "a TREC run: query Q0 document rank score tag")
      .argument("<qrels>", "judgements as TREC or BEIR have them, or a BEIR folder"),
  )
    .description("measure a run against judgements, as trec_eval does")
    .option("--measures <a,b,…>", "ndcg@10, recall@100, precision@5, map, mrr@10; trec_eval's names too", readList, DEFAULT_MEASURES)
    .option("--per-query", "every query's values as well")
    .option("--complete", "count judged queries that the run does not have as 0 (trec_eval -c)")
    .option("--split <name>", "of a BEIR folder", "test")
    .action((run: string, qrels: string, options: EvalRunOptions) =>
      act(invocation, options, async (console) => (await import("../jobs/eval-run.js")).evalRun(run, qrels, options, console)),
    );
}

const DEFAULT_MEASURES = ["ndcg@10", "recall@100", "map", "mrr@10"];
