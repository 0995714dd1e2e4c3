import { isLfmError, LfmError } from "@lfm/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type MergeDocument, referencedModels } from "./document.js";
import { parseMergeConfig } from "./parse.js";

const parse = (text: string): MergeDocument[] => parseMergeConfig(text, { file: "merge.yml" });

function failure(text: string): LfmError {
  try {
    parse(text);
  } catch (error) {
    if (error instanceof LfmError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

const linear = "merge_method: linear\nmodels:\n  - model: a\n";

describe("parseMergeConfig", () => {
  it("reads models with every form of a parameter", () => {
    const [document] = parse(`
merge_method: ties
base_model: org/base@v1
models:
  - model: org/a+adapters/x
    parameters:
      weight: [0, 1e-3]
      density: [{ filter: mlp, value: 0.5 }, { value: [1, 0.5] }]
      lambda: { filter: q_proj, value: 2 }
  - model: { model: { path: b, revision: main }, lora: y, override_architecture: LlamaForCausalLM }
dtype: bfloat16
out_dtype: float32
`);
    expect(document).toMatchObject({
      method: "ties",
      base: { path: "org/base", revision: "v1", text: "org/base@v1" },
      dtype: "bfloat16",
      outDtype: "float32",
      needs: [],
      body: {
        kind: "models",
        models: [
          {
            model: { path: "org/a", lora: { path: "adapters/x" }, text: "org/a+adapters/x" },
            parameters: {
              weight: [0, 0.001],
              density: [{ filter: "mlp", value: 0.5 }, { value: [1, 0.5] }],
              lambda: [{ filter: "q_proj", value: 2 }],
            },
          },
          { model: { path: "b", revision: "main", lora: { path: "y" }, architecture: "LlamaForCausalLM" }, parameters: {} },
        ],
      },
    });
    expect(referencedModels(document!).map((m) => m.text)).toEqual(["org/base@v1", "org/a+adapters/x", "b@main+y as LlamaForCausalLM"]);
  });

  it("reads YAML as PyYAML does: yes and off are truth values, y, n and dates are names, anchors and merge keys work", () => {
    const [document] = parse(`
merge_method: linear
models:
  - &first { model: y, parameters: { normalize: yes, weight: 010 } }
  - { <<: *first, model: 2024-01-01 }
  - { model: n, parameters: { normalize: off } }
`);
    const { body } = document!;
    expect(body.kind === "models" && body.models.map((m) => [m.model.path, m.parameters])).toEqual([
      ["y", { normalize: true, weight: 8 }],
      ["2024-01-01", { normalize: true, weight: 8 }],
      ["n", { normalize: false }],
    ]);
  });

  it("reads tokenizers", () => {
    const [document] = parse(`${linear}tokenizer:
  source: base
  pad_to_multiple_of: 64
  tokens:
    zero: { source: { kind: zero } }
    own: { source: a, force: yes }
    row: { source: { kind: model_token, model: a, token_id: 3 } }
    word: { source: { kind: model_token, model: a, token: x } }
    bare: {}
`);
    const a = { path: "a", text: "a" };
    expect(document!.tokenizer).toEqual({
      source: "base",
      padToMultipleOf: 64,
      tokens: {
        zero: { source: { kind: "zero" }, force: false },
        own: { source: { kind: "model", model: a }, force: true },
        row: { source: { kind: "token", model: a, token: 3 }, force: false },
        word: { source: { kind: "token", model: a, token: "x" }, force: false },
        bare: { force: false },
      },
    });
    expect(parse(`${linear}tokenizer_source: a`)[0]!.tokenizer).toEqual({ source: a, tokens: {} });
  });

  it.each([
    ["merge_metod: linear\nmodels: [{ model: a }]", "merge.yml:1", 'unknown key "merge_metod"', '"merge_method"'],
    [`${linear}    paramters: { weight: 1 }`, "merge.yml:4", 'unknown key "paramters" in a model', '"parameters"'],
    [`${linear}    parameters:\n      weight:\n        - { filtr: mlp, value: 1 }`, "merge.yml:6", 'unknown key "filtr"', '"filter"'],
    [`${linear}slices:\n  - sources: [{ model: a, layer_rang: [0, 1] }]`, "merge.yml:5", 'unknown key "layer_rang"', '"layer_range"'],
    [
      `${linear}slices:\n  - sources: [{ model: a, layer_range: [0, 1] }]`,
      "merge.yml:4",
      "models and slices stand side by side",
      "exactly one",
    ],
    ["merge_method: linear\nmodels: []", "merge.yml:1", "nothing to merge", "exactly one"],
    [
      "merge_method: linear\nslices:\n  - sources: [{ model: a, layer_range: [2, 2] }]",
      "merge.yml:3",
      "holds no layer",
      "one past the last",
    ],
    [`${linear}tokenizer_source: base\ntokenizer: { source: base }`, "merge.yml:4", "side by side", "tokenizer: {source: …}"],
    [`${linear}  - model: a+b+c`, "merge.yml:4", '"a+b+c" is no model', undefined],
    [`${linear}  - model: a@b@c`, "merge.yml:4", "is no model", undefined],
    [`${linear}  - { parameters: {} }`, "merge.yml:4", "models.1.model", undefined],
    [`${linear}parameters: { weight: { value: { x: 1 } } }`, "merge.yml:4", "is no value under a filter", undefined],
    [`${linear}parameters: { weight: [1, { value: 1 }] }`, "merge.yml:4", "1 is no value", undefined],
    [`${linear}mode: papre`, "merge.yml:4", "mode", undefined],
    ["models: [{ model: a }]", "merge.yml:1", "merge_method: is missing", undefined],
    [`base_model: m\nexperts: []\n${linear}`, "merge.yml:2", 'unknown key "experts"', "mergekit-moe"],
    [`${linear}    weight: 0.5`, "merge.yml:4", 'unknown key "weight" in a model', "under parameters: {weight"],
    [`${linear}normalize: true`, "merge.yml:4", 'unknown key "normalize" in the configuration', "under parameters: {normalize"],
    [`${linear}  - { model: &a { x: *a } }`, "merge.yml:4", "not something that holds itself", undefined],
    ["merge_method: [", "merge.yml:1", "", undefined],
    ["a: 1\na: 2", "merge.yml:2", "unique", undefined],
    ["", "merge.yml", "holds no document", "merge_method: linear"],
    ["- a", "merge.yml:1", "expected object", undefined],
    [`${linear}modules: { default: { models: [{ model: a }] } }`, "merge.yml:4", "models and modules", "exactly one"],
    ["merge_method: x\nmodules: { default: { parameters: {} } }", "merge.yml:2", 'module "default" needs exactly one', undefined],
  ])("says what is wrong, where, and what was meant: %j", (text, where, message, hint) => {
    const error = failure(text);
    expect(error.code).toBe("CONFIG_INVALID");
    expect(error.message).toContain(`[@lfm/reuse] ${where}`);
    expect(error.message).toContain(message);
    if (hint === undefined) return;
    expect(error.hint).toContain(hint);
  });
});

describe("what stands in files that mergekit 0.1.5 takes", () => {
  const notesOf = (text: string): readonly string[] => parse(text)[0]!.notes;

  it.each([
    ["random_seed: 145", "random_seed has no effect, as in mergekit; the seed is an option: --seed 0"],
    ["write_readme: README.md", "write_readme has no effect, as in mergekit"],
    ["int8_mask: true", "int8_mask has no effect, as in mergekit"],
    ["x-common: &w { weight: 1 }", "x-common has no effect, as in mergekit"],
    ["tags: [merge]\nlanguage: en", "tags has no effect, as in mergekit"],
    ["slices: []", undefined],
    ["slices: null\nmodules: null", undefined],
    [
      "parameters: null\ndtype: null\nout_dtype: null\ntokenizer_source: null\ntokenizer: null\nchat_template: null\nbase_model: null",
      undefined,
    ],
    ["name: ../some where/else", undefined],
  ])("is taken, with a remark where it has no effect: %j", (more, note) => {
    const notes = notesOf(`${linear}${more}`);
    if (note === undefined) expect(notes).toEqual([]);
    else expect(notes[0]).toBe(`merge.yml:4: ${note}`);
  });

  it("at every depth", () => {
    expect(
      notesOf(`
merge_method: slerp
base_model: { model: { path: a, subfolder: x }, cached: true }
slices:
  - sources:
      - { model: a, layer_range: ["0", 2.0], note: first, parameters: null }
      - { model: b, layer_range: [0, 2] }
    residual_weight: "0.5"
    merge_method: linear
    parameters: { t: { value: [0, 0.5, 1], unit: depth } }
tokenizer: { source: union, tokens: { x: { origin: a } }, pad_to_multiple_of: "8", cache: true }
`).map((note) => note.split(" has no effect")[0]),
    ).toEqual([
      "merge.yml:3: subfolder",
      "merge.yml:3: cached",
      "merge.yml:6: note",
      "merge.yml:9: merge_method",
      "merge.yml:10: unit",
      "merge.yml:11: origin",
      "merge.yml:11: cache",
      "merge.yml:8: residual_weight",
    ]);
  });

  it("texts for numbers, anchors with what is merged over them, lists, and layers that are all there", () => {
    const [document] = parse(`
merge_method: dare_ties
base_model: a
models:
  - model: b
    layer_range: [0, 2]
    parameters: &shared { weight: "0.5", density: [0.3, "0.6"] }
  - model: c
    parameters: { <<: *shared, weight: [{ filter: mlp, value: "1e-1" }, { value: 1 }] }
`);
    const { body } = document!;
    expect(body.kind === "models" && body.models.map(({ parameters, layers }) => ({ parameters, layers }))).toEqual([
      { parameters: { weight: "0.5", density: [0.3, "0.6"] }, layers: [0, 2] },
      { parameters: { density: [0.3, "0.6"], weight: [{ filter: "mlp", value: "1e-1" }, { value: 1 }] }, layers: undefined },
    ]);
  });
});

describe("files of several documents", () => {
  const stage = (name: string | undefined, model: string): string =>
    `${name === undefined ? "" : `name: ${name}\n`}merge_method: linear\nmodels: [{ model: ${model} }]\n`;

  it("puts stages before those that use them", () => {
    const documents = parse([stage(undefined, "second+adapter"), stage("second", "first"), stage("first", "org/model")].join("---\n"));
    expect(documents.map((d) => [d.name, d.needs])).toEqual([
      ["first", []],
      ["second", ["first"]],
      [undefined, ["second"]],
    ]);
    expect(documents.map((d) => d.text)).toEqual([
      stage("first", "org/model"),
      stage("second", "first"),
      stage(undefined, "second+adapter"),
    ]);
  });

  it("refuses circles, a name twice, and two without a name", () => {
    expect(failure([stage("a", "b"), stage("b", "c"), stage("c", "a")].join("---\n")).message).toContain("a → b → c → a");
    expect(failure([stage("a", "a"), stage("b", "c")].join("---\n")).message).toContain("a → a");
    const twice = failure([stage("a", "x"), stage("a", "y")].join("---\n"));
    expect(twice.message).toMatch(/merge\.yml:5: two stages are called "a"/);
    expect(failure([stage(undefined, "x"), stage(undefined, "y")].join("---\n")).message).toContain("2 documents without a name");
  });

  it("takes a model of a lone document for what it is, also under the document's own name", () => {
    expect(parse(stage("merged", "merged"))[0]).toMatchObject({ name: "merged", needs: [] });
  });

  it("reads lines of the whole file", () => {
    expect(failure(`${stage("a", "x")}---\n${stage("b", "y")}dtyp: float32\n`).message).toContain("merge.yml:8");
  });
});

const LONG = { numRuns: 400, seed: 11 };

describe("whatever is written", () => {
  const isTyped = (text: string): void => {
    try {
      for (const d of parse(text)) referencedModels(d);
    } catch (error) {
      if (!isLfmError(error, "CONFIG_INVALID")) throw error;
    }
  };

  it("is a document or a typed error: any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), isTyped), LONG);
  });

  it("is a document or a typed error: pieces of YAML", () => {
    const piece = fc.constantFrom(
      ..."merge_method: |linear|\n|  - |model: |models:|slices:|sources: |{|}|[|]|,|: |---|...|&a |*a|<<: *a|!!set |!!binary |? |'|\"|#|>|__proto__: |base_model: |~|0|1e9|yes|tokenizer: |tokens: |parameters: |filter: |value: |modules: |name: x".split(
        "|",
      ),
    );
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 30 }).map((p) => p.join("")),
        isTyped,
      ),
      LONG,
    );
  });

  it("is a document or a typed error: JSON of the right keys", () => {
    const keys = [
      "merge_method",
      "base_model",
      "models",
      "slices",
      "modules",
      "parameters",
      "dtype",
      "tokenizer",
      "tokenizer_source",
      "chat_template",
      "name",
    ];
    const inner = [
      "model",
      "layer_range",
      "sources",
      "weight",
      "filter",
      "value",
      "source",
      "tokens",
      "kind",
      "force",
      "__proto__",
      "constructor",
    ];
    const value = fc.letrec((tie) => ({
      any: fc.oneof(
        { maxDepth: 4 },
        fc.string(),
        fc.double(),
        fc.boolean(),
        fc.constant(null),
        fc.array(tie("any"), { maxLength: 3 }),
        fc.dictionary(fc.constantFrom(...keys, ...inner), tie("any"), { maxKeys: 4 }),
      ),
    })).any;
    const document = fc.dictionary(fc.constantFrom(...keys), value, { maxKeys: 5 });
    fc.assert(
      fc.property(document, (d) => isTyped(JSON.stringify(d))),
      LONG,
    );
  });

  it("is refused where it would take all memory or the stack", () => {
    expect(failure("[".repeat(50_000)).code).toBe("CONFIG_INVALID");
    const bomb = [
      "a: &a [x, x, x, x, x, x, x, x, x]",
      ..."bcdefghij".split("").map((k, i) => `${k}: &${k} [${Array.from({ length: 9 }, () => `*${"abcdefghij"[i]}`).join(", ")}]`),
    ];
    expect(failure(bomb.join("\n")).message).toContain("alias");
  });

  it("is refused within a second where it has tens of thousands of keys", () => {
    const keys = (n: number): string[] => Array.from({ length: n }, (_, i) => `k${i}: 0`);
    const used = (text: string): [string, number] => {
      const before = process.cpuUsage();
      const { message } = failure(text);
      const { user, system } = process.cpuUsage(before);
      return [message, (user + system) / 1e6];
    };
    for (const [text, message] of [
      [linear + keys(20_000).join("\n"), "100 before it: this is no merge configuration"],
      [`${linear}parameters: {${keys(20_000).join(", ")}, k0: 1}`, '"k0" stands here twice'],
      [linear + keys(200_000).join("\n"), "characters: this is no merge configuration"],
    ] as const) {
      const [said, seconds] = used(text);
      expect(said).toContain(message);
      expect(seconds).toBeLessThan(3);
    }
  });
});
