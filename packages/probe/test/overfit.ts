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

/** Models that learned from random halves of all points, two by two from a half and from the rest. */
export function shadows(count: number): readonly ReferenceModel[] {
  return Array.from({ length: count }, (_, k) => {
    const half = new Set(new Rng(100 + Math.floor(k / 2)).sample(range(0, 2 * SIDE), SIDE));
    const rows = new Set(range(0, 2 * SIDE).filter((i) => half.has(i) === (k % 2 === 0)));
    const saw = (from: number): boolean[] => range(from, from + SIDE).map((i) => rows.has(i));
    return { model: trainLinear(points, [...rows]), saw: { members: saw(0), nonMembers: saw(SIDE) } };
  });
}

/** Models of points that neither side holds. */
export function outsiders(count: number): readonly ReferenceModel[] {
  return Array.from({ length: count }, (_, k) => ({ model: trainLinear(drawPoints(SIDE, 200 + k, 120), range(0, SIDE)) }));
}
