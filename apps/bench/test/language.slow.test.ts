import type { CellOutcome } from "@lfm/core";
import { expect, it } from "vitest";
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
  for (const name of Object.keys(cells))
    expect(meanOf(cells[name], "accuracy"), name).toBeGreaterThan(meanOf(cells[name], "baseAccuracy") + 0.1);
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
