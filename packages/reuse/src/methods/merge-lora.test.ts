import { f32, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { matrix, times } from "@lfm/core/linalg";
import { conformMethod } from "@lfm/core/testing";
import type { PeftAdapter } from "@lfm/formats";
import { describe, expect, it } from "vitest";
import { goldenAdapter, loraGolden, loraValues } from "../../test/lora-golden.js";
import { relativeError } from "../../test/mergekit-golden.js";
import { type MergeLoraOutput, mergeLora } from "./merge-lora.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const adaptersOf = (names: readonly string[]): Record<string, PeftAdapter> => Object.fromEntries(names.map((n) => [n, goldenAdapter(n)]));

/** B·A of a module; the result's scale is 1. */
function delta({ adapter: { tensors } }: MergeLoraOutput, path: string): Float64Array {
  const [a, b] = [tensors[`${path}.lora_A.weight`]!, tensors[`${path}.lora_B.weight`]!];
  return times(matrix(b.shape[0]!, b.shape[1]!, b.data as Float32Array), matrix(a.shape[0]!, a.shape[1]!, a.data as Float32Array)).data;
}
const lora = (a: readonly number[], b: readonly number[], alpha = 1): PeftAdapter => ({
  config: { peft_type: "LORA", r: 1, lora_alpha: alpha } as PeftAdapter["config"],
  tensors: { "w.lora_A.weight": f32(a, [1, a.length]), "w.lora_B.weight": f32(b, [b.length, 1]) },
});

describe("merge-lora", () => {
  it("hand-worked", async () => {
    const adapters = { x: lora([1, 0], [2, 0], 2), y: lora([0, 1], [0, 3]) };
    const cat = await runMethod(mergeLora, { adapters }, { combination: "cat", weight: [1, -1] }, context);
    expect(Array.from(cat.adapter.tensors["w.lora_A.weight"]!.data as Float32Array)).toEqual([2, 0, 0, -1]);
    expect(Array.from(cat.adapter.tensors["w.lora_B.weight"]!.data as Float32Array)).toEqual([2, 0, 0, 3]);
    expect(cat.adapter.config).toMatchObject({ r: 2, lora_alpha: 2, use_rslora: false, target_modules: ["w"] });
    const svd = await runMethod(mergeLora, { adapters }, { weight: [1, -1] }, context);
    // ΔW = diag(4, −3): of rank 1 the first stays.
    for (const [i, v] of [4, 0, 0, 0].entries()) expect(delta(svd, "w")[i]).toBeCloseTo(v, 6);
    const linear = await runMethod(mergeLora, { adapters }, { combination: "linear", weight: [0.125, 0.25] }, context);
    expect(Array.from(linear.adapter.tensors["w.lora_A.weight"]!.data as Float32Array)).toEqual([0.5, 0.5]);
    expect(Array.from(linear.adapter.tensors["w.lora_B.weight"]!.data as Float32Array)).toEqual([1, 1.5]);
  });

  it.each(loraGolden.merges.map((m) => [`${m.combination} of ${m.adapters}${m.rank ? `, rank ${m.rank}` : ""}`, m] as const))(
    "equals PEFT: %s",
    async (_, { name, adapters, weights, combination, rank }) => {
      const config = { weight: [...weights], combination, ...(rank === null ? {} : { rank }) };
      const out = await runMethod(mergeLora, { adapters: adaptersOf(adapters) }, config, context);
      for (const path of ["up", "down"]) {
        if (combination === "svd") expect(relativeError(delta(out, path), loraValues(`merge/${name}/${path}.delta`)!)).toBeLessThan(2e-6);
        else
          for (const side of ["A", "B"])
            expect(
              relativeError(
                out.adapter.tensors[`${path}.lora_${side}.weight`]!.data as Float32Array,
                loraValues(`merge/${name}/${path}.${side}`)!,
              ),
            ).toBeLessThan(1e-6);
      }
    },
  );

  it("one adapter gives itself; modules that only some have; ranks that differ get patterns", async () => {
    const a = goldenAdapter("a");
    const alone = await runMethod(mergeLora, { adapters: { a } }, {}, context);
    const cat = await runMethod(mergeLora, { adapters: { a } }, { combination: "cat" }, context);
    expect(relativeError(delta(alone, "up"), delta(cat, "up"))).toBeLessThan(1e-6);
    const half = {
      ...goldenAdapter("c"),
      tensors: Object.fromEntries(Object.entries(goldenAdapter("c").tensors).filter(([n]) => n.startsWith("up."))),
    };
    const out = await runMethod(mergeLora, { adapters: { a, half } }, { combination: "cat" }, context);
    expect(out.adapter.config).toMatchObject({ r: 8, rank_pattern: { down: 3 }, alpha_pattern: { down: 3 } });
    expect(relativeError(delta(out, "down"), delta(alone, "down"))).toBeLessThan(1e-6);
  });

  it("refuses ranks that differ for linear, shapes that differ, and what is more than A and B", async () => {
    const code = async (adapters: Record<string, PeftAdapter>, config: object): Promise<unknown> =>
      runMethod(mergeLora, { adapters }, config, context).catch((e: unknown) => e);
    expect(isLfmError(await code(adaptersOf(["a", "c"]), { combination: "linear" }), "SHAPE_MISMATCH")).toBe(true);
    expect(isLfmError(await code({ x: lora([1, 0], [1]), y: lora([1], [1]) }, {}), "SHAPE_MISMATCH")).toBe(true);
    expect(isLfmError(await code({}, {}), "CONFIG_INVALID")).toBe(true);
    expect(isLfmError(await code(adaptersOf(["a"]), { weight: [1, 2] }), "CONFIG_INVALID")).toBe(true);
    const more = lora([1], [1]);
    const full = { ...more, tensors: { ...more.tensors, "head.weight": f32([1]) } };
    expect(isLfmError(await code({ full }, {}), "OP_UNSUPPORTED")).toBe(true);
  });

  it("keeps the contract of methods", async () => {
    await conformMethod(mergeLora, {
      engine: referenceEngine(),
      inputs: () => ({ adapters: adaptersOf(["a", "b"]) }),
      observe: ({ adapter }) => adapter.tensors,
      reload: async (output) => structuredClone(output),
    });
  });
});
