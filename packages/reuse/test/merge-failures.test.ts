import { spawn } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { type FileOperation, watchFiles } from "@lfm/core/testing";
import { lockFolder } from "@lfm/formats";
import { describe, expect, it } from "vitest";
import { type MergePlan, mergeResources, runMerge } from "../src/index.js";
import { errorOf, folder, fresh, planOf, stopInLargest, writeModel } from "./file-merges.js";

/** The bytes of the same merge in one go. */
async function wholeMerge(plan: MergePlan): Promise<Buffer> {
  const out = fresh();
  await runMerge(plan, { out });
  return readFileSync(join(out, "model.safetensors"));
}

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
    writeFileSync(join(out, "notes.txt"), "");
    const foreign = await errorOf(runMerge(plan, { out, overwrite: true }));
    expect(isLfmError(foreign, "CONFIG_INVALID") && foreign.message).toContain("notes.txt");
    renameSync(join(out, "notes.txt"), join(out, "tokenizer.json"));
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
      expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain("is read from there");
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

  it("while tensors are written: an error that says so, and the merge goes on when there is room", async () => {
    const [base, a] = [await writeModel("base", 1), await writeModel("a", 2)];
    const plan = planOf("task-arithmetic", base, [a], {}, { weight: 0.5 });
    const out = fresh();
    await errorOf(runMerge(plan, { out, threads: 1, signal: stopInLargest() }));
    const full = ({ kind, path }: FileOperation): void => {
      if (kind === "write" && path.endsWith("model.safetensors")) throw Object.assign(new Error("no room"), { code: "ENOSPC" });
    };
    const error = await errorOf(watchFiles(folder, full, () => runMerge(plan, { out, threads: 1, resume: true })));
    expect(isLfmError(error, "FILE_IO") && error.message).toContain("ENOSPC");
    expect(isLfmError(error) && error.hint).toContain("--resume");
    expect(existsSync(out)).toBe(false);
    expect((await runMerge(plan, { out, resume: true })).resumed).toBeGreaterThan(0);
    expect(readFileSync(join(out, "model.safetensors")).equals(await wholeMerge(plan))).toBe(true);
  });

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
    expect(isLfmError(other, "PARENT_MISMATCH") && other.message).toContain("the seed is 4 now, it was 3");
    const report = await runMerge(plan, { out, resume: true });
    expect(report.resumed).toBeGreaterThan(0);
    expect(readFileSync(join(out, "model.safetensors")).equals(await wholeMerge(plan))).toBe(true);
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
    expect(readFileSync(join(out, "model.safetensors")).equals(await wholeMerge(plan))).toBe(true);
  });
});

describe("what a stopped merge left", () => {
  /** A merge that was stopped in its last tensor. */
  async function stopped(): Promise<{ plan: MergePlan; base: string; a: string; out: string; left: (name: string) => string }> {
    const [base, a] = [await writeModel("base", 1), await writeModel("a", 2)];
    const plan = planOf("task-arithmetic", base, [a], {}, { weight: 0.5 });
    const out = fresh();
    await errorOf(runMerge(plan, { out, threads: 1, signal: stopInLargest() }));
    return { plan, base, a, out, left: (name) => join(`${out}.partial`, name.startsWith(".") ? name : join("merge", name)) };
  }

  it("is not gone on with by another merge, which says in what it is another", async () => {
    const { plan, base, a, out } = await stopped();
    const refused = async (other: MergePlan, maxShardBytes?: number): Promise<string> => {
      const error = await errorOf(runMerge(other, { out, resume: true, ...(maxShardBytes ? { maxShardBytes } : {}) }));
      expect(isLfmError(error, "PARENT_MISMATCH") && error.hint).toContain("without --resume");
      return (error as Error).message;
    };
    expect(await refused(planOf("task-arithmetic", base, [a], {}, { weight: 0.6 }))).toContain("the method or a parameter is another");
    expect(await refused(planOf("ties", base, [a], {}, { weight: 0.5 }))).toContain("the method or a parameter is another");
    expect(await refused(planOf("task-arithmetic", base, [a], {}, { weight: 0.5 }, "bf16"))).toContain("dtypes or files of the result");
    expect(await refused(plan, 200)).toContain("dtypes or files of the result");
    const b = await writeModel("b", 3);
    expect(await refused(planOf("task-arithmetic", base, [b], {}, { weight: 0.5 }))).toMatch(/b\.safetensors was not read before/);
    expect(await refused(planOf("average", undefined, [a], {}, {}))).toMatch(/base\.safetensors is not read any more/);
    utimesSync(a, 1e9, 1e9);
    expect(await refused(plan)).toMatch(/a\.safetensors was changed at 2001-09-09/);
  });

  it("is refused where a file is not as it was laid out", async () => {
    const { plan, out, left } = await stopped();
    const model = readFileSync(left("model.safetensors"));
    const refused = async (): Promise<string> => String(await errorOf(runMerge(plan, { out, resume: true })));
    const header = Buffer.from(model);
    header[20]! ^= 1;
    writeFileSync(left("model.safetensors"), header);
    expect(await refused()).toContain("is not the one that was written");
    writeFileSync(left("model.safetensors"), model.subarray(0, model.length - 1));
    expect(await refused()).toContain(`has ${model.length - 1} bytes, not ${model.length}`);
    rmSync(left("model.safetensors"));
    expect(await refused()).toContain("is gone");
    expect(existsSync(out)).toBe(false);
    await runMerge(plan, { out });
    expect(readFileSync(join(out, "model.safetensors")).equals(await wholeMerge(plan))).toBe(true);
  });

  it("a journal that was cut off in its last line counts up to there; one that is none counts for nothing", async () => {
    for (const [tail, resumed] of [
      ["", 4],
      ["+", 4],
      ["+4", 4],
      ["0\n\n+99999999999\nx\n1\n+0\n+0 12345678\n", 4],
    ] as const) {
      const { plan, out, left } = await stopped();
      const sound = readFileSync(left(".journal"), "utf8");
      expect(sound.split("\n").length - 2).toBe(4);
      writeFileSync(left(".journal"), sound + tail);
      expect((await runMerge(plan, { out, resume: true })).resumed, tail).toBe(resumed);
      expect(readFileSync(join(out, "model.safetensors")).equals(await wholeMerge(plan)), tail).toBe(true);
    }
    for (const text of ["", "\n", "no journal\n+1\n", '{"version":2}\n+1\n', "null\n"]) {
      const { plan, out, left } = await stopped();
      writeFileSync(left(".journal"), text);
      expect((await runMerge(plan, { out, resume: true })).resumed, text).toBe(0);
    }
  });

  it("is not touched while somebody writes there", async () => {
    const { plan, out, left } = await stopped();
    const lock = lockFolder(`${out}.partial`);
    const before = readFileSync(left(".journal"), "utf8");
    for (const resume of [false, true]) {
      const error = await errorOf(runMerge(plan, { out, resume }));
      expect(isLfmError(error, "FILE_IO") && error.message).toContain(`process ${process.pid} is writing ${out}`);
    }
    expect(readFileSync(left(".journal"), "utf8")).toBe(before);
    lock.release();
    expect((await runMerge(plan, { out, resume: true })).resumed).toBe(4);
  });

  it("is never what somebody else keeps under that name", async () => {
    const a = await writeModel("a", 2);
    const plan = planOf("average", undefined, [a], {}, {});
    const out = fresh();
    mkdirSync(`${out}.partial`);
    writeFileSync(join(`${out}.partial`, "thesis.tex"), "");
    for (const resume of [false, true]) {
      const error = await errorOf(runMerge(plan, { out, resume }));
      expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain("thesis.tex");
    }
    expect(readdirSync(`${out}.partial`)).toEqual(["thesis.tex"]);
  });
});
