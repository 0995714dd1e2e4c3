import { expect, it } from "vitest";
import { meanOf, suiteCells } from "./suite-cells.js";

const missing = process.env.LFM_DATA === undefined ? "LFM_DATA is not set: the real data are not at hand" : undefined;

it("MNIST: a student that saw no digit answers 95 % of the test digits", async (context) => {
  if (missing) context.skip(missing);
  const { dafl } = await suiteCells("real", "distillation", "mnist-data-free", [1]);
  expect(dafl![0]!.dataUsed).toBe(0);
  expect(meanOf(dafl, "studentAccuracy")).toBeGreaterThanOrEqual(0.95);
});

it("Omniglot, alphabets never seen, 5-way: ProtoNet .85 from one example, .94 from five", async (context) => {
  if (missing) context.skip(missing);
  const { protonet } = await suiteCells("real", "meta", "omniglot-5way", [1]);
  expect(meanOf(protonet, "accuracy1Shot")).toBeGreaterThanOrEqual(0.85);
  expect(meanOf(protonet, "accuracy5Shot")).toBeGreaterThanOrEqual(0.94);
});
