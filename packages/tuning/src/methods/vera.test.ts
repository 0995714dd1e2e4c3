import { f32, makeDelta, parseConfig, plainWeights, referenceEngine } from "@lfm/core";
import { mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { goldenModel } from "../../test/golden-case.js";
import { expectPeftSteps, learnedOf } from "../../test/peft-steps.js";
import { torchUniform } from "../torch-uniform.js";
import { vera } from "./vera.js";

describe("VeRA", () => {
  it.each(["vera-llama", "vera-gpt2", "vera-bert"])("five steps as PEFT, and its files: %s", async (name) => {
    await expectPeftSteps(vera, name);
  });

  it("draws what torch draws: torch.rand(4) of seed 0", () => {
    const drawn = Array.from(torchUniform(0)(4, 0, 1));
    for (const [i, v] of [0.4962566, 0.7682218, 0.0884774, 0.1320305].entries()) expect(drawn[i]!).toBeCloseTo(v, 6);
  });

  it("is W + diag(b)·B·diag(d)·A with the corner of A and B that the layer has, as by hand", async () => {
    const net = mlp({ input_size: 2, hidden_sizes: [], output_size: 1 });
    const model = { ...net, params: { "fc1.weight": f32([10, 20], [1, 2]), "fc1.bias": f32([0]) } };
    const tensors = {
      vera_A: f32([1, 2, 99, 3, 4, 99], [2, 3]),
      vera_B: f32([5, 6, 99, 99], [2, 2]),
      "fc1.vera_lambda_b": f32([2]),
      "fc1.vera_lambda_d": f32([1, 10]),
    };
    const delta = makeDelta(vera, parseConfig(vera, { r: 2, targetModules: ["fc1"] }), tensors);
    // 2·(5·1·[1, 2] + 6·10·[3, 4]) = [370, 500]
    const plain = await plainWeights(referenceEngine(), model, [delta]);
    expect(Array.from(plain["fc1.weight"]!.data, Number)).toEqual([380, 520]);
    expect([...delta.frozen]).toEqual(["vera_A", "vera_B"]);
  });

  it("learns r + out values a layer", () => {
    const learned = learnedOf(vera, goldenModel("llama"), { r: 7, targetModules: ["k"] });
    expect(Object.values(learned).reduce((n, t) => n + t.data.length, 0)).toBe(2 * (7 + 16));
  });
});
