import { rmSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeModelFolders } from "../../test/mergekit-folders.js";
import { mergeMethods } from "../methods/index.js";
import { parseMergeConfig } from "./parse.js";
import { type DocumentPlan, planMerge } from "./plan.js";

let folder = "";
beforeAll(async () => {
  folder = await writeModelFolders();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function plan(text: string): Promise<DocumentPlan> {
  return planMerge(parseMergeConfig(text, { file: "merge.yml" })[0]!, { folder, methods: mergeMethods });
}

async function failure(text: string): Promise<LfmError> {
  const error: unknown = await plan(text).catch((e: unknown) => e);
  if (error instanceof LfmError) return error;
  throw error instanceof Error ? error : new Error("it was accepted");
}

const weighted = (...models: string[]): string => models.map((m) => `  - { model: ${m}, parameters: { weight: 1 } }`).join("\n");
const linear = (...models: string[]): string => `merge_method: linear\nmodels:\n${weighted(...models)}\n`;

describe("what is wrong is said with tensor, model and a way out", () => {
  it.each([
    [
      "a method of no name here",
      "merge_method: tise\nmodels: [{ model: a }]",
      "CONFIG_INVALID",
      'merge.yml:1: there is no merge method "tise"',
      "merge_method: ties",
    ],
    [
      "a parameter of no method",
      "merge_method: ties\nbase_model: base\nmodels:\n  - model: a\n    parameters: { wieght: 1 }",
      "CONFIG_INVALID",
      'merge.yml:5: ties has no parameter "wieght"',
      '"weight"',
    ],
    [
      "no base",
      `merge_method: ties\nmodels:\n${weighted("a")}`,
      "CONFIG_INVALID",
      "merge.yml:2: ties works on the difference to a base",
      "base_model",
    ],
    [
      "a base that is not among the sources",
      "merge_method: slerp\nbase_model: c\nslices:\n  - sources: [{ model: a, layer_range: [0, 4] }, { model: b, layer_range: [0, 4] }]\nparameters: { t: 0.5 }",
      "CONFIG_INVALID",
      'merge.yml:4: base model "c" is not among the sources',
      "- model: c",
    ],
    [
      "too many models",
      "merge_method: slerp\nbase_model: a\nmodels: [{ model: a }, { model: b }, { model: c }]\nparameters: { t: 0.5 }",
      "CONFIG_INVALID",
      "slerp merges 1 model beside the base, got 2",
      undefined,
    ],
    [
      "a base where one model is all",
      "merge_method: passthrough\nbase_model: base\nmodels: [{ model: a }]",
      "CONFIG_INVALID",
      "passthrough merges 1 model, got 2",
      'base_model "base" counts as one',
    ],
    [
      "too few models",
      "merge_method: model_stock\nbase_model: base\nmodels: [{ model: a }]",
      "CONFIG_INVALID",
      "merges at least 2 models",
      undefined,
    ],
    [
      "no weight",
      "merge_method: linear\nmodels: [{ model: a, parameters: { weight: 1 } }, { model: b }]",
      "CONFIG_INVALID",
      '"model.embed_tokens.weight" of "b" has no weight',
      "parameters: {weight: 1.0}",
    ],
    [
      "no weight for the base that is added",
      `base_model: base\n${linear("a")}`,
      "CONFIG_INVALID",
      'of "base" has no weight',
      "parameters: {weight: 1.0}",
    ],
    [
      "no t",
      "merge_method: slerp\nbase_model: a\nmodels: [{ model: a }, { model: b }]",
      "CONFIG_INVALID",
      '"model.embed_tokens.weight" has no t',
      "parameters: {t: 0.5}",
    ],
    [
      "a t for some tensors only",
      "merge_method: slerp\nbase_model: a\nmodels: [{ model: a }, { model: b }]\nparameters: { t: [{ filter: layers, value: 1 }] }",
      "CONFIG_INVALID",
      '"model.embed_tokens.weight" has no t',
      undefined,
    ],
    [
      "text for a number",
      "merge_method: linear\nmodels: [{ model: a, parameters: { weight: much } }]",
      "CONFIG_INVALID",
      'weight: "much" for "model.embed_tokens.weight" of "a"',
      undefined,
    ],
    [
      "layers that are not there",
      "merge_method: passthrough\nslices: [{ sources: [{ model: a, layer_range: [0, 9] }] }]",
      "CONFIG_INVALID",
      'layers [0, 9] are asked of "a", which has 4',
      "layer_range: [0, 4]",
    ],
    [
      "slices of unlike length",
      "merge_method: linear\nparameters: { weight: 1 }\nslices: [{ sources: [{ model: a, layer_range: [0, 2] }, { model: b, layer_range: [0, 3] }] }]",
      "CONFIG_INVALID",
      '2 layers of "a" meet 3 of "b"',
      "the same number",
    ],
    ["models of unlike depth", linear("a", "short"), "CONFIG_INVALID", '4 layers of "a" meet 2 of "short"', undefined],
    ["a model twice", linear("a", "a"), "CONFIG_INVALID", 'model "a" is listed twice', undefined],
    [
      "vocabularies of unlike size",
      linear("a", "chat"),
      "SHAPE_MISMATCH",
      '"model.embed_tokens.weight" is [16, 8] in "a" and [19, 8] in "chat" (and 1 more)',
      "tokenizer: {source: base}",
    ],
    [
      "a tensor of another shape",
      linear("a", "wide"),
      "SHAPE_MISMATCH",
      '"model.layers.1.mlp.up_proj.weight" is [12, 8] in "a" and [10, 8] in "wide"',
      undefined,
    ],
    [
      "a tensor that is missing",
      linear("a", "holey"),
      "PARAM_NOT_FOUND",
      '"holey" has no tensor "model.layers.2.mlp.up_proj.weight", which "a" has',
      'leave "holey" or "a" out',
    ],
    ["another architecture", linear("a", "gpt2"), "CONFIG_INVALID", '4 layers of "a" meet 3 of "gpt2"', undefined],
    ["a type of no name", `${linear("a")}dtype: bf16`, "CONFIG_INVALID", 'merge.yml:4: there is no dtype "bf16"', '"bfloat16"'],
    ["a type nearly right", `${linear("a")}out_dtype: flaot16`, "CONFIG_INVALID", "out_dtype", '"float16"'],
    [
      "a folder that is not there",
      linear("nowhere/model"),
      "FILE_IO",
      'model "nowhere/model": there is no folder',
      "hf download nowhere/model",
    ],
    [
      "a chat template nearly right",
      `${linear("a")}chat_template: chatlm`,
      "CONFIG_INVALID",
      'merge.yml:4: "chatlm" is no chat template',
      '"chatml"',
    ],
    ["an adapter that is none", linear("a+b"), "FILE_IO", "no adapter_config.json", "PEFT adapter"],
    ["an adapter that wakes up at a word", linear("a+alora"), "OP_UNSUPPORTED", "alora_invocation_tokens is not supported", undefined],
    [
      "an adapter of other modules",
      linear("a+lora-lost"),
      "PARAM_NOT_FOUND",
      '"model.layers.0.self_attn.query.weight", which the model does not have',
      undefined,
    ],
    ["an adapter of another size", linear("a+lora-wide"), "SHAPE_MISMATCH", "is 8×10", undefined],
    [
      "a token without a source",
      `${linear("a", "chat")}tokenizer: { source: union, tokens: { hello: {} } }`,
      "CONFIG_INVALID",
      'token "hello" needs a source',
      'tokens: {"hello": {source: a}}',
    ],
    [
      "a token of a model that does not have it",
      `${linear("a", "chat")}tokenizer: { source: union, tokens: { hello: { source: a } } }`,
      "CONFIG_INVALID",
      'token "hello" is not in the vocabulary of "a"',
      undefined,
    ],
    [
      "a token of a model that takes no part",
      `${linear("a", "chat")}tokenizer: { source: union, tokens: { hello: { source: code } } }`,
      "CONFIG_INVALID",
      'comes from "code", which gives nothing',
      "a, chat",
    ],
    [
      "a module that is not there, in a model of one",
      "merge_method: passthrough\nmodules: { default: { models: [{ model: a }] }, other: { models: [{ model: a }] } }",
      "CONFIG_INVALID",
      "twice",
      undefined,
    ],
  ])("%s", async (_, text, code, message, hint) => {
    const error = await failure(text);
    expect([error.code, error.message]).toEqual([code, expect.stringContaining(message)]);
    if (hint !== undefined) expect(error.hint).toContain(hint);
  });

  it("lists all that is wrong with tensors", async () => {
    const { details } = await failure(linear("a", "chat"));
    expect(details.problems).toMatchObject([{ code: "SHAPE_MISMATCH" }, { code: "SHAPE_MISMATCH" }]);
  });
});
