import { type CellOutcome, ortEngine, parseConfig, Rng } from "@lfm/core";
import { rome } from "@lfm/editing";
import { expect, it } from "vitest";
import { editingScenario } from "../src/scenarios/editing/counterfact.js";
import { readSuite } from "../src/suite.js";
import { meanOf, suiteCells } from "./suite-cells.js";

const seeds = [1, 2, 3];
const kept = (outcomes: readonly CellOutcome[]): number => outcomes.reduce((s, o) => s + o.retention!.kept, 0) / outcomes.length;

it("tuning: LoRA is within 2 points of full fine-tuning with less than 5 % of the parameters, and forgets less", async () => {
  const cells = await suiteCells("quick", "tuning", "text-task", seeds);
  const [full, lora] = [cells.full!, cells.lora!];
  expect(meanOf(lora, "accuracy")).toBeGreaterThan(meanOf(full, "accuracy") - 0.02);
  expect(meanOf(lora, "trainedShare")).toBeLessThan(0.05);
  expect(kept(lora)).toBeGreaterThan(kept(full));
  for (const name of ["houlsby", "pfeiffer"]) expect(meanOf(cells[name], "accuracy"), name).toBeGreaterThan(0.9);
  for (const [name, outcomes] of Object.entries(cells))
    expect(meanOf(outcomes, "accuracy"), name).toBeGreaterThan(meanOf(outcomes, "baseAccuracy") + 0.1);
});

it("reuse: TIES and task arithmetic are above averaging, averaging above the base, the ensemble near its members", async () => {
  const cells = await suiteCells("quick", "reuse", "text-tasks-merge", seeds);
  const accuracy = (id: string): number => meanOf(cells[id], "accuracy");
  expect(accuracy("task-arithmetic")).toBeGreaterThan(accuracy("average"));
  expect(accuracy("ties")).toBeGreaterThan(accuracy("average"));
  expect(accuracy("average")).toBeGreaterThan(meanOf(cells.average, "baseAccuracy"));
  expect(accuracy("ensemble")).toBeGreaterThan(meanOf(cells.ensemble, "individualAccuracy") - 0.05);
});

it("editing: ROME writes what it is told, in other words too, and leaves the neighbours alone; every edit can be dropped", async () => {
  const cells = await suiteCells("quick", "editing", "counterfact", seeds);
  const rome = cells.rome!;
  expect(meanOf(rome, "efficacy")).toBeGreaterThanOrEqual(95);
  expect(meanOf(rome, "paraphrase")).toBeGreaterThanOrEqual(80);
  expect(meanOf(rome, "neighbourhood")).toBeGreaterThanOrEqual(85);
  for (const outcomes of Object.values(cells)) {
    expect(meanOf(outcomes, "reverted")).toBe(1);
    expect(kept(outcomes)).toBeGreaterThan(0.95);
  }
});

it("editing: the block that ROME writes to is the one that is best on edits about other people", async () => {
  const chosen = readSuite("quick").cells.find((c) => c.method === "rome")!.config!;
  const engine = await ortEngine();
  const made = new Map<string, Promise<unknown>>();
  const shared = <T>(key: string, make: () => Promise<T>): Promise<T> => {
    if (!made.has(key)) made.set(key, make());
    return made.get(key) as Promise<T>;
  };
  const scenario = editingScenario("development");
  const folders = { data: undefined, models: undefined };
  const quiet = { log: () => {}, progress: () => {} };
  const scores: number[] = [];
  for (const layer of [0, 1, 2, 3]) {
    const config = parseConfig(rome, { ...chosen, layer });
    const context = { engine, rng: new Rng(11), seed: 11, access: scenario.access, shared, folders, ...quiet };
    scores.push((await scenario.run({ method: rome, config }, context)).metrics.counterfactScore!.value!);
  }
  expect(scores[chosen.layer as number]).toBe(Math.max(...scores));
});
