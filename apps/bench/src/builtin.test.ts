import { type MergeMethod, mergeMethods } from "@lfm/reuse";
import { describe, expect, it } from "vitest";
import { methods, scenarios } from "./builtin.js";
import { planSuite } from "./plan.js";
import { listSuites, readSuite } from "./suite.js";

const suites = listSuites();
const cellsOf = (name: string) => readSuite(name).cells;

describe("the suites of lfm", () => {
  it.each(suites.map((s) => s.name))(
    "%s plans: every scenario, method, preset and option exists, and methods are given what they need",
    async (name) => {
      const plan = await planSuite({ suite: name });
      expect(new Set(plan.cells.map((c) => c.hash)).size).toBe(plan.cells.length);
      // A method that is not given what it needs fails before any work.
      const needsOf = (c: (typeof plan.cells)[number]) => methods.find((m) => m.paradigm === c.paradigm && m.id === c.method)!.needs;
      expect(plan.cells.filter((c) => needsOf(c).some((need) => !c.access.includes(need))).map((c) => `${c.scenario}/${c.method}`)).toEqual(
        [],
      );
      // A line for every method is as many as there are.
      const lines = cellsOf(name).filter((c) => c.method !== "*").length;
      if (lines === cellsOf(name).length) expect(plan.cells).toHaveLength(lines * readSuite(name).seeds.length);
      else expect(plan.cells.length).toBeGreaterThanOrEqual(lines * readSuite(name).seeds.length);
    },
  );

  it("have file names that are their names", () => {
    expect(suites.map((s) => s.path.replace(/^.*\//, ""))).toEqual(suites.map((s) => `${s.name}.yaml`));
  });

  it("leave no scenario out", () => {
    const used = new Set(suites.flatMap((s) => cellsOf(s.name)).map((c) => `${c.paradigm}/${c.scenario}`));
    expect(scenarios.map((s) => `${s.paradigm}/${s.id}`).filter((id) => !used.has(id))).toEqual([]);
  });

  it("are the same cells in editing and editing-full, for every method in every scenario of the zoo; the smoke has each scenario", () => {
    expect(cellsOf("editing-full")).toEqual(cellsOf("editing"));
    const own = scenarios.filter((s) => s.paradigm === "editing" && s.options && !s.requires).map((s) => s.id);
    const every = cellsOf("editing").filter((c) => c.method === "*");
    expect(every.map((c) => c.scenario).toSorted()).toEqual(own.toSorted());
    expect([...new Set(cellsOf("editing-smoke").map((c) => c.scenario))].toSorted()).toEqual(own.toSorted());
  });

  it("leave no method out whose paradigm has a scenario, but those that no scenario poses", () => {
    const posed = new Set<string>(scenarios.map((s) => s.paradigm));
    const merging = new Map<string, MergeMethod["merging"]>(mergeMethods.map((m) => [m.id, m.merging]));
    const used = new Set(
      ["quick", "reuse", "tuning-tradeoff", "distillation", "retrieval", "meta"].flatMap(cellsOf).map((c) => `${c.paradigm}/${c.method}`),
    );
    // Its lines are for every method there is.
    for (const m of methods)
      if (cellsOf("editing").some((c) => c.method === "*" && c.paradigm === m.paradigm)) used.add(`${m.paradigm}/${m.id}`);
    const elsewhere = [
      // The language model that is tuned here has no biases, and sees no pictures.
      ...["tuning/bitfit", "tuning/vpt"],
      // These ask for more than a model and examples: adapters, a black box, words.
      ...["tuning/adapter-fusion", "tuning/black-box", "tuning/autoprompt", "tuning/in-context"],
      // Teachers of text: the scenarios of distillation are pictures.
      ...["distillation/gkd", "distillation/minillm", "distillation/minilm", "distillation/seq-kd", "distillation/tinybert"],
      // Adapters are another kind of thing than skills.
      ...["reuse/extract-lora", "reuse/lora-hub", "reuse/merge-lora", "reuse/moe-upcycling"],
    ];
    // A merge of at most two models cannot join several specialists.
    const missing = methods
      .filter((m) => posed.has(m.paradigm) && !(m.paradigm === "reuse" && (merging.get(m.id)?.models[1] ?? 3) < 3))
      .map((m) => `${m.paradigm}/${m.id}`)
      .filter((id) => !used.has(id));
    expect(missing.toSorted()).toEqual(elsewhere.toSorted());
  });

  it("are the same cells in quick and standard, with one and with three seeds", () => {
    expect(cellsOf("standard")).toEqual(cellsOf("quick"));
    expect([readSuite("quick").seeds.length, readSuite("standard").seeds.length]).toEqual([1, 3]);
  });

  it("ask for folders in real, and only there", () => {
    const needs = (name: string) =>
      cellsOf(name).map((c) => (scenarios.find((s) => s.paradigm === c.paradigm && s.id === c.scenario)?.requires ?? []).length > 0);
    expect(needs("quick").some(Boolean)).toBe(false);
    expect(needs("real").every(Boolean)).toBe(true);
  });
});
