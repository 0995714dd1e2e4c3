/**
 * `tsx --conditions=@lfm/source tools/peers/search-data.ts FOLDER`: what the comparisons of search are run on, made once. Sentences of SciFact, WikiText-2,
 * CLINC150 and SNIPS (LFM_DATA), each once, up to 100,000; their vectors by all-MiniLM-L6-v2 (LFM_MODELS); 500 more of them are the questions. For words:
 * the abstracts and claims of SciFact as the terms that our English analyzer makes, so that both sides see the same words.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { hostTensor, ortEngine, Rng } from "@lfm/core";
import { loadClassification, loadSciFact, loadText } from "@lfm/data";
import { writeSafetensors } from "@lfm/formats";
import { createEncoder, loadModel } from "@lfm/models";
import { englishAnalyzer, passageText } from "@lfm/retrieval";

const MOST = 100_000;
const QUESTIONS = 500;
const BATCH = 256;

const out = process.argv[2];
if (out === undefined) throw new Error("usage: search-data.ts FOLDER");
mkdirSync(out, { recursive: true });
const location = { folder: process.env.LFM_DATA ?? "" };
const set = await loadSciFact(location);

const analyzer = englishAnalyzer();
const write = (name: string, texts: readonly string[]): void =>
  writeFileSync(join(out, name), texts.map((text) => `${analyzer.analyze(text).join(" ")}\n`).join(""));
write("documents.txt", set.documents.map(passageText));
write(
  "questions.txt",
  set.splits.test.queries.map((query) => query.text),
);

const segmenter = new Intl.Segmenter("en", { granularity: "sentence" });
const sentencesOf = (text: string): string[] =>
  [...segmenter.segment(text)].map(({ segment }) => segment.replace(/\s+/g, " ").trim()).filter((s) => s.length >= 20 && s.length <= 400);
const wikitext = await loadText("wikitext2", location);
const labelled = await Promise.all((["clinc150", "snips"] as const).map((name) => loadClassification(name, location)));
const all = new Set([
  ...set.documents.flatMap((document) => sentencesOf(document.text)),
  ...Object.values(wikitext.splits).flatMap((text) => sentencesOf(text)),
  ...labelled.flatMap(({ splits }) => Object.values(splits).flatMap((rows) => rows.map((row) => row.text))),
]);
const sentences = new Rng(1).sample([...all], MOST + QUESTIONS);
console.log(`${sentences.length} sentences`);

const { model, tokenizer } = await loadModel(join(process.env.LFM_MODELS ?? "", "all-MiniLM-L6-v2"));
const encoder = await createEncoder(await ortEngine(), model, tokenizer!, { normalize: true, maxLength: 128 });
const d = encoder.dimension;
const vectors = new Float32Array(sentences.length * d);
for (let at = 0; at < sentences.length; at += BATCH) {
  vectors.set((await encoder.encode(sentences.slice(at, at + BATCH))).data as Float32Array, at * d);
  process.stderr.write(`\r${Math.min(sentences.length, at + BATCH)} encoded`);
}
await encoder.dispose();
const n = sentences.length - QUESTIONS;
await writeSafetensors(join(out, "vectors.safetensors"), {
  documents: hostTensor("f32", [n, d], vectors.slice(0, n * d)),
  questions: hostTensor("f32", [QUESTIONS, d], vectors.slice(n * d)),
});
