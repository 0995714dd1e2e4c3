import { describe, expect, it } from "vitest";
import { isLfmError } from "./errors.js";
import { openTasks, runTask, sparseProgress } from "./worker-task.js";

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

describe("openTasks", () => {
  type Task = number | "fail" | "die" | "wait";
  const open = (start: number, closed = new Int32Array(new SharedArrayBuffer(4)), options = {}) =>
    openTasks<string, Task, number>(new URL("../test/tasks-worker.js", import.meta.url), { start, closed }, options);

  it("opens once, runs one task after the other, and goes on after one that fails", async () => {
    const [closed, logged]: [Int32Array<SharedArrayBuffer>, string[]] = [new Int32Array(new SharedArrayBuffer(4)), []];
    const thread = await open(10, closed, { log: (message: string) => logged.push(message) });
    expect([thread.opened, logged, await thread.run(1)]).toEqual(["from 10", ["open"], 11]);
    await expect(thread.run("fail")).rejects.toMatchObject({ code: "SHAPE_MISMATCH", message: "the fixture fails" });
    expect([await thread.run(2), thread.alive, closed[0]]).toEqual([13, true, 0]);
    await thread.end();
    expect([thread.alive, closed[0]]).toEqual([false, 1]);
    await thread.end();
  });

  it("stops the task that runs by its signal", async () => {
    const stop = new AbortController();
    const thread = await open(5, undefined, { signal: stop.signal });
    expect(await thread.run("wait", { progress: () => stop.abort() })).toBe(5);
    await thread.end();
  });

  it("fails where opening fails, and where the thread dies under a task or has died before", async () => {
    await expect(open(-1)).rejects.toMatchObject({ code: "CONFIG_INVALID", hint: "as it was told" });
    const thread = await open(0);
    await expect(thread.run("die")).rejects.toMatchObject({ code: "INTERNAL", message: expect.stringContaining("code 3") });
    expect(thread.alive).toBe(false);
    await expect(thread.run(1)).rejects.toMatchObject({ code: "INTERNAL" });
    await thread.end();
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
