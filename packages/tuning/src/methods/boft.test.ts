import { f32, makeDelta, parseConfig, plainWeights, referenceEngine } from "@lfm/core";
import { mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { expectPeftSteps, learnedOf } from "../../test/peft-steps.js";
import { boft, butterfly } from "./boft.js";

const net = mlp({ input_size: 8, hidden_sizes: [], output_size: 2 });
const weight = f32([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0], [2, 8]);
const model = { ...net, params: { "fc1.weight": weight, "fc1.bias": f32([1, 1]) } };

describe("BOFT", () => {
  it.each(["boft-llama", "boft-number", "boft-butterfly", "boft-bert"])("five steps as PEFT, and its files: %s", async (name) => {
    await expectPeftSteps(boft, name);
  });

  it("lets factors pair inputs that are 1, 2 and 4 apart", () => {
    expect([0, 1, 2].map((i) => butterfly(8, 2, i, 3))).toEqual([
      [0, 1, 2, 3, 4, 5, 6, 7],
      [0, 2, 1, 3, 4, 6, 5, 7],
      [0, 2, 4, 6, 1, 3, 5, 7],
    ]);
    expect(butterfly(8, 4, 1, 1)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it("is s ∘ W·Rᵀ: lengths are scaled alone, and with all factors one input reaches all", async () => {
    const options = { targetModules: ["fc1"], boftBlockSize: 2, boftNButterflyFactor: 3 };
    const shapes = learnedOf(boft, model, options);
    expect(shapes["fc1.boft_R"]!.shape).toEqual([3, 4, 2, 2]);
    const tensors = {
      "fc1.boft_R": f32(
        Float32Array.from({ length: 48 }, (_, i) => ((i % 4) - 1.5) * 0.6),
        [3, 4, 2, 2],
      ),
      "fc1.boft_s": f32([2, 0.5], [2, 1]),
    };
    const plain = await plainWeights(referenceEngine(), model, [makeDelta(boft, parseConfig(boft, options), tensors)]);
    const data = Array.from(plain["fc1.weight"]!.data, Number);
    const [first, second] = [data.slice(0, 8), data.slice(8)];
    expect([Math.hypot(...first), Math.hypot(...second)].map((v) => Number(v.toFixed(5)))).toEqual([2, 1.5]);
    expect(first.every((v) => Math.abs(v) > 1e-3)).toBe(true);
  });

  it("refuses sizes that do not fit", () => {
    const refused = (options: object): unknown => {
      try {
        return learnedOf(boft, model, { targetModules: ["fc1"], ...options });
      } catch (error) {
        return (error as Error).message;
      }
    };
    expect(refused({ boftBlockSize: 3 })).toMatch(/cannot be divided into blocks of 3/);
    expect(refused({ boftBlockNum: 2 })).toMatch(/takes one of/);
    expect(refused({ boftNButterflyFactor: 3 })).toMatch(/no 3 butterfly factors/);
  });
});
