import { compile, f32, type HostTensor, i32, loadWeight, type Model, referenceEngine } from "@lfm/core";
import { convnet, gptNeox, initWeights, llama } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { smallBert } from "../../test/small-models.js";
import { keepLayers } from "./layers.js";
import { makeStudent } from "./make-student.js";
import { narrow } from "./narrow.js";

const config = {
  vocab_size: 9,
  hidden_size: 8,
  intermediate_size: 6,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  max_position_embeddings: 16,
};
const teacher = (): Model => llama(config, initWeights(llama(config).info, { seed: 3, embeddingStd: 0.7 }));
const valuesOf = (model: Model, name: string): number[] => Array.from(loadWeight(model.params[name]!).data, Number);

async function logits(model: Model): Promise<number[]> {
  const f = await compile(
    referenceEngine(),
    { tokens: { dtype: "i32", shape: [1, 5] } },
    ({ tokens }, params) => ({ logits: model.forward(params, { tokens }, { mode: "eval" }).logits! }),
    { frozen: model.params },
  );
  return Array.from((await f({ tokens: i32([1, 7, 3, 3, 5], [1, 5]) })).logits.data, Number);
}

describe("layers", () => {
  it("that are kept are the teacher's, under their new numbers", () => {
    const student = keepLayers(teacher(), [0, 2]);
    expect(student.info.layers).toBe(2);
    expect(student.info.config.num_hidden_layers).toBe(2);
    expect(valuesOf(student, "model.layers.1.mlp.up_proj.weight")).toEqual(valuesOf(teacher(), "model.layers.2.mlp.up_proj.weight"));
    expect(valuesOf(student, "model.embed_tokens.weight")).toEqual(valuesOf(teacher(), "model.embed_tokens.weight"));
  });

  it("all of them are the teacher; every second begins with the first", async () => {
    expect(await logits(keepLayers(teacher(), [0, 1, 2]))).toEqual(await logits(teacher()));
    expect(makeStudent(teacher(), { every: 2 }).initialisation).toEqual({ from: "teacher", layers: [0, 2], width: 8 });
    expect(keepLayers(smallBert(1, { layers: 4 }), [1, 3]).info.layers).toBe(2);
  });

  it("that are not there, twice, or of a model of unlike ones, are refused", () => {
    expect(() => keepLayers(teacher(), [3])).toThrow(expect.objectContaining({ code: "CONFIG_INVALID", hint: "--layers 0,2" }));
    expect(() => keepLayers(teacher(), [1, 1])).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
    expect(() => keepLayers(convnet({ image_size: 8, widths: [2, 2], classes: 2 }), [0])).toThrow(
      expect.objectContaining({ code: "CAPABILITY_MISSING" }),
    );
    expect(() => makeStudent(teacher(), {})).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });
});

/** The teacher with nothing outside of the first four coordinates, the first group of heads and the first three units. */
function hollow(): Model {
  const whole = teacher();
  const [stream, queries, keys, inner] = [4, 4, 2, 3];
  const limits = (name: string): readonly [number, number] => {
    if (/q_proj/.test(name)) return [queries, stream];
    if (/[kv]_proj/.test(name)) return [keys, stream];
    if (/o_proj/.test(name)) return [stream, queries];
    if (/(gate|up)_proj/.test(name)) return [inner, stream];
    if (/down_proj/.test(name)) return [stream, inner];
    return [9, stream];
  };
  const cut = (name: string, t: HostTensor): HostTensor => {
    if (t.shape.length < 2) return t;
    const [rows, columns] = limits(name);
    const width = t.shape[1]!;
    return f32(
      Array.from(t.data, Number).map((v, i) => (Math.floor(i / width) < rows && i % width < columns ? v : 0)),
      t.shape,
    );
  };
  const params = Object.fromEntries(Object.entries(whole.params).map(([name, w]) => [name, cut(name, loadWeight(w))]));
  return llama(config, params);
}

describe("narrower", () => {
  it.each(["pruning", "svd"] as const)("by %s: a model that uses a half of everything answers as before", async (by) => {
    const student = narrow(hollow(), { width: 4, by });
    expect(student.info.config).toMatchObject({ hidden_size: 4, intermediate_size: 3, num_attention_heads: 2, num_key_value_heads: 1 });
    const [before, after] = [await logits(hollow()), await logits(student)];
    expect(Math.max(...before.map(Math.abs))).toBeGreaterThan(0.1);
    for (const [i, v] of before.entries()) expect(after[i]).toBeCloseTo(v, 4);
  });

  it("keeps the largest units of each MLP alone where only they are asked for", async () => {
    const student = narrow(hollow(), { inner: 3, by: "pruning" });
    const [before, after] = [await logits(hollow()), await logits(student)];
    for (const [i, v] of before.entries()) expect(after[i]).toBeCloseTo(v, 5);
  });

  it("a classifier keeps its classes, a BERT its segments and positions", () => {
    const { info } = narrow(smallBert(1, { hidden: 8, heads: 4 }), { width: 4, by: "svd" });
    expect(info.params["classifier.weight"]!.shape).toEqual([3, 4]);
    expect(info.params["bert.embeddings.position_embeddings.weight"]!.shape).toEqual([16, 4]);
    expect(info.config).toMatchObject({ num_attention_heads: 2, intermediate_size: 6 });
  });

  it("sizes that heads do not go into, and models without a stream, are refused", () => {
    expect(() => narrow(teacher(), { width: 6, by: "svd" })).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("a multiple of 4") }),
    );
    expect(() => narrow(convnet({ image_size: 8, widths: [2, 2], classes: 2 }), { width: 2, by: "svd" })).toThrow(
      expect.objectContaining({ code: "CAPABILITY_MISSING" }),
    );
    const neox = {
      vocab_size: 9,
      hidden_size: 8,
      intermediate_size: 6,
      num_hidden_layers: 1,
      num_attention_heads: 2,
      rotary_pct: 0.5,
      max_position_embeddings: 16,
    };
    expect(() => narrow(gptNeox(neox, initWeights(gptNeox(neox).info, { seed: 1 })), { width: 4, by: "svd" })).toThrow(
      expect.objectContaining({ code: "CAPABILITY_MISSING" }),
    );
  });
});
