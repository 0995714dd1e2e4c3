import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { LfmError } from "@lfm/core";
import { initWeights, llama, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm, runLfmWith } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";
import type { RunJob } from "../program/job.js";
import { runHere } from "../program/run-job.js";
import { type SweepRequest, sweep } from "./sweep.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-sweep-"));
const at = (...names: string[]): string => join(folder, ...names);
afterAll(() => rmSync(folder, { recursive: true }));

beforeAll(async () => {
  const zoo = await loadZoo();
  const { words } = zoo.world.vocabulary;
  const shape = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 32 };
  const model = llama({ ...shape, vocab_size: words.length });
  await saveModel(at("model"), { ...model, params: initWeights(model.info, { seed: 1 }) });
  saveZooTokenizer(at("model"), zoo);
  const rows = (from: number): string =>
    Array.from({ length: 8 }, (_, i) => JSON.stringify({ prompt: `say ${words[from + i]} :`, completion: words[40] })).join("\n");
  writeFileSync(at("train.jsonl"), rows(20));
  writeFileSync(at("valid.jsonl"), rows(28));
});

const given = (): string[] => ["--model", at("model"), "--data", at("train.jsonl"), "--valid", at("valid.jsonl"), "--r", "2"];

interface Trial {
  readonly choice: Readonly<Record<string, number>>;
  readonly score?: number;
  readonly steps?: number;
  readonly outcomes: readonly { readonly failed?: string }[];
}

/** Runs jobs, and counts those of which a sweep is made; after `stopAt` of them it is stopped. */
function counting(stopAt = Number.POSITIVE_INFINITY): { readonly run: RunJob; count(): number } {
  let count = 0;
  const run: RunJob = (verb, request, context) =>
    verb === "sweep"
      ? sweep(request as SweepRequest, context, (inner, asked, own) => {
          if (++count > stopAt) throw new LfmError("ABORTED", "stopped");
          return runHere(inner, asked, own);
        })
      : runHere(verb, request, context);
  return { run, count: () => count };
}

describe("lfm sweep", () => {
  it("tries a grid with several seeds; the best by held-out loss is the result, as if trained alone", async () => {
    const { best, trials } = (await lfmJson(
      ...["sweep", "lora", ...given(), "--steps", "5", "--over", "lr=1e-4,0.05,1e30", "--seeds", "3,4", at("grid")],
    )) as unknown as { readonly best: { readonly flags: string; readonly choice: Trial["choice"] }; readonly trials: readonly Trial[] };
    expect(trials).toHaveLength(3);
    expect(best.choice.lr).toBe(0.05);
    // What diverges is said, and does not end the sweep.
    expect([trials[2]!.choice.lr, trials[2]!.score]).toEqual([1e30, undefined]);
    expect(trials[2]!.outcomes[0]!.failed).toMatch(/finite|loss is/);
    const scores = trials.slice(0, 2).map((t) => t.score!);
    expect(scores).toEqual([...scores].sort((a, b) => a - b));
    await lfmJson("tune", "lora", ...given(), "--steps", "5", ...best.flags.split(" "), "--seed", "3", at("alone"));
    expect(readFileSync(at("grid", "delta.safetensors")).equals(readFileSync(at("alone", "delta.safetensors")))).toBe(true);
    expect((JSON.parse(readFileSync(at("grid", "sweep.json"), "utf8")) as { trials: unknown[] }).trials).toHaveLength(3);
    expect(existsSync(at("grid.partial"))).toBe(false);
    // A sweep's result is a result: it can be replaced when that is asked for.
    expect((await runLfm("sweep", "lora", ...given(), "--steps", "1", "--over", "lr=0.01", at("grid"))).err).toMatch(/is there already/);
    await lfmJson("sweep", "lora", ...given(), "--steps", "1", "--over", "lr=0.01", "--overwrite", at("grid"));
  });

  it("goes on with what is not done yet after a stop, and with no other sweep's", async () => {
    const command = [...["sweep", "lora", ...given(), "--steps", "2", "--over", "lr=0.01,0.02"], at("stopped"), "--json"];
    const first = await runLfmWith(counting(1).run, ...command);
    expect([first.code, first.err]).toEqual([130, expect.stringContaining("Go on with the same command")]);
    const other = await runLfm(...command, "--eta", "4");
    expect([other.code, other.err]).toEqual([1, expect.stringMatching(/another sweep: --eta was 3, and is 4/)]);
    const rest = counting();
    const second = await runLfmWith(rest.run, ...command);
    expect([second.code, rest.count()]).toEqual([0, 1]);
    const whole = await runLfmWith(runHere, ...command.map((a) => (a === at("stopped") ? at("whole") : a)));
    const scores = ({ out }: { readonly out: string }): unknown =>
      (JSON.parse(out) as { trials: Trial[] }).trials.map((t) => [t.choice, t.score]);
    expect(scores(second)).toEqual(scores(whole));
  });

  it("tries options of an objective as well as the method's", async () => {
    const pairs = ["train", "valid"].map((name) => {
      const rows = readFileSync(at(`${name}.jsonl`), "utf8")
        .split("\n")
        .map((row) => JSON.parse(row) as { prompt: string; completion: string });
      writeFileSync(
        at(`${name}-pairs.jsonl`),
        rows.map(({ prompt, completion }) => JSON.stringify({ prompt, chosen: completion, rejected: "say" })).join("\n"),
      );
      return at(`${name}-pairs.jsonl`);
    });
    const data = ["--model", at("model"), "--data", pairs[0]!, "--valid", pairs[1]!, "--objective", "dpo"];
    const { trials } = (await lfmJson(
      ...["sweep", "lora", ...data, "--steps", "3", "--lr", "0.05", "--metric", "margin", "--over", "beta=0.01,10", at("dpo")],
    )) as unknown as { readonly trials: readonly Trial[] };
    // A large β holds the model near its base: the completions come apart less.
    expect(trials.map((t) => t.choice.beta)).toEqual([0.01, 10]);
    expect(trials[0]!.score).toBeGreaterThan(trials[1]!.score!);
  });

  it("halves: drawn settings, the best of each rung with more steps", async () => {
    const { trials } = (await lfmJson(
      ...["sweep", "lora", ...given(), "--steps", "4", "--strategy", "halving", "--eta", "2", "--trials", "4"],
      ...["--over", "lr=1e-3..1e-1:log", at("halving")],
    )) as unknown as { readonly trials: readonly Trial[] };
    expect(trials.map((t) => t.steps)).toEqual([4, 2, 1, 1]);
    expect(new Set(trials.map((t) => t.choice.lr)).size).toBe(4);
  });

  it.each([
    ["without held-out examples", ["--over", "lr=1"], /held-out examples choose/, false],
    ["without anything to sweep", [], /nothing is swept over/, true],
    ["a setting that the method refuses, before any work", ["--over", "lr=1,-1"], /--lr/, true],
    ["trials of a grid", ["--over", "lr=1", "--trials", "2"], /as many trials as combinations/, true],
    ["halving of epochs", ["--over", "lr=1,2", "--strategy", "halving", "--epochs", "1"], /deals out --steps itself/, true],
    ["a metric that is not measured", ["--over", "lr=0.1", "--steps", "1", "--metric", "spearman"], /"spearman" is not measured/, true],
  ])("refuses %s", async (_, flags, message, valid) => {
    const input = valid ? given() : given().filter((a) => a !== "--valid" && a !== at("valid.jsonl"));
    const { code, err } = await runLfm("sweep", "lora", ...input, ...flags, at("no"));
    expect([code, err]).toEqual([2, expect.stringMatching(message)]);
    expect(existsSync(at("no"))).toBe(false);
    rmSync(at("no.partial"), { recursive: true, force: true });
  });
});
