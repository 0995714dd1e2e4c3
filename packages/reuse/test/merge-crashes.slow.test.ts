import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { killedAt } from "@lfm/core/testing";
import { readWeights } from "@lfm/formats";
import { beforeAll, describe, expect, it } from "vitest";
import { type MergePlan, type RunMergeOptions, runMerge } from "../src/index.js";
import { errorOf, folder, fresh, planOf, stopInLargest, writeModel } from "./file-merges.js";

type Job = Omit<RunMergeOptions, "out">;

let plan: MergePlan;
let old: MergePlan;

beforeAll(async () => {
  const [base, a] = [await writeModel("base", 1), await writeModel("a", 2)];
  const tokenizer = join(folder, "tokenizer.json");
  writeFileSync(tokenizer, `{"model": "${"x".repeat(9000)}"}`);
  plan = { ...planOf("task-arithmetic", base, [a], {}, { weight: 0.5 }), copies: { "tokenizer.json": tokenizer } };
  old = planOf("average", undefined, [a], {}, {});
});

/** Name and bytes of everything in a folder. */
function content(out: string): Record<string, string> {
  return Object.fromEntries(readdirSync(out).map((name) => [name, readFileSync(join(out, name)).toString("base64")]));
}

/** Kills a merge at every change that it makes, then goes on. @returns how many there are */
async function killEverywhere(
  job: Job,
  prepare: (out: string) => Promise<void>,
  known: readonly Record<string, string>[],
): Promise<number> {
  for (let n = 1; ; n++) {
    let kind: string | undefined;
    for (const where of ["before", "inside"] as const) {
      const out = fresh();
      await prepare(out);
      const last = await killedAt(folder, n, where, () => runMerge(plan, { ...job, out }));
      if (!last) return n - 1;
      kind = `${n} ${where} ${last.kind} ${last.path}`;
      // Under the final name there is nothing, or a whole model: the one of before or the new one.
      if (existsSync(out)) expect(known, kind).toContainEqual(content(out));
      // Also where it was killed while its result was given the name: that is the result which is asked for.
      const report = await runMerge(plan, { ...job, out, resume: true });
      expect(report.resumed, kind).toBeLessThanOrEqual(plan.tensors.length);
      expect(content(out), kind).toEqual(known[0]);
      expect(
        readdirSync(folder).filter((name) => name.startsWith(`${out.slice(folder.length + 1)}.`)),
        kind,
      ).toEqual([]);
      rmSync(out, { recursive: true });
    }
  }
}

describe("a merge that is killed at any change of a file, before it or in its middle, leaves no model or a whole one, and goes on", () => {
  const sizes = { one: {}, shards: { maxShardBytes: 200 }, sync: { sync: true } } as const;

  it.each(["one", "shards", "sync"] as const)("into a new folder: %s", async (kind) => {
    const job = { ...sizes[kind], threads: 1 };
    const whole = fresh();
    await runMerge(plan, { ...job, out: whole });
    readWeights(whole);
    expect(await killEverywhere(job, async () => {}, [content(whole)])).toBeGreaterThan(kind === "one" ? 15 : 20);
  });

  it("in place of another", async () => {
    const [whole, before] = [fresh(), fresh()];
    await runMerge(plan, { out: whole, threads: 1 });
    await runMerge(old, { out: before, threads: 1 });
    const prepare = async (out: string): Promise<void> => void (await runMerge(old, { out, threads: 1 }));
    expect(await killEverywhere({ threads: 1, overwrite: true }, prepare, [content(whole), content(before)])).toBeGreaterThan(15);
  });

  it("going on after it was stopped", async () => {
    const whole = fresh();
    await runMerge(plan, { out: whole, threads: 1 });
    const stop = async (out: string): Promise<void> => void (await errorOf(runMerge(plan, { out, threads: 1, signal: stopInLargest() })));
    expect(await killEverywhere({ threads: 1, resume: true }, stop, [content(whole)])).toBeGreaterThan(8);
  });
});
