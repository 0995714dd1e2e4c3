import { isLfmError, type Model } from "@lfm/core";
import type { Examples } from "@lfm/data";
import type { Tokenizer } from "@lfm/formats";
import { modelFromConfig, textRules } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { tokenizerOf } from "../../test/word-tokenizer.js";
import { textTask } from "./text-task.js";

const words = ["<pad>", "</s>", "good", "bad", "a", "b", "c"];
const tokenizer = tokenizerOf(words);
const text = textRules(tokenizer);
/** One that closes every text by itself, as T5's. */
const closing: Tokenizer = {
  ...tokenizer,
  around: { before: [], after: [1] },
  encode: (input, options) => {
    const { ids, segments } = tokenizer.encode(input, { ...options, addSpecialTokens: false });
    return options?.addSpecialTokens === false ? { ids, segments } : { ids: [...ids, 1], segments: [...segments, 0] };
  },
};
const llama = modelFromConfig({
  model_type: "llama",
  vocab_size: 7,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 4,
});
const bert = modelFromConfig({
  model_type: "bert",
  vocab_size: 7,
  hidden_size: 8,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_labels: 2,
  architectures: ["BertForSequenceClassification"],
});
const labelled: Examples = {
  kind: "classification",
  rows: [
    { text: "a b", label: "good" },
    { text: "c", label: "bad" },
  ],
};
const sorted = (values: ArrayLike<number | bigint>): number[] => Array.from(values, Number).sort((a, b) => a - b);

describe("textTask", () => {
  it("lets a language model learn what follows the prompt, each example once an epoch", () => {
    const rows: Examples = {
      kind: "completion",
      rows: [
        { prompt: "a", completion: "good" },
        { prompt: "b c", completion: "bad" },
      ],
    };
    const task = textTask(rows, { model: llama, text }, { batchSize: 2 });
    const { tokens, weights } = task.batches(0);
    expect(sorted(tokens!.data)).toEqual([0, 1, 1, 2, 3, 4, 5, 6]);
    expect(sorted(weights!.data), "the answer and what closes it").toEqual([0, 0, 0, 0, 1, 1, 1, 1]);
  });

  it("lets an encoder with a head learn classes, numbered by their names in order, and values", () => {
    const task = textTask(labelled, { model: bert, text }, { batchSize: 2 });
    expect(sorted(task.batches(0).labels!.data)).toEqual([0, 1]);
    const values: Examples = { kind: "regression", rows: [{ text: "a", value: 2.5 }] };
    expect([...textTask(values, { model: bert, text }).batches(0).values!.data]).toEqual([2.5]);
  });

  it("packs examples of a language model into rows, and no others", () => {
    const rows: Examples = { kind: "text", rows: [{ text: "a" }, { text: "b" }, { text: "a b c" }] };
    const { tokens, packed, positions } = textTask(rows, { model: llama, text }, { pack: true, batchSize: 2 }).batches(0);
    expect(tokens!.shape).toEqual([2, 4]);
    expect(sorted(packed!.data)).toEqual([0, 0, 0, 0, 0, 0, 1, 1]);
    expect(sorted(positions!.data)).toEqual([0, 0, 0, 1, 1, 1, 2, 3]);
    expect(() => textTask(labelled, { model: bert, text }, { pack: true })).toThrow(/not those of classes/);
  });

  it("cuts at what the model reads, and says so", () => {
    const said: string[] = [];
    const long: Examples = { kind: "text", rows: [{ text: "a b c a b c" }] };
    const task = textTask(long, { model: llama, text }, { log: (m) => said.push(m) });
    expect(task.batches(0).tokens!.shape).toEqual([1, 4]);
    expect(said).toEqual([expect.stringContaining("cut at 4 tokens")]);
  });

  it("lets an encoder-decoder answer: prompt and completion are cut and closed each by itself, and its start token is not learned", () => {
    const t5 = modelFromConfig({
      model_type: "t5",
      vocab_size: 7,
      d_model: 8,
      d_kv: 4,
      d_ff: 8,
      num_layers: 1,
      num_heads: 2,
      decoder_start_token_id: 0,
    });
    const rules = textRules(closing, { limits: t5.info });
    const rows: Examples = {
      kind: "completion",
      rows: [
        { prompt: "a b c a b c", completion: "good" },
        { prompt: "c", completion: "bad good bad good" },
      ],
    };
    const said: string[] = [];
    const task = textTask(rows, { model: t5, text: rules }, { batchSize: 2, maxLength: 4, log: (m) => said.push(m) });
    const { tokens, weights, source, sourceMask } = task.batches(0);
    const at = (t: typeof tokens, b: number): number[] => Array.from(t!.data.slice(b * t!.shape[1]!, (b + 1) * t!.shape[1]!), Number);
    const first = at(source, 0)[0] === 4 ? 0 : 1;
    expect(at(source, first), "cut before what closes it").toEqual([4, 5, 6, 1]);
    expect(at(sourceMask, 1 - first)).toEqual([1, 1, 0, 0]);
    expect(at(tokens, first)).toEqual([0, 2, 1, 0, 0]);
    expect(at(weights, first)).toEqual([0, 1, 1, 0, 0]);
    expect(at(tokens, 1 - first), "an answer that is cut does not end").toEqual([0, 3, 2, 3, 2]);
    expect(said).toEqual([expect.stringContaining("2 of 2 examples are cut at 4 tokens")]);
  });

  it("refuses a model without tokenizer, one that reads no text, and examples that it cannot learn from", () => {
    const refused = (examples: Examples, given: { readonly model: Model; readonly text?: typeof text }): string => {
      try {
        textTask(examples, given);
      } catch (error) {
        if (isLfmError(error)) return error.code;
      }
      return "nothing";
    };
    const mlp = modelFromConfig({ model_type: "mlp", input_size: 2, hidden_sizes: [], output_size: 2 });
    expect(refused(labelled, { model: llama })).toBe("CAPABILITY_MISSING");
    expect(refused(labelled, { model: mlp, text })).toBe("CAPABILITY_MISSING");
    expect(refused({ kind: "text", rows: [{ text: "a" }] }, { model: bert, text })).toBe("CONFIG_INVALID");
  });
});
