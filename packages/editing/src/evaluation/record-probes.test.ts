import { parseEdits } from "@lfm/data";
import { describe, expect, it } from "vitest";
import { recordProbes } from "./record-probes.js";

const probesOf = (fields: object) => recordProbes(parseEdits("edits.json", JSON.stringify([fields]))[0]!);

describe("the questions of published records", () => {
  it("CounterFact: paraphrases, neighbours with the old object, others with the new one", () => {
    const probes = probesOf({
      requested_rewrite: {
        prompt: "{} speaks",
        relation_id: "P1",
        subject: "Ada",
        target_new: { str: "French", id: "Q1" },
        target_true: { str: "Dutch", id: "Q2" },
      },
      paraphrase_prompts: ["Ada is at home in", "What does Ada speak?"],
      neighborhood_prompts: ["Bo speaks"],
      attribute_prompts: ["Cy speaks"],
    });
    expect(probes).toEqual([
      { kind: "efficacy", prompt: "Ada speaks", answer: "French", rival: "Dutch" },
      { kind: "paraphrase", prompt: "Ada is at home in", answer: "French", rival: "Dutch" },
      { kind: "question", prompt: "What does Ada speak?", answer: "French", rival: "Dutch" },
      { kind: "same-value", prompt: "Bo speaks", answer: "Dutch", rival: "French" },
      { kind: "same-relation", prompt: "Cy speaks", answer: "French" },
    ]);
  });

  it("EasyEdit's CounterFact: a neighbour is known by its object", () => {
    const fields = {
      prompt: "The mother tongue of Ada is",
      target_new: "English",
      subject: "Ada",
      ground_truth: "French",
      rephrase_prompt: "Where Ada is from, people speak",
      locality_prompt: "Bo is a native speaker of",
    };
    expect(probesOf({ ...fields, locality_ground_truth: "French" }).map((p) => p.kind)).toEqual(["efficacy", "paraphrase", "same-value"]);
    expect(probesOf({ ...fields, locality_ground_truth: "Welsh" }).at(-1)).toEqual({
      kind: "unrelated",
      prompt: "Bo is a native speaker of",
      answer: "Welsh",
    });
  });

  it("zsRE: questions about questions are paraphrases, what the file draws elsewhere is unrelated", () => {
    const probes = probesOf({
      subject: "UniFirst",
      src: "What is made by UniFirst?",
      rephrase: "What will be the product of UniFirst?",
      alt: "aircraft",
      answers: ["uniform"],
      loc: "nq question: who made it",
      loc_ans: "Bo",
    });
    expect(probes.map((p) => [p.kind, p.answer, p.rival])).toEqual([
      ["efficacy", "aircraft", "uniform"],
      ["paraphrase", "aircraft", "uniform"],
      ["unrelated", "Bo", undefined],
    ]);
  });

  it("KnowEdit: aliases, hops and what holds the other way round; other relations of the subject", () => {
    const probes = probesOf({
      subject: "Ada",
      prompt: "The spouse of Ada is",
      target_new: "Bo",
      ground_truth: [["Cy"]],
      portability: {
        Subject_Aliasing: [{ prompt: "The spouse of Adele is", ground_truth: [["Bo", "Bob"]] }],
        Reasoning: [{ prompt: "The father-in-law of Ada is", ground_truth: [["Dee"]] }],
        Logical_Generalization: [{ prompt: "The spouse of Bo is", ground_truth: [["Ada"]] }],
      },
      locality: { Relation_Specificity: [{ prompt: "The home of Ada is", ground_truth: [["York"]] }] },
    });
    expect(probes.map(({ kind, answer, rival }) => [kind, answer, rival])).toEqual([
      ["efficacy", "Bo", "Cy"],
      ["alias", "Bo", "Cy"],
      ["one-hop", "Dee", undefined],
      ["inverse", "Ada", undefined],
      ["same-subject", "York", undefined],
    ]);
    expect(probes[1]!.aliases).toEqual(["Bob"]);
  });

  it("asks nothing that a record does not ask, nor what it has no answer to", () => {
    expect(probesOf({ prompt: "{} eats", subject: "Ada", target: "tea" })).toEqual([
      { kind: "efficacy", prompt: "Ada eats", answer: "tea" },
    ]);
    const open = { prompt: "{} eats", subject: "Ada", target_new: "tea", locality: { Relation_Specificity: [{ prompt: "Ada wears" }] } };
    expect(probesOf(open)).toHaveLength(1);
  });
});
