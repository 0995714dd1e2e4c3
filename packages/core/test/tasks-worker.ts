// A worker for worker-task.test.ts: adds to what it opened, fails or dies as it is told, and says in shared memory that it has closed.
import { LfmError, serveTasks } from "@lfm/core";

interface Opening {
  readonly start: number;
  readonly closed: Int32Array;
}

serveTasks(async ({ start, closed }: Opening, { log }) => {
  if (start < 0) throw new LfmError("CONFIG_INVALID", "the fixture does not open", { hint: "as it was told" });
  let sum = start;
  log("open");
  return {
    opened: `from ${start}`,
    run: async (task: number | "fail" | "die" | "wait", { signal, progress }) => {
      if (task === "fail") throw new LfmError("SHAPE_MISMATCH", "the fixture fails");
      if (task === "die") setImmediate(() => process.exit(3));
      if (task === "die") await new Promise(() => {});
      while (task === "wait" && !signal.aborted) progress({ phase: "wait", done: 1, total: 1, unit: "step" });
      if (typeof task === "number") sum += task;
      return sum;
    },
    close: async () => void Atomics.store(closed, 0, 1),
  };
});
