import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32 } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { openSession } from "./session.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-zoo-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("a training session", () => {
  it("goes on in the next process where the last checkpoint was", async () => {
    const first = openSession(folder);
    const memo = { stage: 3, average: 0.25 };
    const row = { phase: "reading", step: 100, stage: 3, loss: 0.5, reading: 0.25, recall: 0, hops: 0, consequences: 0 } as const;
    first.log(row);
    await first.checkpoint("reading-1", memo).save({ step: 120, tensors: { "params/w": f32([1, 2]) } });
    first.log({ ...row, step: 200 });

    const second = openSession(folder);
    const restored = { stage: 0, average: 0 };
    const state = await second.checkpoint("reading-1", restored).load();
    expect(state?.step).toBe(120);
    expect(Array.from(state!.tensors["params/w"]!.data as Float32Array)).toEqual([1, 2]);
    expect(restored).toEqual(memo);
    // The line behind the checkpoint is written again by the steps that are done again.
    expect(second.rows).toEqual([row]);
    expect([first.processes, second.processes]).toEqual([1, 2]);
    expect(await second.checkpoint("full", {}).load()).toBeUndefined();
  });

  it("takes a finished phase from disk, and forgets everything when it is cleared", async () => {
    const session = openSession(folder);
    await session.once("reading", async () => ({ w: f32([3]) }));
    const again = await openSession(folder).once("reading", () => Promise.reject(new Error("trained twice")));
    expect(Array.from(again.w!.data as Float32Array)).toEqual([3]);
    session.clear();
    expect(() => readdirSync(folder)).toThrow(/ENOENT/);
  });
});
