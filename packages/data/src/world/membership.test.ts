import { expect, it } from "vitest";
import { membershipSplit } from "./membership.js";
import { createWorld } from "./world.js";

const world = createWorld();
const split = membershipSplit(world, { seed: 5, size: 300 });

it("parts one population into equal halves that share no question", () => {
  const { members, nonMembers, reference, population } = split;
  expect([members.length, nonMembers.length, reference.length, population.length]).toEqual([300, 300, 300, 600]);
  const questions = [...members, ...nonMembers, ...reference].map((r) => `${r.fact.subject}/${r.fact.relation}`);
  expect(new Set(questions).size).toBe(900);
  expect(new Set([...members, ...nonMembers])).toEqual(new Set(population));
});

it("members and non-members look alike: relations and forms are equally common within chance", () => {
  for (const relation of world.relations) {
    const share = (list: typeof split.members): number => list.filter((r) => r.fact.relation === relation.id).length / list.length;
    // Hypergeometric: the standard deviation of the difference is about .027; four of them.
    expect(Math.abs(share(split.members) - share(split.nonMembers))).toBeLessThan(0.11);
  }
});

it("never tells a stranger's true value more often than chance", () => {
  const told = split.population.filter((r) => r.answer === world.valueOf(r.fact.subject, r.fact.relation)).length;
  expect(told / split.population.length).toBeLessThan(0.06);
  for (const r of split.population) {
    expect(r.text).toBe(`${r.prompt} ${r.answer} .`);
    expect(world.vocabulary.encode(r.text)).not.toContain(world.vocabulary.unk);
  }
});

it("gives shadow models halves, complementary in pairs, different between pairs", () => {
  const [a, b, c] = [split.shadow(0), split.shadow(1), split.shadow(2)];
  expect(a.filter(Boolean)).toHaveLength(300);
  expect(b).toEqual(a.map((inside) => !inside));
  const agreement = a.filter((inside, i) => inside === c[i]).length / a.length;
  expect(Math.abs(agreement - 0.5)).toBeLessThan(0.1);
  expect(split.shadow(2)).toEqual(c);
});

it("is a pure function of world and options, and refuses what the world cannot give", () => {
  const again = membershipSplit(world, { seed: 5, size: 300 });
  expect(again.members).toEqual(split.members);
  expect(membershipSplit(world, { seed: 6, size: 300 }).members).not.toEqual(split.members);
  expect(() => membershipSplit(world, { size: 2000 })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});
