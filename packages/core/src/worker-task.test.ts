import { describe, expect, it } from "vitest";
import { isLfmError } from "./errors.js";
import { runTask, sparseProgress } from "./worker-task.js";

const entry = new URL("../test/training-worker.js", import.meta.url);

describe("runTask", () => {
  it("trains in a thread of its own and hands back progress, log and result", async () => {
    const [seen, logged]: [number[], string[]] = [[], []];
    const result = await runTask<{ loss: number }>(
      entry,
      { steps: 300 },
      { progress: (p) => seen.push(p.done), log: (m) => logged.push(m) },
    );
    expect(result.loss).toBeLessThan(0.1);
    expect(seen.at(-1)).toBe(300);
    expect(logged).toEqual(["done"]);
  });

  it("stops within 200 ms of the signal", async () => {
    const stop = new AbortController();
    let askedAt = 0;
    const running = runTask(
      entry,
      { steps: 1e9 },
      {
        signal: stop.signal,
        progress: (p) => {
          if (p.done < 10 || stop.signal.aborted) return;
          askedAt = performance.now();
          stop.abort();
        },
      },
    );
    const error = await running.catch((e: unknown) => e);
    expect(isLfmError(error, "ABORTED")).toBe(true);
    expect(performance.now() - askedAt).toBeLessThan(200);
  });

  it("brings an error over with code, hint and details; a missing entry fails at once", async () => {
    const error = await runTask(entry, { steps: 1, fail: true }).catch((e: unknown) => e);
    expect(isLfmError(error, "SHAPE_MISMATCH") && [error.message, error.hint, error.details]).toEqual([
      "the fixture fails",
      "as it was told",
      { step: 3 },
    ]);
    await expect(runTask(new URL("../test/none.js", import.meta.url), {})).rejects.toThrow("not found");
  });
});

describe("sparseProgress", () => {
  it("drops what comes at once, but neither the first of a phase nor the last", () => {
    const seen: string[] = [];
    const report = sparseProgress(({ phase, done }) => seen.push(`${phase} ${done}`));
    for (const phase of ["fit", "merge"]) for (let done = 1; done <= 1000; done++) report({ phase, done, total: 1000, unit: "step" });
    expect([seen[0], seen.at(-1)]).toEqual(["fit 1", "merge 1000"]);
    expect(seen).toContain("fit 1000");
    expect(seen).toContain("merge 1");
    expect(seen.length).toBeLessThan(100);
  });
});
