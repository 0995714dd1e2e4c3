import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { counterfacts } from "@lfm/data";
import { initWeights, llama, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";
import { saveZooTokenizer } from "./inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-look-into-"));
const at = (name: string): string => join(folder, name);
const blocks = 2;
let subject = "";
beforeAll(async () => {
  const zoo = await loadZoo();
  const { world } = zoo;
  for (const [name, seed] of [
    ["model", 1],
    ["other", 2],
  ] as const) {
    const model = llama({
      vocab_size: world.vocabulary.words.length,
      hidden_size: 16,
      intermediate_size: 24,
      num_hidden_layers: blocks,
      num_attention_heads: 2,
      max_position_embeddings: 64,
    });
    await saveModel(at(name), { ...model, params: initWeights(model.info, { seed, embeddingStd: 0.5 }) });
    saveZooTokenizer(at(name), zoo);
  }
  const people = new Set(world.entities.slice(0, 6));
  subject = world.entities[0]!;
  const facts = counterfacts(world, { count: 24, accept: (f) => people.has(f.subject) });
  writeFileSync(at("edits.json"), JSON.stringify(facts));
  writeFileSync(at("texts.txt"), facts.flatMap((f) => f.neighborhood_prompts).join("\n"));
});
afterAll(() => rmSync(folder, { recursive: true }));

describe("lfm edit trace", () => {
  it("of one prompt: an effect for every token and block, and a heat map", async () => {
    const given = ["edit", "trace", "--model", at("model"), "--prompt", "the home of {} is", "--draws", "2", "--out", at("trace.svg")];
    const found = (await lfmJson(...given, "--subject", subject)) as { rows: string[]; effects: Record<string, number[][]>; clean: number };
    expect(found.rows.map((r) => r.trim()).slice(-5)).toEqual(["the", "home", "of", `${subject}*`, "is"]);
    expect(Object.keys(found.effects)).toEqual(["state", "mlp", "attention"]);
    for (const grid of Object.values(found.effects)) expect(grid.map((row) => row.length)).toEqual(found.rows.map(() => blocks));
    // The last state of the last block is all that the answer is read from.
    const corrupted = (found as unknown as { corrupted: number }).corrupted;
    expect(found.effects.state!.at(-1)!.at(-1)).toBeCloseTo(found.clean - corrupted, 6);
    const svg = readFileSync(at("trace.svg"), "utf8");
    expect([...svg.matchAll(/<rect/g)]).toHaveLength(3 * found.rows.length * blocks);
    expect((await runLfm(...given, "--subject", subject)).err).toContain("is there already");
  });

  it("of a file: means by groups of tokens, of the parts that are asked for", async () => {
    const found = (await lfmJson(
      ...["edit", "trace", "--model", at("model"), "--requests", at("edits.json"), "--facts", "3", "--parts", "mlp", "--draws", "2"],
    )) as { prompts: number; rows: string[]; effects: Record<string, (number | null)[][]> };
    expect(found.prompts).toBe(3);
    expect(found.rows[2]).toBe("last subject token");
    expect(Object.keys(found.effects)).toEqual(["mlp"]);
    // Names are one token: there is no first and no middle one.
    expect(found.effects.mlp!.map((row) => row.includes(null)).slice(0, 3)).toEqual([true, true, false]);
  });

  it("says what is missing or wrong", async () => {
    const trace = (...more: string[]): ReturnType<typeof runLfm> => runLfm("edit", "trace", "--model", at("model"), ...more);
    expect(await trace()).toMatchObject({ code: 2, err: expect.stringContaining("--prompt and --subject") });
    expect((await trace("--prompt", "the home is", "--subject", subject)).err).toContain("lacks {}");
    expect((await trace("--prompt", "the home of {} is", "--subject", subject, "--parts", "mind")).err).toContain("state,mlp,attention");
    expect((await runLfm("edit", "lens", "--model", at("model"))).err).toContain("--prompt");
  });
});

it("lfm edit lens names tokens behind the embeddings and every block", async () => {
  const found = (await lfmJson("edit", "lens", "--model", at("model"), "--prompt", `the home of ${subject} is`, "--top", "2")) as {
    tokens: string[];
    blocks: { block: string; named: { text: string; probability: number }[][] }[];
  };
  expect(found.blocks.map((b) => b.block)).toEqual(["embeddings", "0", "1"]);
  for (const { named } of found.blocks) expect(named.map((tokens) => tokens.length)).toEqual(found.tokens.map(() => 2));
});

it("lfm edit where tries the layers and says which to write into", async () => {
  const given = ["edit", "where", "--model", at("model"), "--requests", at("edits.json"), "--edits", "2", "--draws", "2"];
  const found = (await lfmJson(...given, "--corpus", at("texts.txt"))) as {
    edits: number;
    best: number;
    layers: { layer: number; score: number; written: number; indirectEffect: number }[];
  };
  expect(found.edits).toBe(2);
  expect(found.layers.map((l) => l.layer)).toEqual([0, 1]);
  expect(found.layers.find((l) => l.layer === found.best)!.score).toBe(Math.max(...found.layers.map((l) => l.score)));
});

describe("lfm edit train-mend", () => {
  const train = ["edit", "train-mend", "--requests", at("edits.json"), "--steps", "2", "--rank", "2", "--blocks", "1", "--edits", "2"];

  it("leaves an editor that lfm edit mend writes with, on its own model alone", async () => {
    const learned = (await lfmJson(...train, "--model", at("model"), "--out", at("editor"))) as {
      cases: { train: number; heldOut: number };
      heldOut: Record<string, number>;
    };
    expect(learned.cases.train).toBeGreaterThan(0);
    expect(Object.keys(learned.heldOut)).toEqual(["loss", "answer", "drift", "written", "unchanged"]);
    expect(existsSync(join(at("editor"), "editor.safetensors"))).toBe(true);
    const fact = ["--prompt", "the home of {} is", "--subject", subject, "--target", "caerton"];
    const written = (await lfmJson("edit", "mend", "--model", at("model"), "--editor", at("editor"), ...fact, "--out", at("patch"))) as {
      edits: unknown[];
      bytes: number;
    };
    expect(written.edits).toHaveLength(1);
    expect(written.bytes).toBeGreaterThan(0);
    const foreign = await runLfm("edit", "mend", "--model", at("other"), "--editor", at("editor"), ...fact, "--out", at("none"));
    expect(foreign).toMatchObject({ code: 1, err: expect.stringContaining("learned to edit another model") });
    expect(existsSync(at("none"))).toBe(false);
  });

  it("asks for facts where the model brings none", async () => {
    expect((await runLfm("edit", "train-mend", "--model", at("model"), "--out", at("none"))).err).toContain("--requests edits.json");
  });
});
