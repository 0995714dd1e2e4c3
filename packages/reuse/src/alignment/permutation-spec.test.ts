import { type Engine, isLfmError, ortEngine, Rng } from "@lfm/core";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { answersOf, randomParams, smallModels, someInput, withParams } from "../../test/small-models.js";
import { permutationSpec } from "./infer-spec.js";
import { type HeadGroup, identityPermutations, invertPermutations, permuteWeights } from "./permutation-spec.js";
import { randomPermutations } from "./random-permutations.js";
import { weightMatching } from "./weight-matching.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const largest = (a: readonly number[], b: readonly number[]): number => Math.max(...a.map((v, i) => Math.abs(v - b[i]!)));

describe.each(Object.entries(smallModels))("%s", (_name, make) => {
  const plain = make();
  const model = withParams(plain, randomParams(plain, 1));
  const spec = permutationSpec(model);

  it("answers the same in any order of its units", async () => {
    const input = someInput(model, 3);
    const before = await answersOf(engine, model, input);
    await fc.assert(
      fc.asyncProperty(fc.integer(), async (seed) => {
        const moved = permuteWeights(spec, randomPermutations(spec, new Rng(seed)), model.params);
        expect(largest(await answersOf(engine, withParams(model, moved), input), before)).toBeLessThanOrEqual(1e-5);
      }),
      { numRuns: 4, seed: 1 },
    );
  });

  it("a shuffled copy of itself is put back", () => {
    for (const seed of [1, 2, 3]) {
      const shuffle = randomPermutations(spec, new Rng(seed));
      const moved = permuteWeights(spec, shuffle, model.params);
      const { permutations } = weightMatching(spec, model.params, moved, { rng: new Rng(seed) });
      expect(permutations).toEqual(invertPermutations(shuffle));
      expect(permuteWeights(spec, permutations, moved)).toEqual(model.params);
    }
  });
});

describe("what is found", () => {
  const specOf = (name: string): ReturnType<typeof permutationSpec> => permutationSpec(smallModels[name]!());
  const sizes = (name: string): Record<string, unknown> =>
    Object.fromEntries(
      specOf(name).groups.map((g) => [g.id, g.kind === "units" ? g.size : [g.kvHeads, g.queryHeads, g.headDim, g.movesQk]]),
    );

  it("hidden layers of chains; outputs stay", () => {
    expect(sizes("mlp")).toEqual({ fc1: 9, fc2: 7 });
    expect(sizes("convnet")).toEqual({ "features.0.conv": 5, "features.1.conv": 6 });
    expect(sizes("convnet without a head")).toEqual({ "features.0.conv": 5 });
    // The classifier reads the 2 × 2 positions of each channel side by side.
    expect(specOf("convnet").groups[1]!.uses.find((u) => u.param === "classifier.weight")).toMatchObject({
      axis: 1,
      block: 4,
      makes: false,
    });
  });

  it("residual stream, MLPs and heads of transformers; rotary positions keep q and k in order", () => {
    expect(sizes("gpt2")).toMatchObject({ residual: 12, "transformer.h.0.mlp.c_fc": 20, "transformer.h.1.attn.c_attn": [3, 1, 4, true] });
    expect(sizes("llama")).toMatchObject({
      residual: 24,
      "model.layers.0.mlp.up_proj": 28,
      "model.layers.1.self_attn.q_proj": [6, 1, 4, false],
    });
    expect(sizes("llama with grouped keys, tied")["model.layers.0.self_attn.q_proj"]).toEqual([2, 3, 4, false]);
    expect(specOf("llama").fixed.map((f) => f.what)).toContain("dimensions of q and k inside a head");
    expect(specOf("gpt2").fixed.map((f) => f.what)).not.toContain("dimensions of q and k inside a head");
  });

  it("every matrix of a llama moves with its stream; a tied head is the embedding, used once", () => {
    const uses = specOf("llama with grouped keys, tied").groups.flatMap((g) => g.uses);
    expect(uses.filter((u) => u.param === "model.embed_tokens.weight")).toHaveLength(1);
    expect(new Set(uses.map((u) => u.param))).toEqual(new Set(Object.keys(smallModels["llama with grouped keys, tied"]!().info.params)));
  });

  it("an encoder's hidden state is its answer; a head frees it, and the pooler where it reads that", () => {
    expect(Object.keys(sizes("bert encoder"))).not.toContain("residual");
    expect(specOf("bert encoder").fixed.map((f) => f.what)).toEqual(["the residual stream", 'outputs of "pooler.dense"']);
    expect(Object.keys(sizes("bert classifier"))).toEqual(expect.arrayContaining(["residual", "bert.pooler.dense"]));
    expect(Object.keys(sizes("bert, head on the pooler"))).toContain("pooler.dense");
    expect(Object.keys(sizes("bert, head on the mean"))).not.toContain("pooler.dense");
  });

  it("rotary dimensions of q and k cannot be permuted: the answers would change", async () => {
    const plain = smallModels.llama!();
    const model = withParams(plain, randomParams(plain, 1));
    const spec = permutationSpec(model);
    const group = spec.groups.find((g) => g.kind === "heads") as HeadGroup;
    const swapped = identityPermutations(spec)[group.id]!;
    for (const channel of ["q", "k"]) for (let h = 0; h < 6; h++) swapped[channel]!.set([4 * h + 1, 4 * h], 4 * h);
    const input = someInput(model, 3);
    const moved = withParams(model, permuteWeights(spec, { [group.id]: swapped }, model.params));
    expect(largest(await answersOf(engine, moved, input), await answersOf(engine, model, input))).toBeGreaterThan(1e-3);
  });

  it("refuses an architecture that it does not know", () => {
    const odd = smallModels.mlp!();
    let error: unknown;
    try {
      permutationSpec({ ...odd, info: { ...odd.info, architecture: "unet" } });
    } catch (e) {
      error = e;
    }
    expect(isLfmError(error, "CAPABILITY_MISSING")).toBe(true);
  });
});
