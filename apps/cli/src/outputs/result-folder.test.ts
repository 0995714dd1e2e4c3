import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { contentOf, simulate } from "@lfm/core/testing";
import { openResultPlace } from "@lfm/formats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { indexDocuments } from "../jobs/index-documents.js";

const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "lfm-results-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (...names: string[]): string => join(folder, ...names);
const documents = (name: string, ...ids: string[]): void =>
  writeFileSync(at(name), ids.map((id) => JSON.stringify({ id, text: `text of ${id}` })).join("\n"));

beforeAll(() => {
  documents("one.jsonl", "a", "b");
  documents("two.jsonl", "c", "d", "e");
  writeFileSync(at("train.jsonl"), Array.from({ length: 4 }, () => JSON.stringify({ prompt: "say :", completion: "<l0>" })).join("\n"));
});

/** Every command that leaves a result in a folder, as far as it is asked where. */
const commands: readonly (readonly string[])[] = [
  ["tune", "lora", "--model", "zoo-lm", "--data", at("train.jsonl"), "--steps", "1"],
  ["tune", "full", "--model", "zoo-lm", "--data", at("train.jsonl"), "--steps", "1"],
  ["distill", "logit-kd", "--teacher", "zoo-lm", "--student", "zoo-lm", "--data", at("train.jsonl"), "--steps", "1"],
  ["meta", "maml", "--family", "sinusoid", "--steps", "1", "--tasks", "2"],
  ["edit", "ft-l", "--model", "zoo-lm", "--prompt", "say {}", "--subject", "say", "--target", "<l0>", "--steps", "1"],
  ["retrieve", "bm25", "--documents", at("one.jsonl"), "--queries", at("two.jsonl")],
  ["merge", "re-basin", "--model", "zoo-lm", "--model", "zoo-lm"],
  ["index", at("one.jsonl")],
  ["stats", "gram", "zoo-lm", "--data", at("train.jsonl")],
];

describe.each(commands.map((command) => ({ name: command.slice(0, 2).join(" "), command })))("lfm $name", ({ command }) => {
  it("refuses a place before any work: taken, of other things, of another writer, not writable", async () => {
    const place = at(`places-${commands.indexOf(command)}`);
    mkdirSync(join(place, "result"), { recursive: true });
    mkdirSync(join(place, "thesis"));
    for (const [name, file] of [
      ["result", "model.safetensors"],
      ["thesis", "model.safetensors"],
      ["thesis", "thesis.tex"],
    ] as const)
      writeFileSync(join(place, name, file), "");
    const before = contentOf(place);
    const isFile = command[0] === "stats";
    const said = async (out: string, ...more: string[]): Promise<string> => {
      const { code, err } = await runLfm(...command, "--out", out, ...more);
      expect(code, err).not.toBe(0);
      expect(err).toContain("hint: ");
      return err;
    };
    expect(await said(join(place, "result"))).toContain(isFile ? "is a folder" : "is there already");
    expect(await said(join(place, "thesis"), "--overwrite")).toContain(isFile ? "is a folder" : "holds thesis.tex");
    expect(await said(join(place, "thesis", "thesis.tex", "x"))).toContain("ENOTDIR");
    if (existsSync("/proc/self")) expect(await said("/proc/x")).toContain("cannot write");
    for (const input of command.filter((a) => a.endsWith(".jsonl")))
      expect(await said(input, "--overwrite")).toContain("is read from there");
    const { close } = openResultPlace(join(place, "mine"), { overwrite: false, inputs: [] });
    expect(await said(join(place, "mine"))).toContain("is writing");
    close();
    expect(contentOf(place)).toEqual(before);
    expect(readdirSync(place).sort()).toEqual(["result", "thesis"]);
  });
});

it("lfm index is replaced as a whole, with its passages, wherever the process ends", async () => {
  await lfmJson("index", at("one.jsonl"), "--out", at("index"));
  expect((await runLfm("index", at("two.jsonl"), "--out", at("index"))).err).toContain("--overwrite");
  await lfmJson("index", at("two.jsonl"), "--out", at("index"), "--overwrite");
  const files = ["index.json", "index.safetensors", "passages.jsonl"];
  expect(readdirSync(at("index")).sort()).toEqual(files);
  expect(readFileSync(at("index", "passages.jsonl"), "utf8")).toContain("text of c");

  const sandbox = at("sandbox");
  const out = join(sandbox, "out");
  const index = (of: string) => (): Promise<unknown> =>
    indexDocuments({ documents: at(of), kind: "bm25", out, overwrite: true }, { log: () => {}, progress: () => {} });
  const prepare = async (): Promise<void> => {
    rmSync(sandbox, { recursive: true, force: true });
    await index("one.jsonl")();
  };
  await prepare();
  const before = contentOf(out);
  const { operations, crashes } = await simulate(out, undefined, index("two.jsonl"));
  const after = contentOf(out);
  expect(crashes.length).toBeGreaterThan(30);
  for (const crash of crashes) {
    await prepare();
    const told = `${operations[crash.at - 1]} ${crash.half ? "(half)" : ""}`;
    expect((await simulate(out, crash, index("two.jsonl"))).crashed, told).toBe(true);
    if (existsSync(out)) expect([before, after], told).toContainEqual(contentOf(out));
    await index("two.jsonl")();
    expect(contentOf(out), told).toEqual(after);
    expect(readdirSync(sandbox), told).toEqual(["out"]);
  }
});
