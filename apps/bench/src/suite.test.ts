import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSuite } from "./suite.js";

let dir: string;
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "lfm-suite-"));
});
afterAll(() => rmSync(dir, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(dir, name);
  writeFileSync(path, text);
  return path;
}

const cell = "{ paradigm: tuning, scenario: facts, method: lora }";

describe("readSuite", () => {
  it("reads a suite and puts the cells of the one it extends first", () => {
    const base = file("base.yaml", `name: base\nseeds: [1]\ncells:\n  - ${cell}\n`);
    expect(readSuite(base)).toEqual({
      name: "base",
      summary: "",
      seeds: [1],
      cells: [{ paradigm: "tuning", scenario: "facts", method: "lora" }],
    });
    const more = file(
      "more.yaml",
      `name: more\nextends: ${base}\nseeds: [1, 2]\ncells:\n  - { paradigm: tuning, scenario: facts, method: full }\n`,
    );
    expect(readSuite(more)).toMatchObject({ name: "more", seeds: [1, 2], cells: [{ method: "lora" }, { method: "full" }] });
  });

  it("takes options from the suite it extends, scenario by scenario", () => {
    const sizes = (edits: number) => `options:\n  tuning/facts: { edits: ${edits} }\n`;
    const base = file("sized.yaml", `name: sized\nseeds: [1]\n${sizes(10)}  tuning/count: { n: 3 }\ncells: [${cell}]\n`);
    const larger = file("larger.yaml", `name: larger\nextends: ${base}\nseeds: [1]\n${sizes(99)}`);
    expect(readSuite(larger).options).toEqual({ "tuning/facts": { edits: 99 }, "tuning/count": { n: 3 } });
  });

  it("makes a cell of every combination of the values that options go over", () => {
    const cells =
      "[{ paradigm: tuning, scenario: facts, method: prompt, preset: p, config: { steps: 5 }, over: { lr: [0.1, 1], init: [text, random] } }]";
    const { cells: made } = readSuite(file("over.yaml", `name: over\nseeds: [1]\ncells: ${cells}\n`));
    expect(made.map((c) => c.label)).toEqual([
      "p, lr 0.1, init text",
      "p, lr 0.1, init random",
      "p, lr 1, init text",
      "p, lr 1, init random",
    ]);
    expect(made[1]).toEqual({
      paradigm: "tuning",
      scenario: "facts",
      method: "prompt",
      preset: "p",
      label: "p, lr 0.1, init random",
      config: { steps: 5, lr: 0.1, init: "random" },
    });
  });

  it.each([
    [
      "an option that goes over nothing",
      "name: a\nseeds: [1]\ncells: [{ paradigm: tuning, scenario: s, method: m, over: { lr: [] } }]",
      "lr",
    ],
    ["an unknown field", `name: a\nseeds: [1]\nsedes: [2]\ncells: [${cell}]`, "sedes"],
    ["an unknown paradigm", "name: a\nseeds: [1]\ncells: [{ paradigm: tunning, scenario: s, method: m }]", "paradigm"],
    ["no seeds", `name: a\nseeds: []\ncells: [${cell}]`, "seeds"],
    ["broken YAML", "name: [", "no YAML"],
    ["itself as its base", `name: a\nextends: SELF\nseeds: [1]`, "extends itself"],
  ])("refuses %s", (_, text, says) => {
    const path = join(dir, "bad.yaml");
    file("bad.yaml", text.replace("SELF", path));
    expect(() => readSuite(path)).toThrow(says);
  });

  it("refuses a file that is not there", () => {
    expect(() => readSuite(join(dir, "none.yaml"))).toThrow("no suite file");
  });
});
