import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type HostTensor, hostTensor } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { buildBm25, createVectorIndex, type VectorIndex, wordAnalyzer } from "@lfm/retrieval";
import { peerEngine } from "../engine.js";
import type { Prepared } from "../serve.js";

const K = 10;
/** Recall at 10 that both graphs are set to, by the least ef that reaches it. */
const RECALL = 0.95;
const WIDTHS = [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512];
const file = (name: string): string => join(process.env.LFM_SEARCH ?? "", name);

function vectors(): { readonly documents: HostTensor; readonly questions: HostTensor } {
  const { tensors } = readSafetensors(file("vectors.safetensors"));
  return { documents: tensors.documents!.read(), questions: tensors.questions!.read() };
}

function build(factory: string, documents: HostTensor): VectorIndex {
  const [n, d] = documents.shape as readonly [number, number];
  const index = createVectorIndex(factory, d, { metric: "inner-product" });
  index.add(
    Array.from({ length: n }, (_, i) => String(i)),
    documents,
  );
  return index;
}

const batch = ({ data, shape }: HostTensor, from: number, count: number): HostTensor =>
  hostTensor("f32", [count, shape[1]!], (data as Float32Array).slice(from * shape[1]!, (from + count) * shape[1]!));

/** The sum of the best scores: exact on both sides. */
export async function prepareFlat(size: number): Promise<Prepared> {
  const { documents, questions } = vectors();
  const index = build("Flat", documents);
  const engine = await peerEngine();
  const asked = Array.from({ length: Math.floor(256 / size) }, (_, i) => batch(questions, i * size, size));
  const repeat = async (): Promise<number> => {
    let sum = 0;
    for (const q of asked) for (const hits of await index.search(q, K, { engine })) for (const { score } of hits) sum += score;
    return sum;
  };
  await repeat();
  return { repeat, engine };
}

/** The recall of all questions, one after the other. */
export async function prepareGraph(): Promise<Prepared> {
  const { documents, questions } = vectors();
  const engine = await peerEngine();
  const truth = (await build("Flat", documents).search(questions, K, { engine })).map((hits) => new Set(hits.map((hit) => hit.id)));
  const index = build("HNSW32,SQ8,RFlat", documents);
  const at = async (ef: number): Promise<number> => {
    const found = await index.search(questions, K, { ef });
    return found.reduce((sum, hits, q) => sum + hits.filter((hit) => truth[q]!.has(hit.id)).length, 0) / (K * truth.length);
  };
  let ef = WIDTHS[0]!;
  for (const width of WIDTHS) {
    ef = width;
    if ((await at(width)) >= RECALL) break;
  }
  return { repeat: () => at(ef), engine };
}

/** The sum of the best scores of all questions; words stand between spaces on both sides. */
export async function prepareWords(): Promise<Prepared> {
  const lines = (name: string): string[] => readFileSync(file(name), "utf8").split("\n").slice(0, -1);
  const index = buildBm25(
    lines("documents.txt").map((text, i) => ({ id: String(i), text })),
    { analyzer: wordAnalyzer(), lengths: "exact" },
  );
  const questions = lines("questions.txt");
  const repeat = async (): Promise<number> =>
    questions.reduce((sum, text) => sum + index.search(text, K).reduce((a, { score }) => a + score, 0), 0);
  await repeat();
  return { repeat };
}
