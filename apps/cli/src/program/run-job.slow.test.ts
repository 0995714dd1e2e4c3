import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError, type Progress } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { runLfm, runLfmWith } from "../../test/run-lfm.js";
import { runInThread } from "./run-job.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-thread-"));
afterAll(() => rmSync(folder, { recursive: true }));

describe("a job in its own thread", () => {
  it("prints what it prints in the thread that calls; its errors keep code and hint", async () => {
    const args = ["generate", "--model", "zoo-lm", "--prompt", "the", "--max-new-tokens", "2"];
    const [there, here] = [await runLfmWith(runInThread, ...args), await runLfm(...args)];
    expect(there.code).toBe(0);
    expect(there.out).toBe(here.out);
    const unknown = ["generate", "--model", "zoo-lmm", "--prompt", "the"];
    expect(await runLfmWith(runInThread, ...unknown)).toEqual(await runLfm(...unknown));
  });

  it("sends its progress, and stops when it is asked to", async () => {
    const data = join(folder, "texts.jsonl");
    writeFileSync(data, '{"text":"say kind and brave"}\n{"text":"say cruel and vain"}\n');
    const [stop, seen]: [AbortController, Progress[]] = [new AbortController(), []];
    const request = {
      method: "tuning/full",
      model: "zoo-lm",
      data,
      batchSize: 2,
      maxLength: 8,
      out: join(folder, "tuned"),
      config: { steps: 1e6 },
    };
    const progress = (p: Progress): void => {
      seen.push(p);
      if (p.phase.startsWith("tuning")) stop.abort();
    };
    const error = await runInThread("method", request, { signal: stop.signal, log: () => {}, progress }).catch((e: unknown) => e);
    expect(isLfmError(error, "ABORTED")).toBe(true);
    expect(seen.at(-1)).toMatchObject({ total: 1e6, unit: "step" });
  });
});
