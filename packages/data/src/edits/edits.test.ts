import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { counterfacts, createWorld } from "../world/index.js";
import { type EditForm, type EditRecord, editConflicts, editOf, formatEdits, parseEdits, placeOfSubject } from "./index.js";

const read = (fields: Record<string, unknown>): EditRecord => editOf({ at: "edits.json, example 1", fields });
const asked = ({ questions }: EditRecord): unknown[] => questions.map((p) => [p.axis, p.kind, p.prompt, p.answers]);

describe("records of edits", () => {
  it("of CounterFact", () => {
    const record = read({
      case_id: 3,
      pararel_idx: 21729,
      requested_rewrite: {
        prompt: "{} plays in the position of",
        relation_id: "P413",
        target_new: { str: "goaltender", id: "Q1317534" },
        target_true: { str: "midfielder", id: "Q193592" },
        subject: "Ada Stone",
      },
      paraphrase_prompts: ["Nothing is said. Ada Stone plays as", "Ada Stone, the"],
      neighborhood_prompts: ["Bo Reed plays in the position of"],
      attribute_prompts: ["Cy Hall plays in the position of"],
      generation_prompts: ["Ada Stone's greatest strength is"],
    });
    expect(record).toMatchObject({
      form: "counterfact",
      subject: "Ada Stone",
      prompt: "Ada Stone plays in the position of",
      subjectStart: 0,
      target: "goaltender",
      truth: ["midfielder"],
      relation: "P413",
      generation: ["Ada Stone's greatest strength is"],
    });
    expect(asked(record)).toEqual([
      ["paraphrase", "paraphrase", "Nothing is said. Ada Stone plays as", ["goaltender"]],
      ["paraphrase", "paraphrase", "Ada Stone, the", ["goaltender"]],
      ["locality", "neighborhood", "Bo Reed plays in the position of", ["midfielder"]],
      ["locality", "attribute", "Cy Hall plays in the position of", ["goaltender"]],
    ]);
  });

  it("of zsRE, with portability and without", () => {
    const fields = {
      subject: "Mill Creek",
      src: "What river does Mill Creek join?",
      pred: "Ohio",
      rephrase: "Which river is Mill Creek a part of?",
      alt: "Thames",
      answers: ["Ohio", "Ohio River"],
      loc: "nq question: who wrote it",
      loc_ans: "Nobody",
      cond: "Ohio >> Thames || What river does Mill Creek join?",
    };
    const record = read(fields);
    expect(record).toMatchObject({ form: "zsre", subjectStart: 16, target: "Thames", truth: ["Ohio", "Ohio River"] });
    expect(record.relation).toBe("What river does {} join?");
    expect(asked(record)).toEqual([
      ["paraphrase", "rephrase", "Which river is Mill Creek a part of?", ["Thames"]],
      ["locality", "loc", "nq question: who wrote it", ["Nobody"]],
    ]);
    const portability = {
      "Recalled Relation": "(Thames, mouth, North Sea)",
      "New Question": "Where does it end?",
      "New Answer": "North Sea",
    };
    expect(asked(read({ ...fields, portability })).at(-1)).toEqual(["portability", "New Question", "Where does it end?", ["North Sea"]]);
  });

  it("of KnowEdit: answers in lists of lists, kinds that are missing, WikiBio's own names", () => {
    const record = read({
      subject: "Leo Arons",
      prompt: "The place of death of Leo Arons is",
      target_new: "Berlin",
      portability: {
        Logical_Generalization: [{ prompt: "Is Leo Arons still alive?", ground_truth: [["no", "incorrect"], ["is dead"]] }],
        Subject_Aliasing: [{ prompt: "Martin Leo Arons died in", ground_truth: "Berlin" }],
        Reasoning: null,
      },
      locality: {
        Relation_Specificity: [
          { prompt: "The father of Leo Arons is", ground_truth: [["Albert"]] },
          { prompt: "", ground_truth: [] },
        ],
      },
    });
    expect(record).toMatchObject({ form: "knowedit", subjectStart: 22, truth: [], relation: "The place of death of {} is" });
    expect(asked(record)).toEqual([
      ["portability", "Logical_Generalization", "Is Leo Arons still alive?", ["no", "incorrect", "is dead"]],
      ["portability", "Subject_Aliasing", "Martin Leo Arons died in", ["Berlin"]],
      ["locality", "Relation_Specificity", "The father of Leo Arons is", ["Albert"]],
    ]);
    const bio = read({ text: "A passage about leo arons. He", labels: "was a physicist.", concept: "leo arons", locality: {} });
    expect(bio).toMatchObject({ form: "knowedit", subject: "leo arons", target: "was a physicist.", subjectStart: 16, questions: [] });
  });

  it("of EasyEdit: its files, and the requests of its editor", () => {
    const record = read({
      case_id: 0,
      prompt: "The mother tongue of Ada is",
      target_new: "English",
      subject: "Ada",
      ground_truth: "French",
      rephrase_prompt: "Where Ada is from, people speak",
      locality_prompt: "Bo is a native speaker of",
      locality_ground_truth: "French",
    });
    expect(record).toMatchObject({ form: "easyedit", truth: ["French"], subjectStart: 21 });
    expect(asked(record)).toEqual([
      ["paraphrase", "rephrase", "Where Ada is from, people speak", ["English"]],
      ["locality", "locality", "Bo is a native speaker of", ["French"]],
    ]);
    const request = read({
      prompt: "Ada speaks",
      target_new: "English",
      subject: "Ada",
      locality: { neighborhood: { prompt: ["Bo speaks", "Cy speaks"], ground_truth: ["French", "Dutch"] } },
      portability: { one_hop: { prompt: "Ada's people speak", ground_truth: "English" } },
    });
    expect(request.form).toBe("easyedit");
    expect(asked(request)).toEqual([
      ["portability", "one_hop", "Ada's people speak", ["English"]],
      ["locality", "neighborhood", "Bo speaks", ["French"]],
      ["locality", "neighborhood", "Cy speaks", ["Dutch"]],
    ]);
  });

  it("of the short form, with {} or the subject in the prompt; a prompt that lacks its subject has no place for it", () => {
    const short = { prompt: "the home of {} is", subject: "A$&B", target: "Paris" };
    expect(read(short)).toMatchObject({ form: "short", prompt: "the home of A$&B is", subjectStart: 12, relation: "the home of {} is" });
    expect(read({ ...short, prompt: "the home of A$&B is" })).toMatchObject({ subjectStart: 12, relation: "the home of {} is" });
    const lacking = read({ ...short, prompt: "the home is" });
    expect([lacking.subjectStart, lacking.relation]).toEqual([undefined, undefined]);
    expect(read({ ...short, relation: "P19", truth: "Rome" })).toMatchObject({ relation: "P19", truth: ["Rome"] });
  });

  it("of the generated world are CounterFact's, with what follows and what stays", () => {
    for (const fact of counterfacts(createWorld({ seed: 7 }), { count: 4 })) {
      const record = read({ ...fact });
      const { prompt, subject } = fact.requested_rewrite;
      expect(record.prompt).toBe(prompt.split("{}").join(subject));
      const on = (axis: string, kind: string): string[] =>
        record.questions.filter((p) => p.axis === axis && p.kind === kind).map((p) => p.prompt);
      expect(on("portability", "portability")).toEqual(fact.portability.map((p) => p.prompt));
      expect(on("locality", "locality")).toEqual(fact.locality.map((p) => p.prompt));
      expect(on("locality", "neighborhood")).toEqual(fact.neighborhood_prompts);
    }
  });

  it.each<[string, unknown]>([
    ['is no fact: no "subject"', { prompt: "x {}", target: "y" }],
    ["is no fact: it has prompt, subject, and no target", { prompt: "x {}", subject: "y" }],
    ['is no fact: its "target" is empty', { prompt: "x {}", subject: "y", target: " " }],
    ["hold {} once", { prompt: "{} is {}", subject: "y", target: "z" }],
    ['"requested_rewrite" is no object', { requested_rewrite: "x" }],
    ['is no fact: its "str" is empty', { requested_rewrite: { prompt: "{} is", subject: "x", target_new: { str: "" } } }],
    [
      "2 prompts have 1 answers",
      { prompt: "a", subject: "a", target_new: "b", locality: { n: { prompt: ["p", "q"], ground_truth: ["r"] } } },
    ],
    ['"locality" is no object', { prompt: "a", subject: "a", target_new: "b", locality: 3 }],
    ["is no object with a prompt", { prompt: "a", subject: "a", target_new: "b", locality: { n: [3] } }],
    [
      "nests more than 64 objects and lists",
      { prompt: "a", subject: "a", target: "b", x: JSON.parse(`${"[".repeat(70)}${"]".repeat(70)}`) as unknown },
    ],
    ['"ground_truth" is neither a text', { prompt: "a", subject: "a", target_new: "b", ground_truth: [[[["c"]]]] }],
  ])("are refused: %s", (message, fields) => {
    expect(() => parseEdits("set.jsonl", `\n${JSON.stringify(fields)}\n`)).toThrow(
      expect.objectContaining({ code: "FILE_FORMAT", message: expect.stringContaining(message) }),
    );
    expect(() => parseEdits("set.jsonl", `\n${JSON.stringify(fields)}\n`)).toThrow(/set\.jsonl:2/);
  });

  it("are refused with a number that JSON cannot write again", () => {
    expect(() => parseEdits("set.json", '[{"prompt":"a","subject":"a","target":"b","x":[1e400]}]')).toThrow("holds NaN or Infinity");
  });
});

// Words that come apart from each other, so that a subject has one place.
const word = fc.stringMatching(/^[a-zé日]{1,8}$/);
const words = fc.array(word, { minLength: 1, maxLength: 5 }).map((w) => w.join(" "));
const name = fc.stringMatching(/^[A-Z][a-z]{2,8}( [A-Z][a-z]{2,8})?$/);
const more = fc.dictionary(fc.constantFrom("case_id", "cond", "x", "note", "__proto__"), fc.jsonValue({ maxDepth: 2 }), {
  maxKeys: 3,
  noNullPrototype: true,
});
const pair = fc.record({ prompt: words, ground_truth: fc.oneof(words, fc.array(fc.array(words, { maxLength: 2 }), { maxLength: 2 })) });
const kinds = fc.dictionary(fc.constantFrom("Reasoning", "Subject_Aliasing", "Forgetfulness"), fc.array(pair, { maxLength: 3 }), {
  minKeys: 1,
  noNullPrototype: true,
});
const texts = fc.array(words, { maxLength: 3 });

interface Made {
  readonly form: EditForm;
  readonly fields: Record<string, unknown>;
  readonly fact: readonly [subject: string, prompt: string, target: string];
  /** Everything that is asked beside the fact. */
  readonly asked: readonly string[];
}

const prompted = (listed: Record<string, { prompt: string }[]>): string[] => Object.values(listed).flatMap((l) => l.map((p) => p.prompt));
const made: fc.Arbitrary<Made> = fc
  .record({ subject: name, before: words, after: words, target: words, truth: words, extra: more })
  .chain((f) => {
    const { subject, target } = f;
    const prompt = `${f.before} ${subject} ${f.after}`;
    const fact = [subject, prompt, target] as const;
    const of = (form: EditForm, fields: Record<string, unknown>, asked: readonly string[]): Made => ({
      form,
      fields: { ...f.extra, ...fields },
      fact,
      asked,
    });
    return fc.oneof(
      fc.tuple(texts, texts, texts).map(([a, b, c]) => {
        const rewrite = {
          prompt: `${f.before} {} ${f.after}`,
          subject,
          target_new: { str: target, id: "Q1" },
          target_true: { str: f.truth, id: "" },
        };
        return of("counterfact", { requested_rewrite: rewrite, paraphrase_prompts: a, neighborhood_prompts: b, attribute_prompts: c }, [
          ...a,
          ...b,
          ...c,
        ]);
      }),
      fc
        .tuple(words, words, texts)
        .map(([r, l, answers]) =>
          of("zsre", { subject, src: prompt, pred: f.truth, rephrase: r, alt: target, answers, loc: l, loc_ans: "x" }, [r, l]),
        ),
      fc
        .tuple(kinds, kinds, words)
        .map(([p, l, r]) =>
          of("knowedit", { subject, prompt, target_new: target, rephrase: r, portability: p, locality: l }, [
            r,
            ...prompted(p),
            ...prompted(l),
          ]),
        ),
      fc
        .tuple(words, words)
        .map(([r, l]) =>
          of("easyedit", { prompt, subject, target_new: target, ground_truth: f.truth, rephrase_prompt: r, locality_prompt: l }, [r, l]),
        ),
      fc.constant(of("short", { prompt, subject, target, truth: f.truth }, [])),
    );
  });

describe("sets of edits", () => {
  it("of any form are read whole, and written back equal, as a list and in lines", () => {
    fc.assert(
      fc.property(fc.array(made, { minLength: 1, maxLength: 4 }), fc.constantFrom("json" as const, "jsonl" as const), (all, kind) => {
        const text = kind === "json" ? JSON.stringify(all.map((m) => m.fields)) : all.map((m) => JSON.stringify(m.fields)).join("\n");
        const records = parseEdits(`set.${kind}`, text);
        for (const [i, record] of records.entries()) {
          expect(record.form).toBe(all[i]!.form);
          expect([record.subject, record.prompt, record.target]).toEqual(all[i]!.fact);
          expect(record.prompt.slice(record.subjectStart).startsWith(record.subject)).toBe(true);
          expect(record.questions.map((p) => p.prompt)).toEqual(all[i]!.asked);
        }
        const again = formatEdits(records, kind);
        expect(valuesOf(again, kind)).toEqual(valuesOf(text, kind));
        expect(parseEdits(`again.${kind}`, again).map((r) => r.fields)).toEqual(records.map((r) => r.fields));
      }),
      { numRuns: 40 },
    );
  });
});

function valuesOf(text: string, kind: "json" | "jsonl"): unknown {
  const lines = text.trim().split("\n");
  return kind === "json" ? JSON.parse(text) : lines.map((line) => JSON.parse(line) as unknown);
}

describe("the place of a subject", () => {
  it("is its last mention that is no part of a word", () => {
    expect(placeOfSubject("Adam knows Ada; Adam's Ada is", "Ada")).toBe(23);
    expect(placeOfSubject("Adam is", "Ada")).toBe(0);
    expect(placeOfSubject("aaaa", "aa")).toBe(2);
    expect(placeOfSubject("who", "Ada")).toBe(undefined);
    expect(placeOfSubject("who", "")).toBe(undefined);
  });
});

describe("conflicts", () => {
  const claim = (subject: string, target: string, relation = "P1", truth: readonly string[] = []) => ({ subject, target, relation, truth });

  it("are two edits of one relation of one subject: told apart by what the later one says", () => {
    const edits = [
      claim("Ada", "Paris", "P1", ["Rome"]),
      claim("Bo", "Paris"),
      claim("ada ", "Oslo"),
      claim("Ada", "Rome"),
      claim("Ada", "rome"),
      claim("Ada", "Paris", "P2"),
      claim("Ada", "Oslo"),
    ];
    expect(editConflicts(edits).map((c) => [c.kind, edits.indexOf(c.earlier), edits.indexOf(c.later)])).toEqual([
      ["other", 0, 2],
      ["back", 2, 3],
      ["again", 3, 4],
      ["back", 4, 6],
    ]);
    expect(
      editConflicts([
        { subject: "Ada", target: "Paris" },
        { subject: "Ada", target: "Rome" },
      ]),
    ).toEqual([]);
  });
});
