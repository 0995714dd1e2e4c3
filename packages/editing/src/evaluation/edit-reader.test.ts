import { ortEngine, Rng } from "@lfm/core";
import { createPredictor, idsOfText, logProbabilities, textRules } from "@lfm/models";
import { loadZoo, type Zoo, zooTokenizer } from "@lfm/models/zoo";
import { beforeAll, expect, it } from "vitest";
import { createAnswerScorer } from "./answer-scorer.js";
import { keysOfEdits } from "./edit-keys.js";
import { createEditReader, type EditReader } from "./edit-reader.js";
import { rankOfKeys } from "./key-rank.js";
import type { EditProbe } from "./probes.js";

let zoo: Zoo;
let reader: EditReader;
const engine = ortEngine({ threads: 1 });

beforeAll(async () => {
  zoo = await loadZoo();
  reader = await createEditReader(await engine, zoo.lm, textRules(zooTokenizer(zoo.world), { limits: zoo.lm.info }));
  return () => reader.dispose();
});

/** Answers of several tokens too: the sentence goes on after the value. */
const probesOf = ({ world }: Zoo): readonly EditProbe[] =>
  world.facts.slice(0, 4).map(({ subject, relation, value }, i) => ({
    kind: "efficacy",
    prompt: world.relation(relation).templates[2]!.replace("{}", subject),
    answer: i % 2 === 0 ? value : `${value} . ${subject} seems`,
    rival: world.values[relation]!.find((other) => other !== value)!,
  }));

it("scores answers as a pass over prompt and answer gives them", async () => {
  const probes = probesOf(zoo);
  const scorer = await createAnswerScorer(await engine, zoo.lm, { batchSize: 2 });
  const { bos } = zoo.world.vocabulary;
  const ids = (text: string): number[] => [...idsOfText({ tokenizer: zooTokenizer(zoo.world) }, text)];
  const items = probes.map(({ prompt, answer }) => ({ prompt: [bos, ...ids(prompt)], answer: ids(answer) }));
  const found = await scorer.score(items);
  const predictor = await createPredictor(await engine, zoo.lm, "logits");
  const logits = await predictor.predict(items.map(({ prompt, answer }) => [...prompt, ...answer]));
  for (const [i, { prompt, answer }] of items.entries()) {
    const [, vocab] = logits[i]!.shape as [number, number];
    for (const [k, token] of answer.entries()) {
      const from = (prompt.length - 1 + k) * vocab;
      const row = logProbabilities((logits[i]!.data as Float32Array).slice(from, from + vocab));
      expect(found[i]!.logProbs[k]).toBeCloseTo(row[token]!, 4);
      expect(found[i]!.said[k]).toBe(row.indexOf(Math.max(...row)));
    }
  }
  await predictor.dispose();
  await scorer.dispose();
});

it("asks what is scored and what is generated alike: what comes first is what the model says", async () => {
  const probes = probesOf(zoo);
  const readings = await reader.read(probes);
  const words = zoo.world.vocabulary.words;
  for (const [i, { answer, generated, wanted, rival, unwanted }] of readings.entries()) {
    expect(wanted).toHaveLength(probes[i]!.answer.split(" ").length);
    expect(generated!.text.split(" ")[0]).toBe(words[answer.said[0]!]);
    expect(generated!.ended).toBe(true);
    expect([rival!.logProbs.length, unwanted!.length]).toEqual([1, 1]);
  }
  // The model knows these facts.
  expect(readings.map((r) => r.generated!.text)).toEqual(zoo.world.facts.slice(0, 4).map((f) => f.value));
});

it("writes on from its openings, the same with the same randomness", async () => {
  const openings = zoo.world.entities.slice(0, 2).map((name) => `${name} seems`);
  const first = await reader.write(openings, 6, new Rng(3));
  expect(first.map((text, i) => text.startsWith(openings[i]!) && text.split(" ").length === 8)).toEqual([true, true]);
  expect(await reader.write(openings, 6, new Rng(3))).toEqual(first);
});

it("refuses answers without tokens", async () => {
  await expect(reader.read([{ kind: "efficacy", prompt: "", answer: "" }])).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
});

it("finds a key of its own for each subject, and one for a subject that is asked twice", async () => {
  const { bos, encode, id } = zoo.world.vocabulary;
  const request = (subject: string) => ({
    prompt: [bos, ...encode(`${subject} lives in`)],
    subjectEnd: 1,
    target: [id(zoo.world.values.home![0]!)],
  });
  const [a, b, c] = zoo.world.entities as readonly string[] as [string, string, string];
  const { keys, count, width } = await keysOfEdits(await engine, zoo.lm, 2, [a, b, c, a].map(request));
  expect([count, width, keys.length]).toEqual([4, 2048, 4 * 2048]);
  expect(keys.slice(0, width)).toEqual(keys.slice(3 * width));
  expect(rankOfKeys(keys, count, width).rank).toBe(3);
});
