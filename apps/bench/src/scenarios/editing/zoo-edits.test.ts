import { ortEngine } from "@lfm/core";
import { type ProbeKindId, probeKinds } from "@lfm/editing";
import { loadZoo, type Zoo } from "@lfm/models/zoo";
import { beforeAll, describe, expect, it } from "vitest";
import { isControl, type ZooEdit, zooEdits } from "./zoo-edits.js";

let zoo: Zoo;
let edits: readonly ZooEdit[];
const engine = ortEngine({ threads: 1 });
const options = { seed: 3, count: 40, people: "test" } as const;

beforeAll(async () => {
  zoo = await loadZoo();
  edits = await zooEdits(zoo, await engine, options);
});

const of = (edit: ZooEdit, kind: ProbeKindId) => edit.probes.filter((p) => p.kind === kind);

describe("edits of the zoo's facts", () => {
  it("are as many as asked for, of other subjects each, and one in five of a city's or a guild's facts", () => {
    expect(edits).toHaveLength(40);
    expect(new Set(edits.map((e) => e.fact.subject)).size).toBe(40);
    const values = edits.filter((e) => !zoo.world.entities.includes(e.fact.subject));
    expect(values.length).toBeGreaterThanOrEqual(5);
    for (const { fact, target, request } of edits) {
      expect(zoo.world.values[fact.relation]).toContain(target);
      expect(target).not.toBe(fact.value);
      expect(request.prompt[request.subjectEnd]).toBe(zoo.world.vocabulary.id(fact.subject));
    }
  });

  it("ask for the new value in the edit's forms, and for what was there in all that must stay", () => {
    for (const edit of edits) {
      for (const probe of edit.probes) {
        const { axis, expects } = probeKinds[probe.kind];
        if (axis === "efficacy" || axis === "generalisation" || probe.kind === "alias")
          expect(probe).toMatchObject({ answer: edit.target, rival: edit.fact.value });
        if (expects === "old") expect(probe.answer).not.toBe(edit.target);
      }
      expect([of(edit, "efficacy").length, of(edit, "unseen-form").length, of(edit, "question").length]).toEqual([1, 1, 1]);
      expect(
        new Set(["efficacy", "paraphrase", "unseen-form", "question"].flatMap((k) => of(edit, k as ProbeKindId).map((p) => p.prompt))).size,
      ).toBe(3 + of(edit, "paraphrase").length);
    }
  });

  it("grade what must stay by distance", () => {
    const { world } = zoo;
    const asks = (prompt: string, answer: string) => {
      const words = prompt.split(" ");
      return world.facts.filter((f) => words.includes(f.subject) && f.value === answer);
    };
    const people = edits.filter((e) => world.entities.includes(e.fact.subject));
    for (const edit of people) {
      const { subject, relation, value } = edit.fact;
      expect(of(edit, "same-subject")).toHaveLength(world.relations.length - 1);
      for (const p of of(edit, "same-subject")) expect(asks(p.prompt, p.answer)).toMatchObject([{ subject }]);
      for (const p of of(edit, "same-value")) {
        expect([p.answer, p.rival]).toEqual([value, edit.target]);
        expect(asks(p.prompt, p.answer)[0]).toMatchObject({ relation, value });
        expect(p.prompt.split(" ")).not.toContain(subject);
      }
      for (const p of of(edit, "same-relation")) expect([value, edit.target]).not.toContain(p.answer);
      for (const p of of(edit, "unrelated")) {
        expect(p.prompt.split(" ")).not.toContain(subject);
        expect(world.values[relation]).not.toContain(p.answer);
      }
    }
  });

  it("follow the new value to its consequence, and find cities by who lives there", () => {
    const { world } = zoo;
    for (const edit of edits) {
      const chain = world.chains.find((c) => c.via === edit.fact.relation);
      for (const p of of(edit, "one-hop")) {
        expect(p.answer).toBe(world.valueOf(edit.target, chain!.relation.id));
        expect(p.rival).toBe(world.valueOf(edit.fact.value, chain!.relation.id));
      }
      if (!chain) expect(of(edit, "one-hop")).toEqual([]);
      const second = world.chains.find((c) => c.relation.id === edit.fact.relation);
      for (const p of of(edit, "alias")) {
        const person = p.prompt.split(" ").find((word) => world.entities.includes(word))!;
        expect(world.valueOf(person, second!.via)).toBe(edit.fact.subject);
      }
    }
    expect(edits.some((e) => of(e, "alias").length > 0)).toBe(true);
  });

  it("never speak of people that settings are chosen on, and are the same again", async () => {
    const first = new Set(zoo.world.entities.slice(0, 128));
    expect(edits.filter((e) => first.has(e.fact.subject))).toEqual([]);
    const few = { ...options, count: 6 };
    expect(await zooEdits(zoo, await engine, few)).toEqual(await zooEdits(zoo, await engine, few));
    const development = await zooEdits(zoo, await engine, { ...few, people: "development", personsOnly: true });
    expect(development.every((e) => first.has(e.fact.subject))).toBe(true);
    const besideControl = await zooEdits(zoo, await engine, { ...few, people: "development", keepsControl: true, personsOnly: true });
    expect(besideControl.filter((e) => isControl(zoo.world, e.fact))).toEqual([]);
    expect(zoo.world.entities.filter((subject) => isControl(zoo.world, { subject }))).toEqual(zoo.world.entities.slice(96, 128));
  });
});
