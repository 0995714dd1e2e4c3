import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { convertFloat, f32, type MethodContext, needs, Rng, referenceEngine, runMethod, widenToF32 } from "@lfm/core";
import { writeSafetensors } from "@lfm/formats";
import { describe, expect, it } from "vitest";
import { mergeMethods, runMerge, ties } from "../src/index.js";
import type { TensorSource } from "../src/merging/plan.js";
import { floats, folder, fresh, planOf, resultOf, shapes, stored, writeModel } from "./file-merges.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };

describe("runMerge", () => {
  it.each(["ties", "dare", "average", "slerp"] as const)(
    "%s over files equals the merge in memory, on one thread and on three",
    async (id) => {
      const [base, a, b] = [await writeModel("base", 1), await writeModel("a", 2), await writeModel("b", 3)];
      const models = id === "slerp" ? [a] : [a, b];
      const parameters = id === "slerp" ? { t: 0.3 } : id === "dare" ? { consensus: "sum" } : {};
      const perModel = id === "ties" || id === "dare" ? { density: 0.3, weight: 0.7 } : id === "average" ? { weight: 0.7 } : {};
      const method = mergeMethods.find((m) => m.id === id)!;
      const { delta } = await runMethod(
        method,
        { ...(id === "average" ? {} : { base: floats(base) }), models: Object.fromEntries(models.map((m) => [m, floats(m)])) },
        { ...parameters, ...perModel },
        { ...context, rng: new Rng(3) },
      );
      // Starting threads from sources is slow: two methods on several show it.
      for (const threads of id === "ties" || id === "dare" ? [1, 3] : [1]) {
        const out = fresh();
        const report = await runMerge(planOf(id, id === "average" ? undefined : base, models, parameters, perModel), { out, threads });
        expect(report.threads).toBe(threads);
        const got = resultOf(out);
        for (const name of Object.keys(shapes)) expect(got[name], name).toEqual(delta.tensors[name]);
        expect(Array.from(got.ids!.data as BigInt64Array)).toEqual([4n, 2n]);
        expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
      }
    },
  );

  it("ties in the paper's mode: limits over the whole model, the same on any number of threads and in memory", async () => {
    const [base, a, b] = [await writeModel("base", 1), await writeModel("a", 2), await writeModel("b", 3)];
    const options = { density: 0.2, mode: "paper" } as const;
    const params = (await runMethod(ties, { base: floats(base), models: { a: floats(a), b: floats(b) } }, options, context)).delta.tensors;
    for (const threads of [1, 2]) {
      const out = fresh();
      await runMerge(planOf("ties", base, [a, b], { mode: "paper" }, { density: 0.2 }), { out, threads });
      for (const name of Object.keys(shapes)) expect(resultOf(out)[name], name).toEqual(params[name]);
    }
  });

  it.each(["bf16", "f16", "f8e4m3"] as const)("reads and writes %s: computed in f32, rounded to nearest even", async (dtype) => {
    const [a, b] = [await writeModel(`a-${dtype}`, 2, dtype), await writeModel(`b-${dtype}`, 3, dtype)];
    const out = fresh();
    await runMerge(planOf("average", undefined, [a, b], {}, { weight: 0.5 }), { out });
    const [x, y] = [floats(a), floats(b)];
    for (const name of Object.keys(shapes)) {
      const half = (x[name]!.data as Float32Array).map((v, i) =>
        Math.fround(Math.fround(v * 0.5) + Math.fround((y[name]!.data[i] as number) * 0.5)),
      );
      expect(resultOf(out)[name], name).toEqual(convertFloat({ dtype: "f32", shape: shapes[name]!, data: half }, dtype));
    }
  });

  it("one model gives itself bit for bit; a working dtype rounds what is read", async () => {
    const a = await writeModel("a", 2);
    const out = fresh();
    await runMerge(planOf("passthrough", undefined, [a], {}, {}), { out });
    expect(resultOf(out)["a.weight"]).toEqual(floats(a)["a.weight"]);
    const rounded = fresh();
    await runMerge(planOf("average", undefined, [a], {}, {}, "f32", "bf16"), { out: rounded });
    expect(resultOf(rounded)["a.weight"]).toEqual(widenToF32(convertFloat(floats(a)["a.weight"]!, "bf16")));
  });

  it("merges adapters while reading, and takes rows from elsewhere", async () => {
    const a = await writeModel("a", 2);
    const lora = join(folder, "lora.safetensors");
    const [down, up] = [f32(new Rng(5).normalArray(2 * 401), [2, 401]), f32(new Rng(6).normalArray(300 * 2), [300, 2])];
    await writeSafetensors(lora, { down, up });
    const plan = planOf("average", undefined, [a], {}, {});
    const weight = plan.tensors[0]!.models[0]!.source;
    const source = { kind: "adapted", weight, down: stored(lora, "down"), up: stored(lora, "up"), scale: 0.5, transposed: false } as const;
    const rows = {
      kind: "gathered",
      of: [plan.tensors[1]!.models[0]!.source],
      starts: Int32Array.of(0, 1, 3, 3),
      pick: Int32Array.of(0, 6, 0, 1, 0, 2),
      shape: [3, 5],
    } as const;
    const own = { model: a, parameters: { weight: 1 } };
    const out = fresh();
    await runMerge(
      {
        ...plan,
        tensors: [
          { ...plan.tensors[0]!, models: [{ ...own, source }] },
          { ...plan.tensors[1]!, shape: [3, 5], models: [{ ...own, source: rows }] },
        ],
      },
      { out },
    );
    const [w, table] = [floats(a)["a.weight"]!.data as Float32Array, floats(a)["b.weight"]!.data as Float32Array];
    const got = resultOf(out)["a.weight"]!.data as Float32Array;
    for (const [row, col] of [
      [0, 0],
      [299, 400],
      [150, 37],
    ] as const) {
      const delta =
        0.5 *
        ((up.data[2 * row] as number) * (down.data[col] as number) + (up.data[2 * row + 1] as number) * (down.data[401 + col] as number));
      expect(got[row * 401 + col]).toBeCloseTo(w[row * 401 + col]! + delta, 5);
    }
    const gathered = resultOf(out)["b.weight"]!.data as Float32Array;
    for (let c = 0; c < 5; c++) {
      expect(gathered[c]).toBe(table[30 + c]);
      expect(gathered[5 + c]).toBeCloseTo((table[5 + c]! + table[10 + c]!) / 2, 6);
      expect(gathered[10 + c]).toBe(0);
    }
  });

  it("takes rows of rows of rows, each as wide as a chunk, without moving what it reads into", async () => {
    const path = join(folder, "wide.safetensors");
    const wide = f32(new Rng(9).normalArray(2 * 32768), [2, 32768]);
    await writeSafetensors(path, { wide });
    const rows = { starts: Int32Array.of(0, 1, 2), pick: Int32Array.of(0, 1, 0, 0), shape: [2, 32768] };
    let source: TensorSource = stored(path, "wide");
    for (let depth = 0; depth < 40; depth++) source = { kind: "gathered", of: [source], ...rows };
    const models = [{ model: path, source, parameters: { weight: 1 } }];
    const tensor = { name: "wide", shape: [2, 32768], dtype: "f32", method: "average", parameters: { normalize: true }, models } as const;
    const out = fresh();
    await runMerge({ tensors: [tensor], texts: {}, copies: {}, seed: 0 }, { out });
    // Forty exchanges of two rows: nothing has changed.
    expect(resultOf(out).wide).toEqual(wide);
  });

  it("shards its output when it is asked to, and reads it back", async () => {
    const a = await writeModel("a", 2);
    const out = fresh();
    const { files } = await runMerge(planOf("average", undefined, [a], {}, {}), { out, maxShardBytes: 200 });
    expect(files.length).toBeGreaterThan(2);
    expect(resultOf(out)["a.weight"]).toEqual(floats(a)["a.weight"]);
    expect(existsSync(join(out, "model.safetensors.index.json"))).toBe(true);
  });
});
