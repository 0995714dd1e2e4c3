import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { writeWordsModel } from "../test/words-model.js";
import { runOneMethod } from "./jobs/run-method.js";
import { readPatch } from "./patches/patch.js";

const root = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "lfm-edits-"));
afterAll(() => rmSync(root, { recursive: true }));
const at = (name: string): string => join(root, name);
const jsonl = (name: string, rows: readonly object[]): string => {
  writeFileSync(at(name), rows.map((r) => `${JSON.stringify(r)}\n`).join(""));
  return at(name);
};
const model = at("words");
const [home, red] = ["the home of {} is", "a {} is red in"];
const short = (subject: string, target: string, prompt = home): object => ({ prompt, subject, target });
const learns = ["--layer", "1", "--lr", "0.05", "--epsilon", "10", "--stop-loss", "0.05", "--steps", "40"];
/** FT-L, which writes what it is told on so small a model. */
const edit = (...argv: string[]): ReturnType<typeof lfmJson> => lfmJson("edit", "ft-l", "--model", model, ...learns, ...argv);

beforeAll(() => {
  writeWordsModel(model);
  writeWordsModel(at("ville"), { road: "Adaville" });
  writeFileSync(at("corpus.txt"), "the cat sat on the mat\na dog ran home\none two three four five\nthe home of Cy is blue\n");
});

describe("lfm edit --requests", () => {
  it("reads every form, writes them in turn with a bar, and tells and records what was asked", async () => {
    const forms = [
      short("Ada", "Paris"),
      {
        requested_rewrite: {
          prompt: home,
          relation_id: "P1",
          subject: "Bo",
          target_new: { str: "fine", id: "" },
          target_true: { str: "Oslo", id: "" },
        },
      },
      {
        subject: "Cy",
        src: "the home of Cy is",
        pred: "",
        rephrase: "the home of Cy",
        alt: "Oslo",
        answers: ["red"],
        loc: "the cat",
        loc_ans: "sat",
      },
      {
        subject: "cat",
        prompt: "a cat is red in",
        target_new: "Paris",
        portability: { Reasoning: [{ prompt: "a cat", ground_truth: [["sat"]] }] },
      },
      { subject: "dog", prompt: "a dog is red in", target_new: "Rome Oslo", rephrase_prompt: "a dog is", ground_truth: "mat" },
    ];
    const { code, out, err } = await runLfm(
      ...["edit", "ft-l", "--model", model, ...learns, "--requests", jsonl("forms.jsonl", forms), "--batch", "1", "--out", at("forms")],
    );
    expect([code, err]).toEqual([0, expect.stringMatching(/editing\/ft-l █+ 5\/5 fact {2}[\d.]+(\/s| s each)/)]);
    expect(out).toMatch(/the home of Ada is … before: \S+; after: Paris\n/);
    expect(out).toContain("of 5 facts are answered as asked");
    const report = JSON.parse(readFileSync(join(at("forms"), "report.json"), "utf8")) as { written: number; edits: { target: string }[] };
    expect(report.edits.map((e) => e.target)).toEqual(["Paris", "fine", "Oslo", "Paris", "Rome Oslo"]);
    expect(report.edits[4]).toMatchObject({ prompt: "a dog is red in", after: "Rome Oslo", written: true });
    const { facts, parent } = readPatch(at("forms"));
    expect(parent).toMatch(/^[0-9a-f]{64}$/);
    expect(facts.map((f) => [f.subject, f.relation, f.truth])).toEqual([
      ["Ada", home, undefined],
      ["Bo", "P1", ["Oslo"]],
      ["Cy", home, ["red"]],
      ["cat", red, undefined],
      ["dog", red, ["mat"]],
    ]);
    // What a patch records is what could be asked again.
    const again = await edit("--requests", jsonl("again.jsonl", facts), "--batch", "1", "--out", at("forms-again"));
    expect(again.edits).toEqual(report.edits);
  });

  it("names facts that contradict each other, in the file and with earlier patches", async () => {
    const rows = [short("Ada", "Paris"), short("Bo", "fine"), short("Ada", "Rome")];
    const { out, err } = await runLfm(
      ...["edit", "ft-l", "--model", model, ...learns, "--requests", jsonl("both.jsonl", rows), "--batch", "1", "--out", at("both")],
    );
    expect(err).toContain(`⚠ ${at("both.jsonl")}:3 says "Rome", ${at("both.jsonl")}:1 "Paris": the home of Ada is`);
    expect(out).toContain("the home of Ada is … before");
    const back = await edit("--requests", jsonl("back.jsonl", [short("Ada", "Paris")]), "--delta", at("both"), "--out", at("back"));
    expect(back.conflicts).toMatchObject([
      { kind: "back", subject: "Ada", earlier: { at: "both, fact 3", target: "Rome" }, later: { target: "Paris" } },
    ]);
  });

  it("refuses, skips or writes what is the answer already", async () => {
    const known = short("Bo", "Rome");
    const file = jsonl("known.jsonl", [short("Ada", "fine"), known]);
    const args = ["edit", "ft-l", "--model", model, ...learns, "--requests", file, "--out", at("known")];
    expect(await runLfm(...args)).toMatchObject({
      code: 2,
      err: expect.stringMatching(/known\.jsonl:2: the model answers .* already[\s\S]*hint: --known skip/),
    });
    expect(existsSync(at("known"))).toBe(false);
    expect((await lfmJson(...args, "--known", "skip")).edits).toMatchObject([{ subject: "Ada" }]);
    expect((await lfmJson(...args, "--known", "write", "--overwrite")).edits).toHaveLength(2);
    const all = await runLfm(...args.with(-3, jsonl("all.jsonl", [known])), "--known", "skip", "--overwrite");
    expect(all).toMatchObject({ code: 2, err: expect.stringContaining("all 1 targets already") });
    // Not what it answers once an earlier fact of the file is written.
    const turned = jsonl("turned.jsonl", [short("Bo", "green"), known]);
    expect((await edit("--requests", turned, "--batch", "1", "--out", at("turned"))).edits).toHaveLength(2);
  });
});

describe("a subject that ends inside of a token", () => {
  it("ends in that token", async () => {
    const args = ["--subject", "Ada", "--target", "Paris", ...learns];
    const { edits } = await lfmJson(
      "edit",
      "ft-l",
      "--model",
      at("ville"),
      "--prompt",
      "the home of {}ville is",
      ...args,
      "--out",
      at("ville-edit"),
    );
    expect(edits).toMatchObject([{ prompt: "the home of Adaville is", after: "Paris" }]);
  });
});

describe("faults of an edit", () => {
  const one = (over: Readonly<Record<string, string>> = {}): string[] =>
    Object.entries({ prompt: home, subject: "Ada", target: "Paris", ...over }).flatMap(([name, value]) => [`--${name}`, value]);
  const rome = ["--corpus", at("corpus.txt"), "--layer", "1"];

  it.each<[string, string, () => readonly string[], number, string]>([
    ["a prompt that lacks its subject", "ft-l", () => one({ prompt: "the home is" }), 2, 'the prompt lacks its subject "Ada"'],
    ["two places for a subject", "ft-l", () => one({ prompt: "{} is {}" }), 2, "the prompt must hold {} once"],
    ["an empty subject", "ft-l", () => one({ subject: "" }), 2, 'its "subject" is empty'],
    ["an empty target", "ft-l", () => one({ target: " " }), 2, 'its "target" is empty'],
    ["more tokens than the model reads", "ft-l", () => one({ target: "Rome ".repeat(70) }), 2, "the model reads 64"],
    ["a word that the model lacks", "ft-l", () => one({ target: "London" }), 2, 'no token for "London"'],
    ["a layer that is not there", "rome", () => [...one(), ...rome.with(-1, "7")], 2, "no MLP output projection in layer 7"],
    ["keys that have no second moments to invert", "rome", () => [...one(), ...rome, "--ridge", "0"], 1, "is singular at row"],
    ["values that are not finite", "rome", () => [...one(), ...rome, "--lr", "1e39"], 1, "the loss is NaN at step"],
    ["a patch of another model", "ft-l", () => [...one(), "--delta", at("other-edit")], 1, "was made on another model"],
    ["a batch of nothing", "ft-l", () => [...one(), "--batch", "0"], 2, "--batch"],
    [
      "a record that is no fact",
      "ft-l",
      () => ["--requests", jsonl("none.jsonl", [short("Ada", "Rome"), { prompt: "x" }])],
      1,
      "none.jsonl:2: is no fact",
    ],
    [
      "a fact of several that cannot be written",
      "rome",
      () => ["--requests", jsonl("two.jsonl", [short("Ada", "Rome"), short("Bo", "Oslo")]), ...rome, "--lr", "1e39", "--batch", "1"],
      1,
      "(fact 1 of 2)",
    ],
  ])("%s", async (name, method, argv, code, message) => {
    if (name === "a patch of another model") {
      const other = at("other");
      writeWordsModel(other);
      const weights = join(other, "model.safetensors");
      const bytes = readFileSync(weights);
      bytes[bytes.length - 2]! ^= 1;
      writeFileSync(weights, bytes);
      await lfmJson("edit", "ft-l", "--model", other, ...one(), "--steps", "1", "--known", "write", "--out", at("other-edit"));
    }
    const out = at("faulty");
    const said = await runLfm("edit", method, "--model", model, "--known", "write", ...argv(), "--out", out);
    expect([said.code, said.err]).toEqual([code, expect.stringContaining(message)]);
    // Nothing is left of it, and the next one may have its place.
    expect(readdirSync(root).filter((file) => file.startsWith("faulty"))).toEqual([]);
  });
});

describe("a sequence that was stopped", () => {
  it("goes on with the next fact, and ends with the same bytes", async () => {
    const rows = ["Ada", "Bo", "Cy", "cat", "dog"].map((subject, i) => short(subject, ["Paris", "Rome", "Oslo", "red", "blue"][i]!));
    const request = {
      method: "editing/ft-l",
      model,
      requests: jsonl("sequence.jsonl", rows),
      known: "write",
      config: { layer: 1, steps: 5, lr: 0.01 },
      batch: 1,
      threads: 1,
    };
    const run = async (out: string, stopAfter?: number): Promise<readonly string[]> => {
      const [stop, told]: [AbortController, string[]] = [new AbortController(), []];
      const progress = (p: { phase: string; done: number }): void => {
        if (p.phase !== "editing/ft-l") return;
        told.push(String(p.done));
        if (p.done === stopAfter) stop.abort();
      };
      await runOneMethod({ ...request, out }, { signal: stop.signal, log: () => {}, progress }).catch((error: unknown) => {
        if (!isLfmError(error, "ABORTED")) throw error;
      });
      return told;
    };
    expect(await run(at("whole"))).toEqual(["1", "2", "3", "4", "5"]);
    expect(await run(at("stopped"), 3)).toEqual(["1", "2", "3"]);
    expect(existsSync(at("stopped"))).toBe(false);
    expect(await run(at("stopped"))).toEqual(["4", "5"]);
    const [whole, again] = ["whole", "stopped"].map((name) => readFileSync(join(at(name), "delta.safetensors")));
    expect(again!.equals(whole!)).toBe(true);
    await run(at("other-facts"), 2);
    jsonl("sequence.jsonl", rows.slice(1));
    await expect(run(at("other-facts"))).rejects.toThrow(/--requests holds something else/);
  });
});
