import { type Delta, type Engine, type MethodContext, type Model, ortEngine, Rng, runMethod, withDeltas } from "@lfm/core";
import { wordTokenizer } from "@lfm/formats";
import { createGenerator, createPredictor, initWeights, llama, textRules } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { type EditCase, type EditRequest, ike, prepareEditor } from "../src/index.js";

const words = "<pad> <bos> <unk> new : fact ask ; . ada bob cy eats wears fish bread silk home rome oslo of is".split(" ");
const id = (word: string): number => (words.includes(word) ? words.indexOf(word) : 2);
const ids = (text: string): number[] => text.split(" ").filter(Boolean).map(id);
const spell = (bos?: number) =>
  textRules(
    wordTokenizer({
      size: words.length,
      pad: 0,
      ...(bos === undefined ? {} : { bos }),
      eos: 0,
      unk: 2,
      encode: ids,
      decode: (tokens) => Array.from(tokens, (t) => words[t]).join(" "),
    }),
  );
const text = spell(1);
const sizes = {
  vocab_size: words.length,
  hidden_size: 8,
  intermediate_size: 12,
  num_hidden_layers: 2,
  num_attention_heads: 2,
  max_position_embeddings: 48,
};
const model = llama(sizes, initWeights(llama(sizes).info, { seed: 3, embeddingStd: 0.8 }));
const fact = (prompt: string, target: string): EditRequest => ({
  prompt: [1, ...ids(prompt)],
  subjectEnd: 1,
  target: ids(target),
  start: 1,
});
const options = { before: "new fact : ", between: " . ", after: " ; ask : ", separator: " . " };
let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["activations", "tokenizer"], log: () => {}, progress: () => {} };
});

async function next(on: Model, tokens: readonly number[]): Promise<number[]> {
  const predictor = await createPredictor(engine, on, "next");
  const [found] = await predictor.predict([tokens]);
  await predictor.dispose();
  return Array.from(found!.data, Number);
}
const frontOf = ({ tensors }: Delta): string =>
  [...tensors.context_tokens!.data, ...(tensors.joint_token?.data ?? [])].map((t) => words[Number(t)]).join(" ");

describe("IKE", () => {
  it("by hand: the facts in words, and the model answers as if they stood in the prompt, in generation too", async () => {
    const requests = [fact("ada eats", "fish"), fact("bob wears", "silk")];
    const { delta, model: told } = await runMethod(ike, { model, text, requests }, options, context);
    expect(frontOf(delta)).toBe("<bos> new fact : ada eats fish . new fact : bob wears silk ; ask :");
    const question = [1, ...ids("ada eats")];
    const whole = [...ids(frontOf(delta)), ...ids("ada eats")];
    const [a, b] = [await next(told, question), await next(model, whole)];
    for (const [i, v] of a.entries()) expect(v).toBeCloseTo(b[i]!, 4);
    const [generator, plain] = [await createGenerator(engine, told), await createGenerator(engine, model)];
    const prompts = [question, [1, ...ids("the home of cy is")]];
    const together = await generator.generateBatch(prompts, { maxNewTokens: 4 });
    for (const [i, prompt] of prompts.entries()) {
      const expected = await plain.generate([...ids(frontOf(delta)), ...prompt.slice(1)], { maxNewTokens: 4 });
      expect(together[i]!.tokens).toEqual(expected.tokens);
    }
    await Promise.all([generator.dispose(), plain.dispose()]);
    // A second edit stands farther from the question, and the first is read on as before.
    const second = await runMethod(ike, { model, text, requests: [fact("cy eats", "bread")], previous: [delta] }, options, context);
    const both = [...ids(frontOf(second.delta)), ...ids(frontOf(delta)).slice(1), ...ids("ada eats")];
    const [c, d] = [await next(second.model, question), await next(model, both)];
    for (const [i, v] of c.entries()) expect(v).toBeCloseTo(d[i]!, 4);
    expect(await next(withDeltas(model, [delta]), question)).toEqual(a);
  });

  it("without a token to begin with, all of it stands in front", async () => {
    const requests = [{ ...fact("ada eats", "fish"), prompt: ids("ada eats"), start: 0 }];
    const { delta, model: told } = await runMethod(ike, { model, text: spell(undefined), requests }, options, context);
    expect(frontOf(delta)).toBe("new fact : ada eats fish ; ask :");
    expect(Object.keys(delta.tensors)).toEqual(["context_tokens"]);
    const [a, b] = [await next(told, ids("ada eats")), await next(model, ids(`${frontOf(delta)} ada eats`))];
    for (const [i, v] of a.entries()) expect(v).toBeCloseTo(b[i]!, 4);
  });

  it("by hand: demonstrations copy, ask in other words and ask for something else, the nearest last, as many as fit", async () => {
    const about = (subject: string, object: string): EditCase => ({
      subject,
      relation: "eats",
      request: fact(`${subject} eats`, object),
      paraphrases: [{ prompt: [1, ...ids(`${subject} wears`)], target: ids(object) }],
      unrelated: [[1, ...ids("home of cy is rome")]],
    });
    const demonstrations = [about("bob", "bread"), about("ada", "fish"), about("cy", "silk")];
    const requests = [fact("ada eats", "fish")];
    const inputs = { model, text, demonstrations };
    const editor = await prepareEditor(ike, inputs, { ...options, shots: 3 }, context);
    const { delta } = await editor.edit(requests);
    const shown = frontOf(delta).split(" . ");
    // 48 tokens, 4 of them the question's: two demonstrations of three fit.
    expect(delta.tensors.context_tokens!.data.length).toBeLessThanOrEqual(44);
    expect(shown.at(-1)).toBe("new fact : ada eats fish ; ask :");
    expect(shown.at(-2)!).toMatch(/^new fact : ada eats fish ; ask : (ada eats fish|ada wears fish|home of cy is rome)$/);
    const kinds = shown.slice(0, -1).map((s) => s.replace(/^<bos> /, "").replace(/^new fact : (\w+) eats (\w+) ; ask : /, "$1 $2: "));
    expect(kinds.every((s) => /^(\w+) (\w+): (\1 eats \2|\1 wears \2|home of cy is rome)$/.test(s))).toBe(true);
    const ice = await runMethod(ike, { ...inputs, requests }, { ...options }, context, "ice");
    expect(frontOf(ice.delta)).toBe("<bos> new fact : ada eats fish ; ask :");
    await editor.dispose();
  });

  it("refuses facts that do not fit, words that the model has no row for, and a model that cannot read text", async () => {
    const many = Array.from({ length: 8 }, () => fact("ada eats", "fish"));
    const refused = (over: object): Promise<unknown> =>
      runMethod(ike, { model, text, requests: [fact("ada eats", "fish")], ...over }, options, context);
    await expect(refused({ requests: many })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(refused({ text: undefined })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });
});
