import { describe, expect, it } from "vitest";
import { isBeforeLayers, isBuffer, isHead, isVocabulary, layoutOf } from "./layout.js";

const layout = (shapes: Record<string, readonly number[]>) => layoutOf(new Map(Object.entries(shapes)));

describe("layoutOf", () => {
  it.each([
    [
      "llama",
      {
        "model.embed_tokens.weight": [9, 2],
        "model.layers.0.mlp.experts.7.w1.weight": [2, 2],
        "model.layers.11.mlp.w": [2],
        "lm_head.weight": [9, 2],
      },
      "model.layers.",
      12,
      "model.embed_tokens.weight",
    ],
    [
      "gpt2",
      { "transformer.wte.weight": [9, 2], "transformer.wpe.weight": [9, 2], "transformer.h.2.attn.c_attn.weight": [2, 6] },
      "transformer.h.",
      3,
      "transformer.wte.weight",
    ],
    ["gpt2 without its head", { "wte.weight": [9, 2], "h.1.ln_1.bias": [2] }, "h.", 2, "wte.weight"],
    [
      "bert",
      {
        "embeddings.word_embeddings.weight": [9, 2],
        "embeddings.position_embeddings.weight": [9, 2],
        "encoder.layer.5.output.dense.weight": [2, 2],
      },
      "encoder.layer.",
      6,
      "embeddings.word_embeddings.weight",
    ],
    [
      "gpt-neox",
      { "gpt_neox.embed_in.weight": [9, 2], "gpt_neox.layers.0.x": [1], "embed_out.weight": [9, 2] },
      "gpt_neox.layers.",
      1,
      "gpt_neox.embed_in.weight",
    ],
    [
      "mamba",
      { "backbone.embeddings.weight": [9, 2], "backbone.layers.3.mixer.A_log": [2] },
      "backbone.layers.",
      4,
      "backbone.embeddings.weight",
    ],
    [
      "internlm2",
      { "model.tok_embeddings.weight": [9, 2], "model.layers.3.attention.wo.weight": [2, 2], "output.weight": [9, 2] },
      "model.layers.",
      4,
      "model.tok_embeddings.weight",
    ],
  ])("%s", (_, shapes, prefix, count, embedding) => {
    const found = layout(shapes as unknown as Record<string, number[]>);
    expect(found.stacks).toMatchObject([{ module: "default", prefix, count }]);
    expect(found.embedding).toBe(embedding);
    expect(found.modules).toEqual(["default"]);
  });

  it("finds encoder and decoder of T5, and what they share", () => {
    const found = layout({
      "shared.weight": [9, 2],
      "encoder.embed_tokens.weight": [9, 2],
      "encoder.block.1.layer.0.SelfAttention.q.weight": [2, 2],
      "encoder.final_layer_norm.weight": [2],
      "decoder.block.3.layer.2.DenseReluDense.wi.weight": [2, 2],
      "decoder.final_layer_norm.weight": [2],
      "lm_head.weight": [9, 2],
    });
    expect(found.stacks).toMatchObject([
      { module: "encoder", count: 2 },
      { module: "decoder", count: 4 },
    ]);
    expect(found.loose.get("shared")).toEqual(["shared.weight", "lm_head.weight"]);
    expect(found.loose.get("decoder")).toEqual(["decoder.final_layer_norm.weight"]);
    expect(found.embedding).toBe("shared.weight");
  });

  it("finds text and image parts, and the projector between them", () => {
    const found = layout({
      "model.embed_tokens.weight": [9, 2],
      "model.layers.0.mlp.up_proj.weight": [2, 2],
      "model.norm.weight": [2],
      "lm_head.weight": [9, 2],
      "visual.patch_embed.proj.weight": [2, 2],
      "visual.blocks.0.norm1.weight": [2],
      "visual.merger.mlp.0.weight": [2, 2],
    });
    expect(found.modules).toEqual(["model", "visual", "multi_modal_projector"]);
    expect(found.loose.get("model")).toEqual(["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]);
    expect(found.loose.get("multi_modal_projector")).toEqual(["visual.merger.mlp.0.weight"]);
  });

  it("takes numbers for layers without a word for them only where they run from 0 over equal sets", () => {
    expect(layout({ "net.0.weight": [2, 2], "net.0.bias": [2], "net.2.weight": [2, 2], "net.2.bias": [2] }).stacks).toEqual([]);
    expect(layout({ "trunk.0.w": [2], "trunk.1.w": [2], "trunk.2.w": [2], "head.0.x": [1] }).stacks).toMatchObject([
      { prefix: "trunk.", count: 3 },
    ]);
  });

  it("knows rows of tokens by name and number", () => {
    const found = layout({
      "model.embed_tokens.weight": [9, 2],
      "lm_head.weight": [9, 2],
      "score.weight": [9, 2],
      "model.layers.0.w": [9, 2],
    });
    const has = (name: string, shape: readonly number[]): boolean => isVocabulary(name, shape, found, 9);
    expect(["model.embed_tokens.weight", "lm_head.weight"].map((n) => has(n, [9, 2]))).toEqual([true, true]);
    expect(has("lm_head.bias", [9])).toBe(true);
    expect(has("cls.predictions.bias", [9])).toBe(true);
    expect(has("score.weight", [9, 2])).toBe(false);
    expect(has("embeddings.position_embeddings.weight", [9, 2])).toBe(false);
    expect(has("lm_head.weight", [8, 2])).toBe(false);
  });

  it("parts what comes before the layers from what comes after", () => {
    expect(
      ["model.embed_tokens.weight", "transformer.wpe.weight", "bert.embeddings.LayerNorm.bias", "gpt_neox.embed_in.weight"].map(
        isBeforeLayers,
      ),
    ).toEqual([true, true, true, true]);
    expect(
      ["model.norm.weight", "transformer.ln_f.bias", "lm_head.weight", "embed_out.weight", "score.weight", "bert.pooler.dense.bias"].some(
        isBeforeLayers,
      ),
    ).toBe(false);
    expect([
      isHead("lm_head.weight"),
      isHead("embed_out.weight"),
      isHead("cls.predictions.decoder.weight"),
      isHead("lm_head.dense.weight"),
    ]).toEqual([true, true, true, false]);
    expect([isBuffer("h.0.attn.bias", [1, 1, 4, 4]), isBuffer("h.0.attn.bias", [4]), isBuffer("x.rotary_emb.inv_freq", [4])]).toEqual([
      true,
      false,
      true,
    ]);
  });
});
