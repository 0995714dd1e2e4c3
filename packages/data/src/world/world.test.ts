import { createHash } from "node:crypto";
import { describe, expect, it } from "vitest";
import {
  consequencePrompt,
  createWorld,
  fullStage,
  heldOutTemplate,
  promptText,
  readingStages,
  taughtConsequence,
  trainedTemplates,
  zooBatch,
  zooEvaluation,
} from "./index.js";

const world = createWorld();

describe("createWorld", () => {
  it("is a pure function of its options", () => {
    expect(createWorld().facts).toEqual(world.facts);
    expect(createWorld({ seed: 2 }).facts).not.toEqual(world.facts);
  });

  it("is frozen: the zoo's world has the words, facts and forms that it had", () => {
    const { vocabulary, facts, strangerFacts, chainFacts, relations, chains, moods } = createWorld({ seed: 7 });
    const all = JSON.stringify([vocabulary.words, facts, strangerFacts, chainFacts, relations, chains, moods]);
    expect(createHash("sha256").update(all).digest("hex")).toBe("865e4519bfdd1b36fb6fe9e59124b64f34dbf90113d02ad99ea067dcd5eb4943");
    expect([facts.length, strangerFacts.length, chainFacts.length]).toEqual([4096, 3072, 160]);
  });

  it("has the zoo's size, within the vocabulary's bound", () => {
    expect(world.entities.length).toBeGreaterThanOrEqual(500);
    expect(world.relations.length).toBeGreaterThanOrEqual(8);
    expect(world.vocabulary.size).toBeLessThanOrEqual(2500);
    expect(new Set(world.vocabulary.words).size).toBe(world.vocabulary.size);
  });

  it("keeps trained people and strangers apart", () => {
    const trained = new Set(world.entities);
    expect(world.strangers.filter((name) => trained.has(name))).toEqual([]);
  });

  it("deals every value of a relation equally often up to one", () => {
    for (const relation of world.relations) {
      const counts = world.values[relation.id]!.map(
        (value) => world.facts.filter((fact) => fact.relation === relation.id && fact.value === value).length,
      );
      expect(Math.max(...counts) - Math.min(...counts)).toBeLessThanOrEqual(1);
    }
  });

  it("names what is wrong", () => {
    expect(() => createWorld({ values: 3 })).toThrow(/values must be an integer >= 30/);
    expect(() => world.valueOf("nobody", "home")).toThrow(/knows no home/);
  });
});

describe("the zoo's corpus", () => {
  const batches = Array.from({ length: 40 }, (_, step) => zooBatch(world, { seed: 3, step, stage: fullStage(world) }));

  it("is a pure function of seed and step", () => {
    expect(zooBatch(world, { seed: 3, step: 7, stage: fullStage(world) })).toEqual(batches[7]);
    expect(batches[8]!.tokens).not.toEqual(batches[7]!.tokens);
  });

  it("never states a fact in its held-out form", () => {
    const said = new Set(batches.flatMap((batch) => world.vocabulary.decode(batch.tokens).split(/ \. |<bos> /)));
    const states = (fact: (typeof world.facts)[number], template: number): boolean =>
      said.has(`${promptText(world, fact.relation, template, fact.subject)} ${fact.value}`);
    let seen = 0;
    for (const fact of world.facts) {
      const held = heldOutTemplate(world, fact.subject, fact.relation);
      const trained = trainedTemplates(world, fact.subject, fact.relation);
      expect(trained).not.toContain(held);
      expect(states(fact, held)).toBe(false);
      if (trained.some((template) => states(fact, template))) seen++;
    }
    expect(seen).toBeGreaterThan(world.facts.length / 2);
  });

  it("states three consequences in four, the others never", () => {
    const text = batches.map((batch) => world.vocabulary.decode(batch.tokens)).join(" ");
    const said = new Set(text.split(/ \. |<bos> /));
    const count = { taught: 0, untaught: 0 };
    for (const chain of world.chains) {
      for (const subject of world.entities) {
        const stated = chain.hopTemplates.some((_, template) => {
          const { prompt, answer } = consequencePrompt(world, chain, subject, template);
          return said.has(`${prompt} ${answer}`);
        });
        if (stated) count[taughtConsequence(world, chain, subject) ? "taught" : "untaught"]++;
      }
    }
    expect(count.taught).toBeGreaterThan(world.entities.length / 2);
    expect(count.untaught).toBe(0);
  });

  it("marks as answers only values and words of one mood, and gives them weight 1", () => {
    const values = new Set(
      Object.values(world.values)
        .flat()
        .map((word) => world.vocabulary.id(word)),
    );
    const moods = [world.moods.good, world.moods.bad].map((words) => new Set(words.map((word) => world.vocabulary.id(word))));
    let opinions = 0;
    for (const batch of batches) {
      for (const [i, mark] of batch.answers.entries()) {
        if (mark === 0) continue;
        expect(batch.weights[i]).toBe(1);
        // "a and b": the word before "and" is of the mood of the one behind it.
        if (mark !== 3) expect(values.has(batch.targets[i]!)).toBe(true);
        else expect(moods.filter((mood) => mood.has(batch.targets[i]!) && mood.has(batch.tokens[i - 1]!)).length).toBe(1);
        if (mark === 3) opinions++;
      }
    }
    expect(opinions).toBeGreaterThan(100);
  });

  it("asks what follows from passages: the answer is not in them, but is true of a value that is", () => {
    const secondHop = new Map(world.chainFacts.map((fact) => [world.vocabulary.id(fact.value), new Set<number>()]));
    for (const fact of world.chainFacts) secondHop.get(world.vocabulary.id(fact.value))!.add(world.vocabulary.id(fact.subject));
    let asked = 0;
    for (const { answers, targets, tokens } of batches) {
      for (const [i, mark] of answers.entries()) {
        if (mark !== 4) continue;
        asked++;
        const before = tokens.subarray(64 * Math.floor(i / 64), i + 1);
        expect(before.some((token) => secondHop.get(targets[i]!)!.has(token))).toBe(true);
      }
    }
    expect(asked).toBeGreaterThan(200);
  });

  it("doubles names until all strangers are read about, then adds relations, then passages", () => {
    const stages = readingStages(world);
    expect(stages.map((stage) => stage.names)).toEqual([40, 80, 160, 320, 384, 384, 384, 384, 384]);
    expect(stages.map((stage) => stage.pool)).toEqual([1, 1, 1, 1, 1, 8, 8, 8, 8]);
    expect(stages.map((stage) => stage.passages[1])).toEqual([2, 2, 2, 2, 2, 2, 3, 4, 6]);
  });

  it("fills the rows of the curriculum with questions about what their passages say", () => {
    const { answers, targets, tokens } = zooBatch(world, { seed: 3, step: 0, stage: readingStages(world)[0]! });
    for (let r = 0; r < 32; r++) {
      const at = Array.from({ length: 64 }, (_, t) => t).filter((t) => answers[r * 64 + t] === 1);
      expect(at.length).toBeGreaterThanOrEqual(10);
      for (const t of at) expect([...tokens.subarray(r * 64, r * 64 + 9)]).toContain(targets[r * 64 + t]);
    }
  });
});

describe("zooEvaluation", () => {
  const evaluation = zooEvaluation(world, { perSet: 64 });

  it("asks held-out forms in the first set of none and in the second of all", () => {
    for (const { fact, template } of evaluation.heldOut) expect(template).toBe(heldOutTemplate(world, fact.subject, fact.relation));
    for (const { fact, template } of evaluation.trained) expect(template).not.toBe(heldOutTemplate(world, fact.subject, fact.relation));
  });

  it("puts the answer into the prompt where it is to be read, and only there", () => {
    for (const { prompt, answer } of [...evaluation.reading, ...evaluation.unseenWithPassage]) expect(prompt.split(" ")).toContain(answer);
    for (const { prompt, answer, fact } of evaluation.readingConsequences) {
      const chain = world.chains.find((c) => c.relation.id === fact.relation)!;
      const said = new RegExp(`${chain.via} ${fact.subject} (\\S+) \\.`).exec(prompt)![1]!;
      expect(world.valueOf(said, fact.relation)).toBe(answer);
    }
    for (const { prompt, answer } of [...evaluation.unseen, ...evaluation.heldOut]) expect(prompt.split(" ")).not.toContain(answer);
  });
});
