import { isLfmError } from "@lfm/core";
import type { Preferences } from "@lfm/data";
import { chatTemplate, initWeights, llama, modelFromConfig, type TextRules, textRules, withClassifier } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { tokenizerOf } from "../../test/word-tokenizer.js";
import { dpo } from "../objectives/dpo.js";
import { kto } from "../objectives/kto.js";
import { reward } from "../objectives/reward.js";
import { judgedRows, pairRows } from "./preference-rows.js";
import { preferenceTask } from "./preference-task.js";
import { languageRows } from "./token-rows.js";

const words = ["<pad>", "</s>", "U:", "A:", "a", "b", "c", "d", "e"];
const tokenizer = tokenizerOf(words);
const template =
  "{% for m in messages %}{{ 'A: ' if m.role == 'assistant' else 'U: ' }}{{ m.content }} {{ '</s> ' if m.role == 'assistant' else '' }}{% endfor %}{{ 'A: ' if add_generation_prompt else '' }}";
const rules: TextRules = textRules(tokenizer, { chat: chatTemplate(template) });
const pair = (prompt: string, chosen: string, rejected: string): Extract<Preferences, { kind: "pairs" }>["rows"][number] => ({
  chosen: { prompt, completion: chosen },
  rejected: { prompt, completion: rejected },
});
const pairsOf = (...rows: ReturnType<typeof pair>[]): Preferences => ({ kind: "pairs", rows });
const silent = (): void => {};
const say = (role: "user" | "assistant", content: string) => ({ role, content });

describe("rows of preferences", () => {
  it("are prompt and completion, begun and closed as the folder says, with weight on the completion", () => {
    const [row] = pairRows(pairsOf(pair("a b", "c", "d e")), rules, { maxLength: 10 }, silent);
    expect(row!.chosen).toEqual({ ids: [4, 5, 6, 1], weights: [0, 0, 1, 1], whole: 4, head: 2, room: 10 });
    expect(row!.rejected).toEqual({ ids: [4, 5, 7, 8, 1], weights: [0, 0, 1, 1, 1], whole: 5, head: 2, room: 10 });
    expect(row!.margin).toBe(0);
  });

  it("of conversations have weight on what the assistant says behind the prompt, and on none of it within", () => {
    const prompt = [say("user", "a"), say("assistant", "b"), say("user", "c")];
    const preferences: Preferences = {
      kind: "judged",
      rows: [{ exchange: { prompt, completion: [say("assistant", "d e"), say("user", "a"), say("assistant", "b")] }, desirable: false }],
    };
    const [row] = judgedRows(preferences, rules, { maxLength: 30 }, silent);
    expect(row!.ids.map((id) => words[id]).join(" ")).toBe("U: a A: b </s> U: c A: d e </s> U: a A: b </s>");
    expect(row!.weights).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 0, 1, 1]);
    expect([row!.head, row!.desirable]).toEqual([8, false]);
  });

  it("are cut at their end and never lose a whole completion without a word", () => {
    const said: string[] = [];
    const rows = pairRows(pairsOf(pair("a", "b c d", "e"), pair("a b c", "d", "e"), pair("a", "b", "c")), rules, { maxLength: 3 }, (m) =>
      said.push(m),
    );
    expect(rows.map((r) => r.chosen.ids)).toEqual([
      [4, 5, 6],
      [4, 5, 1],
    ]);
    expect(said).toEqual([
      "1 of 3 pairs lose a whole completion within 3 tokens and are left out; --max-length 5 takes all of them whole",
      "1 of 3 pairs are cut at 3 tokens",
    ]);
    try {
      pairRows(pairsOf(pair("a b c", "d", "e")), rules, { maxLength: 3 }, silent);
      expect.unreachable();
    } catch (error) {
      expect(isLfmError(error, "CONFIG_INVALID") && error.hint).toBe("maxLength 5 (--max-length 5)");
    }
  });

  it("of which a score is learned are whole, or left out", () => {
    const said: string[] = [];
    const rows = reward.rows(pairsOf(pair("a", "b c d", "e"), pair("a", "b", "c")), rules, 3, (m) => said.push(m));
    expect(rows).toHaveLength(1);
    expect(said[0]).toMatch(/1 of 2 pairs are longer than 3 tokens and are left out/);
  });

  it("are refused where they are of another kind", () => {
    expect(() => kto.rows(pairsOf(pair("a", "b", "c")), rules, 9, silent)).toThrow(/judged one by one/);
    expect(() => dpo.rows({ kind: "judged", rows: [] }, rules, 9, silent)).toThrow(/pairs of a chosen and a rejected one/);
  });
});

describe("preferenceTask", () => {
  const sizes = { vocab_size: 9, hidden_size: 8, intermediate_size: 8, num_hidden_layers: 1, num_attention_heads: 2 };
  const model = llama(sizes, initWeights(llama(sizes).info, { seed: 1 }));
  const preferences = pairsOf(pair("a", "b", "c"), pair("a b", "c", "d"), pair("b", "c d", "a"));

  it("shows every pair once an epoch, chosen rows before rejected ones", () => {
    const task = preferenceTask(dpo, { beta: 0.2 }, preferences, { model, text: rules }, { batchSize: 2 });
    expect(task.perEpoch).toBe(2);
    const batches = [task.batches(0), task.batches(1)];
    expect(batches.map((b) => [b.tokens!.shape[0], b.chosen!.shape[0]])).toEqual([
      [4, 2],
      [2, 1],
    ]);
  });

  it("asks for the model that the objective learns with", () => {
    expect(() => preferenceTask(reward, {}, preferences, { model, text: rules })).toThrow(/a head with one output/);
    expect(preferenceTask(reward, {}, preferences, { model: withClassifier(model, 1, 0), text: rules }).name).toBe("reward");
    const encoder = modelFromConfig({ ...sizes, model_type: "bert" });
    expect(() => preferenceTask(dpo, {}, preferences, { model: encoder, text: rules })).toThrow(/a decoder with its language head/);
    expect(() => preferenceTask(dpo, {}, preferences, { model })).toThrow(/without a tokenizer/);
  });
});

it("conversations are learned in all that the assistant says, or behind the messages that are only asked", () => {
  const messages = [say("user", "a"), say("assistant", "b"), say("user", "c"), say("assistant", "d")];
  const weightsOf = (asked?: number): readonly number[] =>
    languageRows({ kind: "messages", rows: [{ messages, ...(asked === undefined ? {} : { asked }) }] }, rules, 30)[0]!.weights;
  expect(weightsOf()).toEqual([0, 0, 0, 1, 1, 0, 0, 0, 1, 1]);
  expect(weightsOf(3)).toEqual([0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
});
