import { f32, type HostTensor, makeDelta, parseConfig, plainWeights, referenceEngine } from "@lfm/core";
import { gpt2, mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { expectPeftSteps, learnedOf } from "../../test/peft-steps.js";
import { hasPeftForm } from "../peft.js";
import { oft } from "./oft.js";

const net = mlp({ input_size: 4, hidden_sizes: [], output_size: 1 });
const model = { ...net, params: { "fc1.weight": f32([1, 0, 0, 2], [1, 4]), "fc1.bias": f32([0]) } };
const rotatedBy = async (options: object, values: readonly number[]): Promise<readonly number[]> => {
  const config = parseConfig(oft, { targetModules: ["fc1"], oftBlockSize: 2, ...options });
  const shape = learnedOf(oft, model, { targetModules: ["fc1"], oftBlockSize: 2, ...options })["fc1.oft_R.weight"]!.shape;
  const plain = await plainWeights(referenceEngine(), model, [makeDelta(oft, config, { "fc1.oft_R.weight": f32([...values], shape) })]);
  return Array.from(plain["fc1.weight"]!.data, Number);
};
const expectClose = (a: readonly number[], b: readonly number[]): void => {
  for (const [i, v] of b.entries()) expect(a[i]!).toBeCloseTo(v, 6);
};

describe("OFT", () => {
  it.each(["oft-llama", "oft-exact", "oft-bert"])("five steps as PEFT, and its files: %s", async (name) => {
    await expectPeftSteps(oft, name);
  });

  it("rotates pairs of inputs by 2·arctan q, as by hand; the series is near it for small q", async () => {
    // (I − Q)(I + Q)⁻¹ with Q = [[0, q], [−q, 0]] is [[c, −s], [s, c]], c = (1 − q²)/(1 + q²), s = 2q/(1 + q²); W' = W·Rᵀ.
    const q = 0.5;
    const [c, s] = [(1 - q * q) / (1 + q * q), (2 * q) / (1 + q * q)];
    expectClose(await rotatedBy({ useCayleyNeumann: false }, [q, 0]), [c, s, 0, 2]);
    expectClose(await rotatedBy({ useCayleyNeumann: false, blockShare: true }, [q]), [c, s, -2 * s, 2 * c]);
    // I + 2Q + 2Q² + 2Q³ + Q⁴ is the start of the series of (I + Q)(I − Q)⁻¹, which turns the other way.
    const series = (t: number): readonly number[] => [1 - 2 * t * t + t ** 4, -(2 * t - 2 * t ** 3), 0, 2];
    expectClose(await rotatedBy({}, [q, 0]), series(q));
    for (const terms of [1, 2, 3, 4])
      expectClose(
        await rotatedBy({ numCayleyNeumannTerms: terms }, [q, 0]),
        [
          [1, 0, 0, 2],
          [1, -2 * q, 0, 2],
          [1 - 2 * q * q, -(2 * q - q ** 3), 0, 2],
          [1 - 2 * q * q, -(2 * q - q ** 3), 0, 2],
        ][terms - 1]!,
      );
  });

  it("keeps lengths, and short rotations with COFT: ‖Q‖ ≤ ε/√blocks", async () => {
    const exact = await rotatedBy({ useCayleyNeumann: false }, [3, -0.7]);
    expect(Math.hypot(...exact)).toBeCloseTo(Math.sqrt(5), 6);
    const q = 0.1 / Math.sqrt(2) / Math.SQRT2;
    expectClose(await rotatedBy({ useCayleyNeumann: false, coft: true, eps: 0.1 }, [3, 0]), [
      (1 - q * q) / (1 + q * q),
      (2 * q) / (1 + q * q),
      0,
      2,
    ]);
  });

  it("takes the nearest size that divides the inputs; a count of blocks instead of their size; one of the two", () => {
    const shape = (options: object): HostTensor["shape"] =>
      learnedOf(oft, model, { targetModules: ["fc1"], ...options })["fc1.oft_R.weight"]!.shape;
    expect([shape({}), shape({ oftBlockSize: 3 }), shape({ r: 2, oftBlockSize: 0 })]).toEqual([
      [1, 6],
      [2, 1],
      [2, 1],
    ]);
    expect(() => shape({ r: 2 })).toThrow(/takes one of/);
    expect(() => shape({ r: 4, oftBlockSize: 0 })).toThrow(/cannot rotate/);
  });

  it("counts GPT-2 small's as PEFT's paper table: 142,848 for blocks of 32 on c_attn; PEFT has none of such layers", () => {
    const small = gpt2({ vocab_size: 50257, n_embd: 768, n_layer: 12, n_head: 12, n_positions: 1024 });
    const learned = learnedOf(oft, small, { targetModules: ["c_attn"] });
    expect(Object.values(learned).reduce((n, t) => n + t.data.length, 0)).toBe(142_848);
    expect(hasPeftForm(makeDelta(oft, parseConfig(oft, { targetModules: ["c_attn"] }), learned), small)).toBe(false);
  });
});
