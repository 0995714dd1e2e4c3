import { copyFileSync, mkdirSync, mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { ortEngine } from "@lfm/core";
import { loadTokenizer } from "@lfm/formats";
import { createEncoder, loadModel } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const golden = join(import.meta.dirname, "../../../packages/models/test/golden");
const root = mkdtempSync(join(tmpdir(), "lfm-dense-"));
const at = (name: string): string => join(root, name);
const documents = ["the cat sat on the mat", "a dog ran home to Paris", "Rome is red", "one two three red blue green"];

function encoderFolder(name: string, whole: object): string {
  const folder = at(name);
  mkdirSync(join(folder, "1_Pooling"), { recursive: true });
  for (const file of ["config.json", "model.safetensors"]) copyFileSync(join(golden, "bert-encoder", file), join(folder, file));
  for (const file of ["tokenizer.json", "tokenizer_config.json"]) copyFileSync(join(golden, "sentence-folders", file), join(folder, file));
  const write = (file: string, value: unknown): void => writeFileSync(join(folder, file), JSON.stringify(value));
  const types = ["Transformer", "Pooling"];
  write(
    "modules.json",
    types.map((type, i) => ({ path: i === 0 ? "" : "1_Pooling", type: `sentence_transformers.models.${type}` })),
  );
  write("1_Pooling/config.json", { pooling_mode_cls_token: true });
  write("sentence_bert_config.json", { max_seq_length: 6 });
  write("config_sentence_transformers.json", whole);
  return folder;
}

interface Found {
  readonly hits: readonly { readonly id: string; readonly score: number }[];
}

/** Products of vectors that the package makes by hand, with the prompts written out. */
async function scores(
  folder: string,
  query: string,
  prompts: readonly [query: string, document: string],
  unit: boolean,
): Promise<number[]> {
  const { model } = await loadModel(folder);
  const encoder = await createEncoder(await ortEngine({ threads: 1 }), model, await loadTokenizer(folder), {
    pooling: "cls",
    maxLength: 6,
    normalize: unit,
  });
  const { data, shape } = await encoder.encode([prompts[0] + query, ...documents.map((d) => prompts[1] + d)]);
  await encoder.dispose();
  const row = (i: number): number[] => Array.from(data.slice(i * shape[1]!, (i + 1) * shape[1]!), Number);
  return documents.map((_, i) => row(0).reduce((sum, v, j) => sum + v * row(i + 1)[j]!, 0));
}

beforeAll(() => {
  writeFileSync(at("docs.jsonl"), documents.map((text, i) => `${JSON.stringify({ id: String(i), text })}\n`).join(""));
});

describe("a dense index", () => {
  it.each<[string, object, readonly [string, string], boolean]>([
    ["pools, cuts and compares as the folder says", {}, ["", ""], true],
    [
      "puts the folder's prompts before queries and documents",
      { prompts: { query: "query: ", passage: "passage: " } },
      ["query: ", "passage: "],
      true,
    ],
    ["compares by products where the folder does", { similarity_fn_name: "dot" }, ["", ""], false],
  ])("%s, from any working directory", async (name, whole, prompts, unit) => {
    const folder = encoderFolder(name.replaceAll(" ", "-"), whole);
    const index = at(`index of ${name}`);
    await lfmJson("index", at("docs.jsonl"), "--kind", "flat", "--model", relative(process.cwd(), folder), "--out", index);
    const { hits } = (await (async () => {
      const here = process.cwd();
      process.chdir(root);
      try {
        return await lfmJson("search", index, "cat", "on", "road", "--top", "4");
      } finally {
        process.chdir(here);
      }
    })()) as unknown as Found;
    const wanted = await scores(folder, "cat on road", prompts, unit);
    const order = wanted.map((score, i) => ({ id: String(i), score })).sort((a, b) => b.score - a.score);
    expect(hits.map((h) => h.id)).toEqual(order.map((h) => h.id));
    for (const [i, hit] of hits.entries()) expect(hit.score).toBeCloseTo(order[i]!.score, 4);
  });

  it("is any that faiss writes, and says what it does not know", async () => {
    const folder = encoderFolder("small", {});
    const exact = (await (async () => {
      await lfmJson("index", at("docs.jsonl"), "--kind", "flat", "--model", folder, "--out", at("exact"));
      return lfmJson("search", at("exact"), "cat", "--top", "4");
    })()) as unknown as Found;
    for (const [kind, ...wish] of [
      ["HNSW4,SQ8,RFlat", "--ef", "9", "--rescore", "4"],
      ["IVF2,Flat", "--probes", "2"],
    ] as const) {
      const out = at(`index ${kind}`);
      expect(await lfmJson("index", at("docs.jsonl"), "--kind", kind, "--model", folder, "--out", out)).toMatchObject({ kind });
      const { hits } = (await lfmJson("search", out, "cat", "--top", "4", ...wish)) as unknown as Found;
      expect(hits.map((hit) => hit.id)).toEqual(exact.hits.map((hit) => hit.id));
    }
    const few = await runLfm("index", at("docs.jsonl"), "--kind", "IVF9,Flat", "--model", folder, "--out", at("few"));
    expect(few).toMatchObject({ code: 2, err: expect.stringContaining("at least 9 vectors") });
    const unknown = await runLfm("index", at("docs.jsonl"), "--kind", "bm26", "--out", at("unknown"));
    expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining('"bm26" names no index') });
  });

  it("is brought up to date: what has not changed is kept, and finds what a new one finds", async () => {
    const folder = encoderFolder("kept", {});
    const write = (texts: readonly string[]): void =>
      writeFileSync(at("changing.jsonl"), texts.map((text, i) => `${JSON.stringify({ id: String(i), text })}\n`).join(""));
    const index = (out: string, ...more: string[]): Promise<Record<string, unknown>> =>
      lfmJson("index", at("changing.jsonl"), "--kind", "HNSW4", "--model", folder, "--out", at(out), ...more);
    write(documents);
    expect(await index("changing", "--update")).not.toHaveProperty("kept");
    write([documents[0]!, "a king ran home", documents[2]!]);
    expect(await index("changing", "--update")).toMatchObject({ documents: 3, kept: 2, added: 1, removed: 2 });
    await index("anew");
    const [kept, anew] = [await lfmJson("search", at("changing"), "cat"), await lfmJson("search", at("anew"), "cat")] as unknown as [
      Found,
      Found,
    ];
    expect(kept.hits).toEqual(anew.hits.map((hit) => expect.objectContaining({ id: hit.id, score: expect.closeTo(hit.score, 4) })));
    const other = await runLfm("index", at("changing.jsonl"), "--kind", "flat", "--model", folder, "--out", at("changing"), "--update");
    expect(other).toMatchObject({ code: 2, err: expect.stringContaining("another kind, model or chunks") });
  });

  it("is refused where vectors want to be compared by a distance", async () => {
    const folder = encoderFolder("euclid", { similarity_fn_name: "euclidean" });
    expect(await runLfm("index", at("docs.jsonl"), "--kind", "flat", "--model", folder, "--out", at("no"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("euclidean"),
    });
  });
});
