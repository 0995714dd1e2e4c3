import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-run-file-"));
const at = (name: string): string => join(folder, name);
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, text: string): string => {
  writeFileSync(at(name), text);
  return at(name);
};

beforeAll(() => {
  const rows = Array.from({ length: 8 }, (_, i) => JSON.stringify({ prompt: `say ${i} :`, completion: i % 2 ? "<l0>" : "<l1>" }));
  file("train.jsonl", rows.join("\n"));
});

interface Report {
  readonly config: Readonly<Record<string, unknown>>;
  readonly model: string;
}

describe("--config", () => {
  it("takes options by key and by flag; what is typed wins, and defaults do not", async () => {
    const run = file(
      "run.yaml",
      `model: zoo-lm\ndata: ${at("train.jsonl")}\nsteps: 2\nr: 2\nlora-alpha: 6\ntargetModules: [q, v]\nuseRslora: true\nbatchSize: 4\nlr: 0.5\n`,
    );
    await lfmJson("tune", "lora", "--config", run, "--lr", "0.01", "--out", at("out"));
    const { config, model } = JSON.parse(readFileSync(join(at("out"), "report.json"), "utf8")) as Report;
    expect(model).toBe("zoo-lm");
    expect(config).toMatchObject({
      steps: 2,
      r: 2,
      loraAlpha: 6,
      targetModules: ["q", "v"],
      useRslora: true,
      lr: 0.01,
      schedule: "constant",
    });
  });

  it.each([
    ["an unknown option", "rnk: 2", /there is no option "rnk"/, "did you mean"],
    ["one option twice", "loraAlpha: 1\nlora-alpha: 2", /are one option/, ""],
    ["a value of another kind", "steps: [1, 2]", /steps: it has one value/, ""],
    ["no number", "lr: fast", /lr: It must be a number/, ""],
    ["no choice", "regression: 3", /regression: it is true or false/, ""],
    ["a list", "- lr", /holds no options by name/, "lr: 0.003"],
    ["no YAML", "lr: [", /is no YAML/, ""],
    ["what the method refuses", "r: -1", /--r: /, "lfm methods show lora"],
  ])("refuses %s before any work", async (_, text, message, hint) => {
    const { code, err } = await runLfm(
      "tune",
      "lora",
      "--config",
      file("bad.yaml", text),
      "--model",
      "zoo-lm",
      "--data",
      at("train.jsonl"),
      at("no"),
    );
    expect(code).not.toBe(0);
    expect(err).toMatch(message);
    expect(err).toContain(hint);
    expect(existsSync(at("no"))).toBe(false);
  });

  it("has a JSON Schema with every option of the command", async () => {
    const { properties, additionalProperties } = (await lfmJson("methods", "schema", "lora")) as {
      readonly properties: Readonly<Record<string, { readonly type?: unknown }>>;
      readonly additionalProperties: boolean;
    };
    expect(additionalProperties).toBe(false);
    expect(properties.loraAlpha).toEqual(properties["lora-alpha"]);
    expect(properties.batchSize).toMatchObject({ type: "integer", minimum: 1 });
    for (const name of ["model", "data", "valid", "seed", "preset", "targetModules", "steps"]) expect(properties).toHaveProperty(name);
    for (const name of ["json", "config"]) expect(properties).not.toHaveProperty(name);
  });
});
