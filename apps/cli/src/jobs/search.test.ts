import { mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-search-"));
const at = (name: string): string => join(folder, name);

beforeAll(() => {
  writeFileSync(
    at("docs.csv"),
    'id,title,text\nd-17,Felines,The cat sat on the mat.\nd-04,Canines,A dog ran home.\nd-99,Rome,"Roads lead there, all of them."\n',
  );
  writeFileSync(
    at("docs.trec"),
    "<DOC><DOCNO>t1</DOCNO><TITLE>Felines</TITLE><TEXT>The cat sat.</TEXT></DOC>\n<DOC><DOCNO>t2</DOCNO><TEXT>A dog ran.</TEXT></DOC>\n",
  );
  writeFileSync(at("topics.tsv"), "1\tfelines\n2\tdogs that run\n3\tunheard of\n");
  writeFileSync(at("qrels"), "1 0 t1 1\n2 0 t1 0\n2 0 t2 2\n3 0 t2 1\n");
});

describe("documents from the command line", () => {
  it("keep ids and titles of a table", async () => {
    await lfmJson("index", at("docs.csv"), "--out", at("csv"));
    const { hits } = await lfmJson("search", at("csv"), "felines");
    expect(hits).toMatchObject([{ id: "d-17", title: "Felines", text: "The cat sat on the mat." }]);
  });

  it("are found by phrases and beginnings of words", async () => {
    const ids = async (query: string) => ((await lfmJson("search", at("csv"), query)).hits as { id: string }[]).map((h) => h.id);
    expect(await ids('"sat on the mat"')).toEqual(["d-17"]);
    expect(await ids('"mat sat"')).toEqual([]);
    expect(await ids("ro*")).toEqual(["d-99"]);
    expect(await ids("cani* feli*")).toEqual(expect.arrayContaining(["d-04", "d-17"]));
  });

  it("are cut into chunks, and brought up to date", async () => {
    const [long, at2] = ["The cat sat. The dog ran. The road leads to Rome.", at("long.jsonl")];
    writeFileSync(at2, `${JSON.stringify({ id: "x", title: "Animals", text: long })}\n${JSON.stringify({ id: "y", text: "short" })}\n`);
    const chunks = ["--chunk", "sentences", "--chunk-size", "3"];
    expect(await lfmJson("index", at2, "--out", at("chunks"), ...chunks)).toMatchObject({
      documents: 4,
      chunks: { kind: "sentences", size: 3 },
    });
    expect(await lfmJson("search", at("chunks"), "dog")).toMatchObject({ hits: [{ id: "x#2", title: "Animals", text: "The dog ran." }] });
    writeFileSync(at2, `${JSON.stringify({ id: "x", title: "Animals", text: long.replace("dog", "hen") })}\n`);
    expect(await lfmJson("index", at2, "--out", at("chunks"), ...chunks, "--update")).toMatchObject({
      documents: 3,
      kept: 2,
      added: 1,
      removed: 2,
    });
    expect(await lfmJson("search", at("chunks"), "hen")).toMatchObject({ hits: [{ id: "x#2" }] });
    const alone = await runLfm("index", at2, "--chunk-size", "3", "--out", at("no"));
    expect(alone).toMatchObject({ code: 2, err: expect.stringContaining("need --chunk") });
  });

  it("are found by the forms of their language", async () => {
    writeFileSync(at("de.jsonl"), '{"id":"de","text":"Die Häuser der Städte"}\n{"id":"ko","text":"서울은 대한민국의 수도이다"}\n');
    await lfmJson("index", at("de.jsonl"), "--analyzer", "german", "--out", at("de"));
    expect(await lfmJson("search", at("de"), "haus")).toMatchObject({ hits: [{ id: "de" }] });
    await lfmJson("index", at("de.jsonl"), "--analyzer", "cjk", "--out", at("cjk"));
    expect(await lfmJson("search", at("cjk"), "수도")).toMatchObject({ hits: [{ id: "ko" }] });
    const unknown = await runLfm("index", at("de.jsonl"), "--analyzer", "germn", "--out", at("x"));
    expect(unknown).toMatchObject({ code: 2, err: expect.stringContaining('did you mean "german"?') });
  });

  it("of TREC are searched for topics, and the run is measured", async () => {
    await lfmJson("index", at("docs.trec"), "--out", at("trec"));
    const all = await lfmJson("search", at("trec"), "--topics", at("topics.tsv"), "--run", at("out.run"), "--tag", "mine");
    expect(all).toMatchObject({ queries: 3, hits: 2 });
    const lines = readFileSync(at("out.run"), "utf8").trim().split("\n");
    expect(lines.map((line) => line.split(" ").toSpliced(4, 1))).toEqual([
      ["1", "Q0", "t1", "1", "mine"],
      ["2", "Q0", "t2", "1", "mine"],
    ]);
    const measured = await lfmJson("eval-run", at("out.run"), at("qrels"), "--measures", "map,P_5,ndcg@10", "--per-query");
    expect(measured).toMatchObject({
      queries: 2,
      measures: { map: 1, P_5: 0.2, "ndcg@10": 1 },
      perQuery: { 1: { map: 1 }, 2: { map: 1 } },
    });
    const complete = await lfmJson("eval-run", at("out.run"), at("qrels"), "--measures", "map", "--complete");
    expect(complete).toMatchObject({ queries: 3, measures: { map: 2 / 3 } });
    const table = await runLfm("eval-run", at("out.run"), at("qrels"));
    expect(table.out).toMatch(/query\s+ndcg@10\s+recall@100\s+map\s+mrr@10/);
  });

  it("are not overwritten, and what is missing is said", async () => {
    writeFileSync(at("kept.run"), "mine");
    const kept = await runLfm("search", at("trec"), "--topics", at("topics.tsv"), "--run", at("kept.run"));
    expect(kept).toMatchObject({ code: 2, err: expect.stringContaining("--overwrite") });
    expect(readFileSync(at("kept.run"), "utf8")).toBe("mine");
    expect(await runLfm("search", at("trec"))).toMatchObject({ code: 2, err: expect.stringContaining("--topics") });
    expect(await runLfm("search", at("trec"), "--topics", at("topics.tsv"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("--run"),
    });
    mkdirSync(at("beir/qrels"), { recursive: true });
    for (const name of ["corpus", "queries"]) writeFileSync(at(`beir/${name}.jsonl`), '{"_id":1,"text":"cat"}\n');
    writeFileSync(at("beir/qrels/dev.tsv"), "query-id\tcorpus-id\tscore\n1\t1\t1\n");
    await lfmJson("index", at("beir"), "--out", at("of-beir"));
    await lfmJson("search", at("of-beir"), "--topics", at("beir"), "--run", at("beir.run"));
    expect(await lfmJson("eval-run", at("beir.run"), at("beir"), "--split", "dev", "--measures", "mrr")).toMatchObject({
      measures: { mrr: 1 },
    });
    const none = await runLfm("eval-run", at("beir.run"), at("beir"));
    expect(none).toMatchObject({ code: 1, err: expect.stringContaining("test.tsv") });
  });

  it("are not searched in an index whose files are broken", async () => {
    const broken = async (file: string, content: string): Promise<string> => {
      await lfmJson("index", at("docs.csv"), "--out", at("broken"), "--overwrite");
      writeFileSync(join(at("broken"), file), content);
      const { code, err } = await runLfm("search", at("broken"), "cat");
      expect(code).toBe(1);
      return err;
    };
    expect(await broken("index.json", "{")).toContain("index.json is not JSON");
    expect(await broken("index.json", '{"kind":"tree","documents":3}')).toContain("index.json is not what lfm index writes");
    expect(await broken("index.json", '{"kind":"flat","documents":3}')).toContain("names no encoder");
    expect(await broken("passages.jsonl", '{"id":"d-17"}\n{')).toContain("passages.jsonl:2");
  });
});
