import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { isLfmError, type Progress } from "@lfm/core";
import { encode } from "fast-png";
import { zipSync } from "fflate";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parsePassages } from "../retrieval/passages.js";
import { parseTopics } from "../retrieval/topics.js";
import { parseQrels } from "../retrieval/trec.js";
import { everyTenth, parseBanking77, parseClinc150, parseSnips, parseSst2 } from "./classification.js";
import { checkContent } from "./folder.js";
import { parseDigits, readCharacters } from "./images.js";
import { DATASET_NAMES, datasetManifest, listDatasets, loadClassification, loadText, pullDataset, showDataset } from "./index.js";
import type { DatasetManifest } from "./manifest.js";
import { pullManifest } from "./pull.js";
import { parseClaims } from "./scifact.js";
import { cutAtLines } from "./text.js";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "lfm-data-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const codeOf = async (promise: Promise<unknown>): Promise<{ code: string; hint: string | undefined; message: string }> => {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  if (!isLfmError(error)) throw new Error("expected an LfmError");
  return { code: error.code, hint: error.hint, message: error.message };
};

describe("manifests", () => {
  it("pin every file of nine sets", () => {
    expect(listDatasets().map((set) => set.name)).toEqual([...DATASET_NAMES]);
    for (const name of DATASET_NAMES) {
      const { files, licence, counts } = datasetManifest(name);
      expect(licence).not.toBe("");
      expect(Object.values(counts).every((n) => n > 0)).toBe(true);
      for (const file of files) {
        expect(file.sha256).toMatch(/^[0-9a-f]{64}$/);
        expect(file.bytes).toBeGreaterThan(0);
        if (file.url === null) expect(file.optional).toBe(true);
      }
    }
  });

  it("suggest the nearest name", () => {
    expect(() => datasetManifest("clinc15")).toThrow(expect.objectContaining({ hint: 'did you mean "clinc150"?' }));
  });
});

describe("missing and changed files", () => {
  it("say how to get a missing set", async () => {
    const { code, hint } = await codeOf(loadClassification("banking77", { folder }));
    expect(code).toBe("FILE_IO");
    expect(hint).toMatch(/LFM_DATA.*lfm data pull banking77/);
  });

  it("name a file with other content", async () => {
    await mkdir(join(folder, "tinyshakespeare"));
    await writeFile(join(folder, "tinyshakespeare", "input.txt"), "To be");
    const { code, message } = await codeOf(loadText("tinyshakespeare", { folder }));
    expect(code).toBe("FILE_FORMAT");
    expect(message).toMatch(/^\[@lfm\/data\] .*input\.txt: 5 bytes/);
    const shown = await showDataset("tinyshakespeare", { folder });
    expect(shown.complete).toBe(false);
    expect(shown.states[0]).toMatchObject({ path: "input.txt", state: "changed" });
  });

  it("compare the hash even where the length agrees", () => {
    const content = Buffer.from("abc");
    const file = { path: "a", bytes: 3, sha256: createHash("sha256").update(content).digest("hex"), url: null, verified: false };
    expect(() => checkContent("a", file, content)).not.toThrow();
    expect(() => checkContent("a", file, Buffer.from("abd"))).toThrow(/sha256/);
  });
});

describe("pullDataset", () => {
  const reply = (body: Uint8Array | string, status = 200): typeof fetch => {
    return async () => new Response(body as string, { status });
  };

  it("refuses what is not the pinned content and leaves nothing behind", async () => {
    const { bytes } = datasetManifest("tinyshakespeare").files[0]!;
    expect((await codeOf(pullDataset("tinyshakespeare", { folder, fetch: reply("short") }))).code).toBe("FILE_FORMAT");
    expect((await codeOf(pullDataset("tinyshakespeare", { folder, fetch: reply("x".repeat(bytes)) }))).message).toMatch(/sha256/);
    expect((await codeOf(pullDataset("tinyshakespeare", { folder, fetch: reply("x".repeat(bytes + 70000)) }))).message).toMatch(/longer/);
    expect((await showDataset("tinyshakespeare", { folder })).states[0]!.state).toBe("missing");
  });

  it("downloads what is missing, packs what is stored as gzip, and fetches nothing twice", async () => {
    const content = Buffer.from("hello\n");
    const pinned = { sha256: createHash("sha256").update(content).digest("hex"), bytes: content.length, verified: true };
    const manifest: DatasetManifest = {
      ...datasetManifest("sst2"),
      files: [
        { ...pinned, path: "plain.txt", url: "https://example.org/plain" },
        { ...pinned, path: "packed.gz", url: "https://example.org/packed", pack: "gzip" },
        { ...pinned, path: "served.gz", url: "https://example.org/served.gz" },
        { ...pinned, path: "gone.txt", url: null, optional: true },
      ],
    };
    const served = async (input: unknown): Promise<Response> =>
      new Response(String(input).endsWith(".gz") ? gzipSync(content) : content, { status: 200 });
    const done: number[] = [];
    const options = { folder, fetch: served as typeof fetch, progress: (p: Progress) => done.push(p.done) };
    const first = await pullManifest(manifest, options);
    expect(first).toMatchObject({ downloaded: ["plain.txt", "packed.gz", "served.gz"], present: [], unavailable: ["gone.txt"] });
    expect(done).toEqual([6, 12, 18, 24]);
    expect(gunzipSync(await readFile(join(folder, "sst2", "packed.gz"))).toString()).toBe("hello\n");
    expect(await readdir(join(folder, "sst2"))).toHaveLength(3);
    const never: typeof fetch = async () => {
      throw new Error("fetched again");
    };
    expect((await pullManifest(manifest, { folder, fetch: never })).present).toEqual(["plain.txt", "packed.gz", "served.gz"]);
  });

  it("reports a refusal of the server and a network failure", async () => {
    expect(await codeOf(pullDataset("sst2", { folder, fetch: reply("", 403) }))).toMatchObject({ code: "FILE_IO" });
    const broken: typeof fetch = async () => {
      throw new TypeError("no route");
    };
    expect((await codeOf(pullDataset("sst2", { folder, fetch: broken }))).message).toMatch(/download failed: no route/);
  });

  it("stops on request before the first file", async () => {
    const signal = AbortSignal.abort();
    expect((await codeOf(pullDataset("sst2", { folder, fetch: reply(""), signal }))).code).toBe("ABORTED");
  });
});

describe("parsers", () => {
  it("clinc150", () => {
    const all = { train: [["a", "x"]], val: [], test: [], oos_train: [["o", "oos"]], oos_val: [], oos_test: [] };
    expect(parseClinc150("f", JSON.stringify(all)).oos_train).toEqual([["o", "oos"]]);
    expect(() => parseClinc150("f", '{"train":[[1,2]]}')).toThrow(/train\[0\]/);
    expect(() => parseClinc150("f", '{"train":[]}')).toThrow(/"val" is missing/);
  });

  it("banking77 with quoted commas and line breaks", () => {
    expect(parseBanking77("f", 'text,category\n"a, ""b""\n",c\n')).toEqual([['a, "b"', "c"]]);
    expect(() => parseBanking77("f", "text,label\n")).toThrow(/f:1/);
  });

  it("snips joins pieces", () => {
    const file = { PlayMusic: [{ data: [{ text: "play " }, { text: "jazz", entity: "genre" }] }] };
    expect(parseSnips("f", JSON.stringify(file), "PlayMusic")).toEqual([["play jazz", "PlayMusic"]]);
    expect(() => parseSnips("f", JSON.stringify(file), "GetWeather")).toThrow(/GetWeather/);
  });

  it("sst2 names the line", () => {
    expect(parseSst2("f", "good\t1\nbad\t0\n")).toEqual([
      { text: "good", label: 1 },
      { text: "bad", label: 0 },
    ]);
    expect(() => parseSst2("f", "good\t1\nbad\t2\n")).toThrow(/f:2/);
  });

  it("every tenth of each class is taken", () => {
    const rows = Array.from({ length: 25 }, (_, i) => [`${i}`, i % 2 === 0 ? "even" : "odd"] as const);
    const [kept, taken] = everyTenth(rows);
    expect(taken.map(([text]) => text)).toEqual(["18", "19"]);
    expect(kept).toHaveLength(23);
  });

  it("scifact", () => {
    expect(parsePassages("f", '{"_id":"1","title":"T","text":"x"}\n')).toEqual([{ id: "1", title: "T", text: "x" }]);
    expect(() => parsePassages("f", '{"_id":1}\n')).toThrow(/f:1/);
    expect(parseTopics("f", "7\ta b\n")).toEqual([{ id: "7", text: "a b" }]);
    expect(parseQrels("f", "7 0 1 1\n7 0 2 0\n")).toEqual({ 7: { 1: 1, 2: 0 } });
    expect(() => parseQrels("f", "7 0 1\n")).toThrow(/f:1/);
    const claim = { id: "3", claim: "c", evidence_doc_id: "", cited_doc_ids: "[12 13]" };
    expect(parseClaims("f", JSON.stringify([claim, claim]))).toEqual({ queries: [{ id: "3", text: "c" }], qrels: { 3: { 12: 1, 13: 1 } } });
  });

  it("text is cut behind line breaks and loses nothing", () => {
    const text = "ab\ncd\nef\ngh\n";
    const parts = cutAtLines(text, [0.5, 0.7]);
    expect(parts.join("")).toBe(text);
    expect(parts).toEqual(["ab\ncd\nef\n", "", "gh\n"]);
  });

  it("omniglot: ink is 1, averaged over areas, characters in order", () => {
    const png = encode({
      width: 4,
      height: 4,
      channels: 1,
      depth: 8,
      data: Uint8Array.from({ length: 16 }, (_, i) => (i % 4 < 2 ? 0 : 255)),
    });
    const archive = zipSync({ "set/Greek/character02/b_01.png": png, "set/Greek/character01/a_01.png": png });
    const characters = readCharacters("f", archive, 2);
    expect(characters.map((c) => c.name)).toEqual(["character01", "character02"]);
    expect(Array.from(characters[0]!.drawings[0]!)).toEqual([1, 0, 1, 0]);
    expect(() => readCharacters("f", archive.slice(0, 40), 2)).toThrow(/damaged zip/);
    expect(() => readCharacters("f", zipSync({ "set/G/c/x.png": Uint8Array.of(1, 2) }), 2)).toThrow(/damaged PNG/);
  });

  it("mnist", () => {
    const data = Array.from({ length: 1568 }, (_, i) => (i < 784 ? 0 : 0.5));
    expect(parseDigits("f", JSON.stringify({ data })).map((image) => image[0])).toEqual([0, 0.5]);
    expect(() => parseDigits("f", '{"data":[1]}')).toThrow(/784/);
    expect(() => parseDigits("f", JSON.stringify({ data: data.map((x) => x * 4) }))).toThrow(/outside/);
  });
});
