import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readTrecRun } from "@lfm/data";
import { readPeftAdapter } from "@lfm/formats";
import { bert, initWeights, llama, loadModel, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-methods-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const lines = (name: string, rows: readonly object[]): void => writeFileSync(at(name), rows.map((r) => JSON.stringify(r)).join("\n"));
const small = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 32 };
let words: readonly string[];

beforeAll(async () => {
  const zoo = await loadZoo();
  ({ words } = zoo.world.vocabulary);
  lines(
    "data.jsonl",
    Array.from({ length: 8 }, (_, i) => ({ prompt: `say ${words[20 + i]} :`, completion: words[40 + i] })),
  );
  lines(
    "labels.jsonl",
    Array.from({ length: 8 }, (_, i) => ({ text: `say ${words[20 + (i % 2)]}`, label: i % 2 ? "bad" : "good" })),
  );
  const encoder = bert({ ...small, vocab_size: words.length });
  await saveModel(at("bert"), { ...encoder, params: initWeights(encoder.info, { seed: 1 }) });
  saveZooTokenizer(at("bert"), zoo);
  const teacher = llama({ ...small, vocab_size: words.length });
  await saveModel(at("llama"), { ...teacher, params: initWeights(teacher.info, { seed: 2 }) });
  saveZooTokenizer(at("llama"), zoo);
  mkdirSync(at("student"));
  writeFileSync(at("student/config.json"), readFileSync(at("llama/config.json")));
});

describe("a method by its declaration", () => {
  it("tunes an encoder into a classifier: its fresh head and the names of its classes are part of the delta", async () => {
    const learn = ["--data", at("labels.jsonl"), "--valid", at("labels.jsonl"), "--steps", "60", "--lr", "0.05"];
    const args = ["--model", at("bert"), ...learn];
    const { valid } = await lfmJson("tune", "lora", ...args, "--out", at("judge"));
    expect(valid).toMatchObject({ before: null, after: { accuracy: 1 } });
    expect(JSON.parse(readFileSync(at("judge/labels.json"), "utf8"))).toEqual(["bad", "good"]);
    expect(readPeftAdapter(at("judge")).config.modules_to_save).toContain("classifier");
    const { metrics } = await lfmJson("eval", "--model", at("bert"), "--delta", at("judge"), "--data", at("labels.jsonl"));
    expect(metrics).toEqual((valid as { after: object }).after);
    expect(await runLfm("tune", "lora", ...args, "--out", at("judge"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("--overwrite"),
    });
    expect(await runLfm("tune", "lora", ...learn, "--model", `${at("bert")}+${at("judge")}`)).toMatchObject({
      code: 2,
      err: expect.stringContaining("lfm merge passthrough"),
    });
    expect(await runLfm("eval", "--model", `${at("bert")}+${at("judge")}`, "--data", at("labels.jsonl"))).toMatchObject({ code: 2 });
  });

  it("distils into a student that starts fresh, and gives it the teacher's tokenizer", async () => {
    const given = ["--teacher", at("llama"), "--student", at("student"), "--data", at("data.jsonl"), "--batch-size", "4"];
    const { loss, parameters } = await lfmJson("distill", "logit-kd", ...given, "--steps", "20", "--lr", "0.01", at("distilled"));
    expect((loss as { first: number }).first).toBeGreaterThan((loss as { last: number }).last);
    expect(parameters).toBeGreaterThan(0);
    const { tokenizer } = await loadModel(at("distilled"));
    expect(tokenizer!.encode(words[20]!, { addSpecialTokens: false }).ids).toEqual([20]);
    expect(await runLfm("distill", "dafl", "--teacher", at("llama"), "--student", at("student"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("reads tokens"),
    });
    expect(await runLfm("distill", "dafl", ...given)).toMatchObject({ code: 2, err: expect.stringContaining("unknown option '--data'") });
  });

  it("edits a fact, and shows the answer before and after", async () => {
    const { world } = await loadZoo();
    const fact = world.facts[0]!;
    const other = world.facts.find((f) => f.relation === fact.relation && f.value !== fact.value)!.value;
    const given = ["--model", "zoo-lm", "--prompt", `${fact.relation} {}`, "--subject", fact.subject, "--target", other];
    const edited = await lfmJson("edit", "ft-l", ...given, "--layer", "1", "--lr", "0.01", "--epsilon", "0.05", "--out", at("edit"));
    expect(edited).toMatchObject({ edits: [{ before: fact.value, after: other, written: true, target: other }], written: 1 });
    const asked = ["--model", "zoo-lm", "--prompt", `${fact.relation} ${fact.subject}`, "--max-new-tokens", "1"];
    const { answers } = (await lfmJson("generate", ...asked, "--delta", at("edit"))) as { answers: { completion: string }[] };
    expect(answers[0]!.completion).toBe(other);
    const again = ["edit", "ft-l", ...given, "--layer", "1", "--steps", "1", "--delta", at("edit"), "--out", at("again")];
    expect(await runLfm(...again)).toMatchObject({ code: 2, err: expect.stringContaining(`the model answers "${other}" already`) });
    expect((await lfmJson(...again, "--known", "write")).edits).toMatchObject([{ before: other }]);
    expect(await runLfm("edit", "ft-l", ...given, "--prompt", "no slot", "--out", at("x"))).toMatchObject({
      code: 2,
      err: expect.stringContaining("{}"),
    });
  });

  it("edits several facts of a file on top of earlier edits, and names the line that is wrong", async () => {
    const { world } = await loadZoo();
    const facts = world.facts.slice(0, 3).map((fact) => {
      const target = world.facts.find((f) => f.relation === fact.relation && f.value !== fact.value)!.value;
      return { prompt: `${fact.relation} {}`, subject: fact.subject, target };
    });
    lines("requests.jsonl", facts.slice(1));
    const common = ["--model", "zoo-lm", "--layer", "1", "--lr", "0.01", "--epsilon", "0.05", "--stop-loss", "0.1"];
    const first = facts[0]!;
    const one = ["--prompt", first.prompt, "--subject", first.subject, "--target", first.target];
    await lfmJson("edit", "ft-l", ...common, ...one, "--out", at("first"));
    const many = await lfmJson("edit", "ft-l", ...common, "--requests", at("requests.jsonl"), "--delta", at("first"), "--out", at("more"));
    expect(many).toMatchObject({ written: 2, edits: facts.slice(1).map((f) => ({ target: f.target, after: f.target, written: true })) });
    const last = facts[2]!;
    const asked = ["--model", "zoo-lm", "--prompt", last.prompt.replace("{}", last.subject), "--max-new-tokens", "1"];
    const stack = ["--delta", at("first"), "--delta", at("more")];
    const { answers } = (await lfmJson("generate", ...asked, ...stack)) as { answers: { completion: string }[] };
    expect(answers[0]!.completion).toBe(last.target);

    const refused = async (...rest: string[]): Promise<string> => {
      const { code, err } = await runLfm("edit", "ft-l", ...common, ...rest, "--out", at("refused"));
      expect(code).not.toBe(0);
      return err;
    };
    writeFileSync(at("bad.jsonl"), `${JSON.stringify(first)}\n\n{"prompt": "home {}", "subject": "x"}\n`);
    expect(await refused("--requests", at("bad.jsonl"))).toMatch(/bad\.jsonl:3: is no fact.*no target/);
    writeFileSync(at("bad.jsonl"), "{");
    expect(await refused("--requests", at("bad.jsonl"))).toContain("bad.jsonl:1: not JSON");
    lines("bad.jsonl", [first, { ...first, prompt: "no slot" }]);
    expect(await refused("--requests", at("bad.jsonl"))).toContain("bad.jsonl:2: the prompt lacks its subject");
    writeFileSync(at("bad.jsonl"), "\n");
    expect(await refused("--requests", at("bad.jsonl"))).toContain("holds no example");
    expect(await refused("--requests", at("none.jsonl"))).toContain("none.jsonl: cannot be read");
    expect(await refused("--requests", at("requests.jsonl"), "--prompt", "x {}")).toContain("brings its own --prompt");
    expect(await refused("--prompt", "x {}")).toContain("--subject and --target are not given");
    expect(existsSync(at("refused"))).toBe(false);
  });

  it("searches, fuses what two searches found, and answers from an index", async () => {
    lines("documents.jsonl", [
      { id: "a", title: "Adapters", text: "small networks between frozen layers" },
      { id: "b", text: "averaging the weights of models" },
    ]);
    lines("queries.jsonl", [
      { id: "q", text: "average weights" },
      { id: "2", text: "frozen networks" },
    ]);
    const both = ["--documents", at("documents.jsonl"), "--queries", at("queries.jsonl")];
    expect(await lfmJson("retrieve", "bm25", ...both, "--out", at("words"))).toMatchObject({ answered: 2, hits: 2 });
    const run = readTrecRun(at("words/run.trec"));
    expect([...run].map(([q, hits]) => [q, hits[0]!.id])).toEqual([
      ["q", "b"],
      ["2", "a"],
    ]);
    await lfmJson("retrieve", "flat", ...both, "--encoder", at("bert"), "--out", at("vectors"));
    const pair = ["--first", at("words/run.trec"), "--second", at("vectors/run.trec")];
    await lfmJson("retrieve", "hybrid", ...pair, "--k", "0", "--out", at("fused"));
    expect(readTrecRun(at("fused/run.trec")).get("q")).toHaveLength(2);
    await lfmJson("index", at("documents.jsonl"), "--out", at("index"));
    const { answers } = (await lfmJson(
      ...["retrieve", "rag", "--model", "zoo-lm", "--index", at("index"), "--queries", at("queries.jsonl")],
      ...["--passages", "1", "--max-new-tokens", "2", "--out", at("answers")],
    )) as { answers: { id: string; passages: string[] }[] };
    expect(answers.map((a) => [a.id, a.passages])).toEqual([
      ["q", ["b"]],
      ["2", ["a"]],
    ]);
    expect(readFileSync(at("answers/answers.jsonl"), "utf8").trim().split("\n")).toHaveLength(2);
    expect(readdirSync(folder).filter((name) => name.endsWith(".partial"))).toEqual([]);
    expect(existsSync(at("x"))).toBe(false);
  });
});
