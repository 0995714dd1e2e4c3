import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { compileModel, type Engine, loadWeight, ortEngine, sym, widenToF32 } from "@lfm/core";
import { readModelFolder, readSafetensors, writeSafetensors } from "@lfm/formats";
import { loadModel } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { reuseMethods } from "../methods/index.js";
import { runMerge } from "../run-merge.js";
import { explainMerge } from "./explain.js";
import { parseMergeConfig } from "./parse.js";
import { type DocumentPlan, planMerge } from "./plan.js";

const fixtures = join(import.meta.dirname, "../../test/golden/adapters");
const { cases, tolerance } = JSON.parse(readFileSync(join(fixtures, "golden.json"), "utf8")) as {
  readonly tolerance: number;
  readonly cases: Readonly<Record<string, { readonly base: string; readonly adapter: string; readonly rows: number }>>;
};
const golden = readSafetensors(join(fixtures, "golden.safetensors")).tensors;
const scratch = mkdtempSync(join(tmpdir(), "lfm-adapters-"));
let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});
afterAll(() => rmSync(scratch, { recursive: true }));

const planOf = (model: string, folder = fixtures): Promise<DocumentPlan> => {
  const [document] = parseMergeConfig(`merge_method: passthrough\nmodels:\n- model: ${model}\n`, { file: "merge.yml" });
  return planMerge(document!, { folder, methods: reuseMethods });
};
const merged = async (name: string): Promise<{ readonly out: string; readonly plan: DocumentPlan }> => {
  const { base, adapter } = cases[name]!;
  const [out, plan] = [join(mkdtempSync(join(scratch, "out-")), name), await planOf(`${base}+${adapter}`)];
  await runMerge(plan, { out, threads: 1 });
  return { out, plan };
};
const values = (t: Parameters<typeof loadWeight>[0]): readonly number[] => Array.from(widenToF32(loadWeight(t)).data, Number);

async function logitsOf(folder: string, tokens: string): Promise<readonly number[]> {
  const { model } = await loadModel(folder);
  const f = await compileModel(engine, model, { tokens: { dtype: "i32", shape: [sym("batch"), sym("seq")] } }, (input, _params, at) => ({
    logits: at.forward(_params, input, { mode: "eval" }).logits!,
  }));
  try {
    return values((await f({ tokens: loadWeight(golden[tokens]!) })).logits);
  } finally {
    await f.dispose();
  }
}

const close = (ours: readonly number[], theirs: readonly number[], what: string): void => {
  expect(ours.length, what).toBe(theirs.length);
  expect(Math.max(...ours.map((v, i) => Math.abs(v - theirs[i]!))), what).toBeLessThan(tolerance);
};

describe("adapters of PEFT merged while they are read", () => {
  it.each(Object.keys(cases))(
    "%s: weights and logits are those of PEFT, and every tensor is read by the config beside it",
    async (name) => {
      const { out } = await merged(name);
      const { weights, config } = readModelFolder(out);
      for (const [key, t] of Object.entries(golden)) {
        const parameter = key.startsWith(`${name}/out/`) ? key.slice(name.length + 5) : "logits";
        if (parameter !== "logits") close(values(weights[parameter]!), values(t), `${name}: ${parameter}`);
      }
      expect(config.vocab_size).toBe(cases[name]!.rows);
      close(await logitsOf(out, `${name}/in/tokens`), values(golden[`${name}/out/logits`]!), name);
    },
  );

  it("says where embedding and output layer came apart, and leaves them one where the adapter holds copies", async () => {
    const apart = async (name: string): Promise<boolean> => {
      const { out, plan } = await merged(name);
      const { config, weights } = readModelFolder(out);
      const isApart = "lm_head.weight" in weights;
      expect(config.tie_word_embeddings, name).toBe(!isApart);
      expect(
        plan.notes.some((n) => n.includes("tie_word_embeddings: false")),
        name,
      ).toBe(isApart);
      return isApart;
    };
    for (const name of ["embedding-tied", "head-tied", "saved-apart", "saved-one", "resized-tied"])
      expect(await apart(name), name).toBe(true);
    for (const name of ["ensure-tied", "tokens-tied", "tokens-alone"]) expect(await apart(name), name).toBe(false);
  });

  it("takes the adapter's tokenizer, or says that there is none for its tokens", async () => {
    expect((await planOf("llama+llama-resized")).notes.join()).toMatch(
      /25 rows of tokens, the model had 23; the adapter's folder has no tokenizer/,
    );
    const folder = join(scratch, "with-tokenizer");
    for (const name of ["llama", "llama-resized"]) cpSync(join(fixtures, name), join(folder, name), { recursive: true });
    const tokenizer = join(folder, "llama-resized", "tokenizer.json");
    writeFileSync(tokenizer, "{}");
    const plan = await planOf("llama+llama-resized", folder);
    expect(plan.copies["tokenizer.json"]).toBe(tokenizer);
    expect(plan.notes.join()).toContain("the adapter's tokenizer comes with them");
  });

  it("explains what an adapter does to a tensor", async () => {
    const of = async (name: string): Promise<Readonly<Record<string, readonly string[] | undefined>>> => {
      const { base, adapter } = cases[name]!;
      return Object.fromEntries(explainMerge(await planOf(`${base}+${adapter}`)).map((t) => [t.tensor, t.models[0]!.as]));
    };
    expect((await of("tokens"))["model.embed_tokens.weight"]).toEqual(["rows"]);
    expect((await of("bias-of-b"))["bert.encoder.layer.0.attention.self.query.bias"]).toEqual(["lora"]);
    expect((await of("bias-of-b"))["bert.pooler.dense.bias"]).toBeUndefined();
  });

  it("refuses by its name what it cannot put anywhere", async () => {
    const base = "llama";
    const broken = async (name: string, change: (tensors: Record<string, ReturnType<typeof loadWeight>>) => void): Promise<string> => {
      const folder = join(scratch, name);
      cpSync(join(fixtures, base), join(folder, base), { recursive: true });
      cpSync(join(fixtures, "llama-embedding-and-head"), join(folder, "a"), { recursive: true });
      const file = join(folder, "a", "adapter_model.safetensors");
      const tensors = Object.fromEntries(Object.entries(readSafetensors(file).tensors).map(([key, t]) => [key, loadWeight(t)]));
      change(tensors);
      await writeSafetensors(file, tensors);
      return planOf(`${base}+a`, folder).then(
        () => "nothing thrown",
        (error: Error) => error.message,
      );
    };
    const f32 = (shape: readonly number[]): ReturnType<typeof loadWeight> => ({
      dtype: "f32",
      shape: [...shape],
      data: new Float32Array(shape.reduce((a, b) => a * b, 1)),
    });
    const key = "base_model.model.model";
    expect(await broken("other", (t) => Object.assign(t, { [`${key}.visual.proj.weight`]: f32([4, 4]) }))).toContain(
      '"model.visual.proj.weight"',
    );
    expect(await broken("rows", (t) => Object.assign(t, { [`${key}.layers.0.mlp.up_proj.weight`]: f32([13, 8]) }))).toContain(
      '"model.layers.0.mlp.up_proj.weight" is [13, 8]',
    );
    expect(await broken("vocabulary", (t) => Object.assign(t, { [`${key}.embed_tokens.base_layer.weight`]: f32([25, 8]) }))).toMatch(
      /\[25, 8\]|25 rows|LoRA is 8×23/,
    );
    const proto = (t: Record<string, ReturnType<typeof loadWeight>>): void => {
      t["base_model.model.__proto__.lora_A.weight"] = f32([2, 8]);
      t["base_model.model.__proto__.lora_B.weight"] = f32([8, 2]);
    };
    expect(await broken("proto", proto)).toContain('"__proto__.weight"');
    expect(await broken("constructor", (t) => Object.assign(t, { "base_model.model.constructor": f32([1]) }))).toContain('"constructor"');
  });
});
