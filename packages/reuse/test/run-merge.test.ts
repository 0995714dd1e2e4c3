import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  convertFloat,
  type DType,
  f32,
  type HostTensor,
  isLfmError,
  loadWeight,
  type MethodContext,
  needs,
  Rng,
  referenceEngine,
  runMethod,
  widenToF32,
} from "@lfm/core";
import { readSafetensors, readWeights, writeSafetensors } from "@lfm/formats";
import { afterAll, describe, expect, it } from "vitest";
import { type MergePlan, mergeMethods, mergeResources, runMerge, ties } from "../src/index.js";
import type { PlannedInput, StoredTensor, TensorSource } from "../src/merging/plan.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-merge-"));
afterAll(() => rmSync(folder, { recursive: true }));
const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
/** One tensor is cut into several chunks. */
const shapes: Readonly<Record<string, readonly number[]>> = {
  "a.weight": [300, 401],
  "b.weight": [7, 5],
  "c.bias": [33],
  "d.empty": [0, 4],
};
const errorOf = async (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => undefined,
    (e: unknown) => e,
  );

async function writeModel(
  name: string,
  seed: number,
  dtype: "f32" | "bf16" | "f16" | "f8e4m3" = "f32",
  edit = (_: Record<string, HostTensor>): void => {},
): Promise<string> {
  const path = join(folder, `${name}.safetensors`);
  const tensors: Record<string, HostTensor> = Object.fromEntries(
    Object.entries(shapes).map(([key, shape]) => [
      key,
      f32(
        new Rng(seed).split(key).normalArray(
          shape.reduce((a, b) => a * b, 1),
          0.1,
        ),
        [...shape],
      ),
    ]),
  );
  edit(tensors);
  await writeSafetensors(path, { ...tensors, ids: { dtype: "i64", shape: [2], data: BigInt64Array.of(4n, 2n) } }, { dtype });
  return path;
}
function stored(path: string, name: string): StoredTensor {
  const { dtype, shape, file } = readSafetensors(path).tensors[name]!;
  return { kind: "stored", file: file.path, name, position: file.offset, dtype, shape };
}
function planOf(
  method: string,
  base: string | undefined,
  models: readonly string[],
  parameters: object,
  perModel: object,
  dtype?: DType,
  workingDtype?: DType,
): MergePlan {
  const { merging } = mergeMethods.find((m) => m.id === method)!;
  const input = (path: string, name: string): PlannedInput => ({
    model: path,
    source: stored(path, name),
    parameters: merging.perModel.parse(perModel) as never,
  });
  return {
    tensors: [...Object.keys(shapes), "ids"].map((name) => {
      const first = stored(models[0]!, name);
      return {
        name,
        shape: first.shape,
        dtype: name === "ids" ? "i64" : (dtype ?? first.dtype),
        method,
        parameters: merging.shared.parse(parameters) as never,
        models: models.map((path) => input(path, name)),
        ...(base ? { base: input(base, name) } : {}),
        ...(workingDtype ? { workingDtype } : {}),
      };
    }),
    texts: { "config.json": "{}\n" },
    copies: {},
    seed: 3,
  };
}
let runs = 0;
const fresh = (): string => join(folder, `out-${++runs}`);
const resultOf = (out: string): Record<string, HostTensor> =>
  Object.fromEntries(Object.entries(readWeights(out).weights).map(([k, t]) => [k, loadWeight(t)]));
const floats = (path: string): Record<string, HostTensor> =>
  Object.fromEntries(Object.keys(shapes).map((name) => [name, widenToF32(loadWeight(readSafetensors(path).tensors[name]!))]));

describe("runMerge", () => {
  it.each(["ties", "dare", "average", "slerp"] as const)(
    "%s over files equals the merge in memory, on one thread and on three",
    async (id) => {
      const [base, a, b] = [await writeModel("base", 1), await writeModel("a", 2), await writeModel("b", 3)];
      const models = id === "slerp" ? [a] : [a, b];
      const parameters = id === "slerp" ? { t: 0.3 } : id === "dare" ? { consensus: "sum" } : {};
      const perModel = id === "ties" || id === "dare" ? { density: 0.3, weight: 0.7 } : id === "average" ? { weight: 0.7 } : {};
      const method = mergeMethods.find((m) => m.id === id)!;
      const { params } = await runMethod(
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
        for (const name of Object.keys(shapes)) expect(got[name], name).toEqual(params[name]);
        expect(Array.from(got.ids!.data as BigInt64Array)).toEqual([4n, 2n]);
        expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
      }
    },
  );

  it("ties in the paper's mode: limits over the whole model, the same on any number of threads and in memory", async () => {
    const [base, a, b] = [await writeModel("base", 1), await writeModel("a", 2), await writeModel("b", 3)];
    const options = { density: 0.2, mode: "paper" } as const;
    const { params } = await runMethod(ties, { base: floats(base), models: { a: floats(a), b: floats(b) } }, options, context);
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

describe("a merge that cannot be done leaves nothing under the final name", () => {
  it("NaN in an input: names model, tensor and element", async () => {
    const a = await writeModel("nan", 2, "bf16", (t) => {
      (t["a.weight"]!.data as Float32Array)[70_001] = Number.NaN;
    });
    for (const threads of [1, 2]) {
      const out = fresh();
      const error = await errorOf(runMerge(planOf("average", undefined, [a], {}, {}), { out, threads }));
      expect(isLfmError(error, "FILE_FORMAT") && error.message).toMatch(
        /"a\.weight" of .*nan\.safetensors holds NaN, first at element 70001/,
      );
      expect(existsSync(out)).toBe(false);
    }
  });

  it("an input that was cut short after the plan was made", async () => {
    const a = await writeModel("short", 2);
    const plan = planOf("average", undefined, [a], {}, {});
    truncateSync(a, 1000);
    const out = fresh();
    const error = await errorOf(runMerge(plan, { out }));
    expect(isLfmError(error, "FILE_IO") && error.message).toContain("short.safetensors");
    expect(existsSync(out)).toBe(false);
  });

  it("a folder that is taken, unless it is to be replaced; too little memory; no such file", async () => {
    const a = await writeModel("a", 2);
    const out = fresh();
    const plan = planOf("average", undefined, [a], {}, {});
    await runMerge(plan, { out });
    const taken = await errorOf(runMerge(plan, { out }));
    expect(isLfmError(taken, "CONFIG_INVALID") && taken.hint).toContain("--overwrite");
    writeFileSync(join(out, "old.txt"), "");
    await runMerge(plan, { out, overwrite: true });
    expect(readdirSync(out).sort()).toEqual(["config.json", "model.safetensors"]);
    expect(() => mergeResources(plan, { maxMemory: 1e6 })).toThrow(/too little/);
    rmSync(a);
    expect(isLfmError(await errorOf(runMerge(plan, { out: fresh() })), "FILE_IO")).toBe(true);
  });
});

describe("replacing a folder", () => {
  it("is refused where the merge reads from it, or where it holds no model", async () => {
    const a = await writeModel("a", 2);
    const plan = planOf("average", undefined, [a], {}, {});
    const input = fresh();
    await runMerge(plan, { out: input });
    const [before] = [readFileSync(join(input, "model.safetensors"))];
    const again = planOf("average", undefined, [join(input, "model.safetensors")], {}, {});
    symlinkSync(input, `${input}.link`);
    for (const out of [input, `${input}.link`, folder]) {
      const error = await errorOf(runMerge(again, { out, overwrite: true }));
      expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain("reads");
    }
    expect(readFileSync(join(input, "model.safetensors")).equals(before)).toBe(true);
    const other = fresh();
    mkdirSync(other);
    writeFileSync(join(other, "thesis.tex"), "");
    const file = fresh();
    writeFileSync(file, "notes");
    for (const out of [other, file]) {
      const error = await errorOf(runMerge(plan, { out, overwrite: true }));
      expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain("holds no model");
    }
    expect(existsSync(join(other, "thesis.tex")) && existsSync(file)).toBe(true);
  });
});

describe("a disk that is full", () => {
  it("is seen before anything is written where the result could never fit", async () => {
    const a = await writeModel("a", 2);
    const { tensors, ...rest } = planOf("average", undefined, [a], {}, {});
    const huge = { ...tensors[0]!, name: "huge", shape: [2 ** 25, 2 ** 25] };
    const out = fresh();
    const error = await errorOf(runMerge({ ...rest, tensors: [...tensors, huge] }, { out }));
    expect(isLfmError(error, "FILE_IO") && error.message).toMatch(/the result has \d+\.\d+ GB, the disk has/);
    expect(existsSync(out) || existsSync(`${out}.partial`)).toBe(false);
  });

  // Linux has a device that is always full.
  it.runIf(existsSync("/dev/full"))(
    "while tensors are written: an error that says so, and the merge goes on when there is room",
    async () => {
      const [base, a] = [await writeModel("base", 1), await writeModel("a", 2)];
      const plan = planOf("task-arithmetic", base, [a], {}, { weight: 0.5 });
      const out = fresh();
      await errorOf(runMerge(plan, { out, threads: 1, signal: stopInLargest() }));
      const file = join(`${out}.partial`, "model.safetensors");
      renameSync(file, `${file}.kept`);
      symlinkSync("/dev/full", file);
      for (const threads of [1, 2]) {
        const error = await errorOf(runMerge(plan, { out, threads, resume: true }));
        expect(isLfmError(error, "FILE_IO") && error.message).toContain("ENOSPC");
        expect(isLfmError(error) && error.hint).toContain("--resume");
        expect(existsSync(out)).toBe(false);
      }
      rmSync(file);
      renameSync(`${file}.kept`, file);
      expect((await runMerge(plan, { out, resume: true })).resumed).toBeGreaterThan(0);
      const whole = fresh();
      await runMerge(plan, { out: whole });
      expect(readFileSync(join(out, "model.safetensors")).equals(readFileSync(join(whole, "model.safetensors")))).toBe(true);
    },
  );

  it("when the last files are copied: nothing is lost, nothing has the final name", async () => {
    const a = await writeModel("a", 2);
    const plan = planOf("average", undefined, [a], {}, {});
    const out = fresh();
    const error = await errorOf(runMerge({ ...plan, copies: { "tokenizer.json": join(folder, "not-there.json") } }, { out }));
    expect(isLfmError(error, "FILE_IO") && error.message).toMatch(/tokenizer\.json.*ENOENT/);
    expect(existsSync(out)).toBe(false);
  });
});

describe("a merge that was stopped", () => {
  it("goes on where it was; another merge is refused", async () => {
    const [base, a] = [await writeModel("base", 1), await writeModel("a", 2)];
    const out = fresh();
    const plan = planOf("task-arithmetic", base, [a], {}, { weight: 0.5 });
    const stopping = stopInLargest();
    const stopped = await errorOf(runMerge(plan, { out, threads: 1, signal: stopping }));
    expect(isLfmError(stopped, "ABORTED")).toBe(true);
    expect(existsSync(out)).toBe(false);
    expect(existsSync(`${out}.partial`)).toBe(true);
    const other = await errorOf(runMerge({ ...plan, seed: 4 }, { out, resume: true }));
    expect(isLfmError(other, "PARENT_MISMATCH")).toBe(true);
    const report = await runMerge(plan, { out, resume: true });
    expect(report.resumed).toBeGreaterThan(0);
    const whole = fresh();
    await runMerge(plan, { out: whole });
    expect(readFileSync(join(out, "model.safetensors")).equals(readFileSync(join(whole, "model.safetensors")))).toBe(true);
    expect(existsSync(`${out}.partial`)).toBe(false);
  });

  it("by kill -9 goes on too", async () => {
    const [base, a] = [await writeModel("base", 1), await writeModel("a", 2)];
    const plan = planOf("ties", base, [a], {}, { density: 0.5 });
    const out = fresh();
    writeFileSync(join(folder, "plan.json"), JSON.stringify({ plan, out }));
    const child = spawn(
      process.execPath,
      ["--import", "tsx", "--conditions=@lfm/source", new URL("killed-merge.ts", import.meta.url).pathname, join(folder, "plan.json")],
      { stdio: ["ignore", "ignore", "inherit"] },
    );
    const signal = await new Promise((resolve) => child.once("close", (_, s) => resolve(s)));
    expect(signal).toBe("SIGKILL");
    expect(existsSync(out)).toBe(false);
    const report = await runMerge(plan, { out, resume: true });
    expect(report.resumed).toBeGreaterThan(0);
    const whole = fresh();
    await runMerge(plan, { out: whole });
    expect(readFileSync(join(out, "model.safetensors")).equals(readFileSync(join(whole, "model.safetensors")))).toBe(true);
  });
});

/** A signal that fires in the last and largest of the tensors, which small merges come to last. */
function stopInLargest(): AbortSignal {
  const controller = new AbortController();
  const native = Object.getOwnPropertyDescriptor(AbortSignal.prototype, "aborted")!.get!;
  let looks = 0;
  Object.defineProperty(controller.signal, "aborted", {
    get: () => {
      // Two reads and a write for each of two small tensors and the copied one; 300·401 elements are four chunks of as much.
      if (++looks > 15) controller.abort();
      return native.call(controller.signal) as boolean;
    },
  });
  return controller.signal;
}
