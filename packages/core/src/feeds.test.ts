import { describe, expect, it } from "vitest";
import { grad } from "./autodiff.js";
import { compile } from "./compile.js";
import { sym } from "./dims.js";
import { f32, type HostTensor, i32 } from "./dtype.js";
import type { Engine } from "./engines/engine.js";
import { ortEngine } from "./engines/ort.js";
import { referenceEngine } from "./engines/reference.js";
import { tfjsEngine } from "./engines/tfjs.js";
import { IGNORE_INDEX } from "./ops/cross-entropy.js";
import { crossEntropyPerItem, gather, gatherElements, sum } from "./ops/index.js";
import type { Spec } from "./trace.js";

const engines: Record<string, () => Promise<Engine>> = {
  ort: () => ortEngine({ threads: 1 }),
  tfjs: () => tfjsEngine(),
  reference: async () => referenceEngine(),
};

describe.each(Object.keys(engines))("ids that do not exist, on %s", (name) => {
  const table = f32([1, 2, 3, 4, 5, 6], [3, 2]);
  const chosen = async (ids: HostTensor): Promise<number[]> => {
    const spec = { table: { dtype: "f32", shape: [sym("rows"), 2] }, ids: { dtype: "i32", shape: [sym("n")] } } as const satisfies Record<
      string,
      Spec
    >;
    const run = await compile(await engines[name]!(), spec, (x) => ({
      y: gather(x.table, x.ids),
      slope: grad(sum(gather(x.table, x.ids)), { table: x.table }).table,
    }));
    return Array.from((await run({ table, ids })).y.data as Float32Array);
  };

  it("are refused with their place, negative ones too, on the way into an embedding", async () => {
    expect(await chosen(i32([2, 0]))).toEqual([5, 6, 1, 2]);
    for (const id of [-1, -100, 3, 2 ** 31 - 1])
      await expect(chosen(i32([0, id]))).rejects.toMatchObject({
        code: "SHAPE_MISMATCH",
        message: `[@lfm/core] ${id} in "in/ids" is none of 0..2`,
        details: { at: 1, value: id, size: 3 },
      });
  });

  it("are refused as labels, but for the one that says that nothing counts", async () => {
    const spec = { logits: { dtype: "f32", shape: [2, 3] }, labels: { dtype: "i32", shape: [2] } } as const;
    const run = await compile(await engines[name]!(), spec, (x) => ({ y: crossEntropyPerItem(x.logits, x.labels) }));
    const losses = async (...labels: number[]): Promise<number[]> =>
      Array.from((await run({ logits: f32([0, 0, 0, 0, 0, 0], [2, 3]), labels: i32(labels) })).y.data as Float32Array);
    expect((await losses(IGNORE_INDEX, 1)).map((x) => x.toFixed(4))).toEqual(["0.0000", "1.0986"]);
    for (const label of [-1, -99, 3])
      await expect(losses(0, label)).rejects.toThrow(`${label} in "in/labels" is none of 0..2 (nor -100, which does not count)`);
  });

  it("are refused by element", async () => {
    const spec = { x: { dtype: "f32", shape: [1, 2] }, at: { dtype: "i32", shape: [1, 1] } } as const;
    const run = await compile(await engines[name]!(), spec, (x) => ({ y: gatherElements(x.x, x.at) }));
    await expect(run({ x: f32([1, 2], [1, 2]), at: i32([-1], [1, 1]) })).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });
});
