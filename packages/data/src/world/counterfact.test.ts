import { expect, it } from "vitest";
import { counterfacts } from "./counterfact.js";
import { heldOutTemplate, promptText } from "./statements.js";
import { createWorld, type World } from "./world.js";

const world = createWorld();
const records = counterfacts(world, { seed: 2, count: 200 });

/** The person and the relation that a prompt asks about, read off the prompt alone. */
function asked(of: World, prompt: string): { readonly subject: string; readonly relation: string; readonly template: number } {
  const names = new Set(of.entities);
  const subject = prompt.split(" ").find((word) => names.has(word))!;
  for (const relation of of.relations) {
    const template = relation.templates.findIndex((_, i) => promptText(of, relation.id, i, subject) === prompt);
    if (template >= 0) return { subject, relation: relation.id, template };
  }
  throw new Error(`no relation asks: ${prompt}`);
}

it("asks for a new value of the same relation, one record a person", () => {
  expect(new Set(records.map((r) => r.requested_rewrite.subject)).size).toBe(200);
  for (const { requested_rewrite: r } of records) {
    expect(world.valueOf(r.subject, r.relation_id)).toBe(r.target_true.str);
    expect(r.target_new.str).not.toBe(r.target_true.str);
    expect(world.values[r.relation_id]).toContain(r.target_new.str);
    expect(r.prompt).toContain("{}");
  }
});

it("paraphrases ask the same in other words, in forms that training used for the fact", () => {
  for (const { requested_rewrite: r, paraphrase_prompts } of records) {
    expect(paraphrase_prompts).toHaveLength(2);
    const all = [r.prompt.replace("{}", r.subject), ...paraphrase_prompts];
    expect(new Set(all).size).toBe(3);
    for (const prompt of all) {
      const { subject, relation, template } = asked(world, prompt);
      expect([subject, relation]).toEqual([r.subject, r.relation_id]);
      expect(template).not.toBe(0);
      expect(template).not.toBe(heldOutTemplate(world, subject, relation));
    }
  }
});

it("neighbours share relation and true value, attribute prompts the new value", () => {
  for (const { requested_rewrite: r, neighborhood_prompts, attribute_prompts } of records) {
    expect(neighborhood_prompts).toHaveLength(10);
    for (const [prompts, value] of [
      [neighborhood_prompts, r.target_true.str],
      [attribute_prompts, r.target_new.str],
    ] as const) {
      for (const prompt of prompts) {
        const { subject, relation } = asked(world, prompt);
        expect(relation).toBe(r.relation_id);
        expect(subject).not.toBe(r.subject);
        expect(world.valueOf(subject, relation)).toBe(value);
      }
    }
  }
});

it("carries consequences of the new value and the subject's other facts", () => {
  for (const { requested_rewrite: r, portability, locality } of records) {
    const chain = world.chains.find((c) => c.via === r.relation_id);
    expect(portability).toHaveLength(chain ? chain.hopTemplates.length : 0);
    for (const probe of portability) expect(probe.ground_truth).toBe(world.valueOf(r.target_new.str, chain!.relation.id));
    expect(locality).toHaveLength(world.relations.length - 1);
    for (const probe of locality) {
      const { subject, relation } = asked(world, probe.prompt);
      expect(subject).toBe(r.subject);
      expect(relation).not.toBe(r.relation_id);
      expect(world.valueOf(subject, relation)).toBe(probe.ground_truth);
    }
  }
  expect(records.some((r) => r.portability.length > 0)).toBe(true);
});

it("obeys relations, accept and count, and is a pure function of world and options", () => {
  const known = new Set(world.entities.slice(0, 20));
  const few = counterfacts(world, { count: 30, relations: ["home", "dish"], accept: (fact) => known.has(fact.subject) });
  expect(few).toHaveLength(30);
  expect(new Set(few.slice(0, 20).map((r) => r.requested_rewrite.subject)).size).toBe(20);
  for (const r of few) expect(["home", "dish"]).toContain(r.requested_rewrite.relation_id);
  expect(counterfacts(world, { seed: 2, count: 200 })).toEqual(records);
  expect(() => counterfacts(world, { count: 41, relations: ["home", "dish"], accept: (fact) => known.has(fact.subject) })).toThrow(
    expect.objectContaining({ code: "CONFIG_INVALID" }),
  );
  expect(() => counterfacts(world, { relations: ["hom"] })).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
});
