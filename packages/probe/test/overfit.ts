import { Rng } from "@lfm/core";
import type { MembershipInputs, ReferenceModel } from "../src/index.js";
import { asExamples, drawPoints, range, trainLinear } from "./linear-models.js";

/** Points of which the first half are members: as many as a linear model of their width overfits. */
const SIDE = 320;
const points = drawPoints(2 * SIDE, 5, 120);

/** A classifier that is far better on its members. */
export const overfit: MembershipInputs = {
  victim: trainLinear(points, range(0, SIDE)),
  members: asExamples(points, range(0, SIDE), "members"),
  nonMembers: asExamples(points, range(SIDE, 2 * SIDE), "others"),
};

/** The same data, and a model that learned from other points of the same law: what it says of both sides is chance. */
export const unaware: MembershipInputs = { ...overfit, victim: trainLinear(drawPoints(SIDE, 6, 120), range(0, SIDE)) };

/** Models that learned each from a random half of all points. */
export function shadows(count: number): readonly ReferenceModel[] {
  return Array.from({ length: count }, (_, k) => {
    const rows = new Set(new Rng(100 + k).sample(range(0, 2 * SIDE), SIDE));
    const saw = (from: number): boolean[] => range(from, from + SIDE).map((i) => rows.has(i));
    return { model: trainLinear(points, [...rows]), saw: { members: saw(0), nonMembers: saw(SIDE) } };
  });
}

/** Models of points that neither side holds. */
export function outsiders(count: number): readonly ReferenceModel[] {
  return Array.from({ length: count }, (_, k) => ({ model: trainLinear(drawPoints(SIDE, 200 + k, 120), range(0, SIDE)) }));
}
