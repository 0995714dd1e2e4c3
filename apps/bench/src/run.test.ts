import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { SETUP_MS } from "../test/fixtures/toy-catalog.js";
import { toyCatalog, toySuite } from "../test/fixtures/toy-suite.js";
import { type RunEvent, type RunOptions, runSuite } from "./run.js";
import { openStore, takeRunFolder } from "./store.js";
import type { SuiteCell } from "./suite.js";
import { readRun } from "./summary.js";

let out: string;
beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), "lfm-bench-"));
});
afterEach(() => rmSync(out, { recursive: true, force: true }));

const run = (options: Partial<RunOptions> = {}) =>
  runSuite({
    suite: toySuite({ cells: 3 }),
    out,
    engine: "reference",
    catalog: toyCatalog,
    folders: { data: undefined, models: undefined },
    ...options,
  });
const resultFiles = (): string[] => readdirSync(join(out, "results")).sort();

describe("runSuite", () => {
  it("runs every cell in one thread, writes results and a summary, and shares what is made once", async () => {
    const events: RunEvent[] = [];
    const { summary, interrupted } = await run({ onEvent: (e) => events.push(e) });
    expect(interrupted).toBe(false);
    expect(summary.cells.map((c) => c.status)).toEqual(["ok", "ok", "ok"]);
    expect(summary.cells.map((c) => c.seed)).toEqual([1, 1, 1]);
    expect(new Set(summary.cells.map((c) => c.metrics.made!.value)).size).toBe(1);
    // Set-up stands with the cell that asked first, and in no cell's own time.
    expect(summary.cells[0]!.setupMs).toBeGreaterThanOrEqual(SETUP_MS);
    expect(summary.cells.slice(1).map((c) => c.setupMs)).toEqual([0, 0]);
    expect(summary.cells.every((c) => c.peakRssBytes! > 20e6 && c.wallMs! >= 5)).toBe(true);
    expect(resultFiles()).toHaveLength(3);
    expect(JSON.parse(readFileSync(join(out, "summary.json"), "utf8"))).toEqual(summary);
    const stored = readRun(out).results;
    expect(stored[0]).toMatchObject({ engine: expect.stringMatching(/^reference/), headline: "accuracy", config: { kept: 0.98 } });
    expect(stored[0]!.curves.loss).toHaveLength(5);
    expect(events.map((e) => e.type)).toEqual(expect.arrayContaining(["plan", "cell-start", "progress", "cell-end"]));
  });

  it("gives the same numbers for the same seed", async () => {
    const a = await run();
    rmSync(out, { recursive: true });
    const b = await run();
    expect(a.summary.cells.map((c) => c.metrics.accuracy)).toEqual(b.summary.cells.map((c) => c.metrics.accuracy));
  });

  it("keeps finished cells and runs only the rest", async () => {
    await run({ limit: 2 });
    const before = resultFiles().map((f) => statSync(join(out, "results", f)).mtimeMs);
    const started: string[] = [];
    const { summary } = await run({ onEvent: (e) => e.type === "cell-start" && started.push(e.name) });
    expect(started).toEqual(["tuning/count/alpha/c2"]);
    expect(summary.cells).toHaveLength(3);
    const after = resultFiles().map((f) => statSync(join(out, "results", f)).mtimeMs);
    for (const time of before) expect(after).toContain(time);
  });

  it("makes failures results, with code and hint, and goes on after a thread that died", async () => {
    const cell = (label: string, config: Record<string, unknown>): SuiteCell => ({
      scenario: "count",
      paradigm: "tuning",
      method: "alpha",
      label,
      config,
    });
    const suite = toySuite({ cells: 1 });
    suite.cells = [
      cell("a", { behave: "throw" }),
      cell("b", { behave: "typed" }),
      cell("c", { behave: "die" }),
      cell("d", { behave: "nan" }),
      cell("e", {}),
    ];
    const { summary } = await run({ suite });
    expect(summary.cells.map((c) => c.status)).toEqual(["failed", "failed", "failed", "failed", "ok"]);
    expect(summary.cells.map((c) => c.error?.code)).toEqual(["INTERNAL", "NUMERIC_DIVERGED", "INTERNAL", "INTERNAL", undefined]);
    expect(summary.cells[1]!.error).toMatchObject({ message: "loss is NaN at step 3", hint: "lower the rate" });
    expect(summary.cells[2]!.error!.message).toContain("out of the blue");
    const again: string[] = [];
    await run({ suite, onEvent: (e) => e.type === "cell-start" && again.push(e.name) });
    expect(again).toHaveLength(4);
  });

  it("skips cells without their data, with the reason, and runs them once it is there", async () => {
    const suite = toySuite({ cells: 1 });
    suite.cells = [{ scenario: "real-thing", paradigm: "reuse", method: "delta" }];
    const { summary } = await run({ suite });
    expect(summary.cells[0]).toMatchObject({ status: "skipped", wallMs: null });
    expect(summary.cells[0]!.reason).toContain("LFM_DATA");
    const later = await run({ suite, folders: { data: "/somewhere", models: undefined } });
    expect(later.summary.cells[0]!.status).toBe("ok");
  });

  it("refuses an unknown engine", async () => {
    await expect(run({ engine: "abacus" })).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it("stops within a step and 200 ms, keeps what is done, goes on later", async () => {
    const suite = toySuite({ cells: 4 });
    suite.cells[1]!.config = { steps: 2000, stepMs: 20 };
    const control = new AbortController();
    let stoppedAt = 0;
    const onEvent = (e: RunEvent): void => {
      if (e.type !== "progress" || !e.name.endsWith("c1") || stoppedAt > 0) return;
      stoppedAt = performance.now();
      control.abort();
    };
    const { summary, interrupted } = await run({ suite, signal: control.signal, onEvent });
    expect(performance.now() - stoppedAt).toBeLessThan(200 + 20);
    expect(interrupted).toBe(true);
    expect(summary.cells.map((c) => c.status)).toEqual(["ok"]);
    expect(summary.pending).toHaveLength(3);
    suite.cells[1]!.config = { steps: 2, stepMs: 1 };
    expect((await run({ suite })).summary.cells.map((c) => c.status)).toEqual(["ok", "ok", "ok", "ok"]);
  });

  it("runs on several threads when asked", async () => {
    const { summary } = await run({ suite: toySuite({ cells: 6 }), jobs: 2 });
    expect(summary.cells.map((c) => c.status)).toEqual(Array(6).fill("ok"));
    expect(new Set(summary.cells.map((c) => c.metrics.made!.value)).size).toBeLessThanOrEqual(2);
  });

  it("survives kill -9: the next run completes the set", async () => {
    const script = fileURLToPath(new URL("../test/fixtures/run-toy.ts", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", "--conditions=@lfm/source", script, out], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let ended = 0;
    await new Promise<void>((resolve) => {
      child.stdout.on("data", (text: Buffer) => {
        ended += text.toString().split("cell-end").length - 1;
        if (ended >= 3) child.kill("SIGKILL");
      });
      child.once("exit", () => resolve());
    });
    const left = resultFiles().filter((f) => f.endsWith(".json"));
    expect(left.length).toBeGreaterThanOrEqual(3);
    expect(left.length).toBeLessThan(12);
    expect(readRun(out).summary.cells.length).toBeGreaterThanOrEqual(2);
    writeFileSync(join(out, "results", `half.json.${child.pid}.0123abcd.tmp`), '{"schema":');
    const kept: number[] = [];
    const { summary } = await run({
      suite: toySuite({ cells: 12, stepMs: 20 }),
      onEvent: (e) => e.type === "plan" && kept.push(e.kept),
    });
    expect(kept[0]).toBe(left.length);
    expect(summary.cells.map((c) => c.status)).toEqual(Array(12).fill("ok"));
    expect(resultFiles()).toHaveLength(12);
  });
});

describe("store", () => {
  it("is one run's alone, and no folder of anything else", async () => {
    await run({ limit: 1 });
    const { pid } = process;
    await expect(run({ onEvent: (e) => e.type === "plan" && openRun() })).resolves.toMatchObject({ interrupted: false });
    function openRun(): void {
      expect(() => takeRunFolder(out)).toThrow(`process ${pid} is writing ${out}`);
    }
    takeRunFolder(out)();
    const thesis = join(out, "thesis");
    mkdirSync(thesis);
    writeFileSync(join(thesis, "report.html"), "mine");
    await expect(run({ out: thesis })).rejects.toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("report.html") });
    await expect(run({ out: join(thesis, "report.html") })).rejects.toMatchObject({ code: "FILE_IO" });
    expect(readdirSync(thesis)).toEqual(["report.html"]);
  });

  it("names a broken file", async () => {
    await run({ limit: 1 });
    const [file] = resultFiles();
    writeFileSync(join(out, "results", file!), "{}");
    expect(() => openStore(out).read(file!.replace(".json", ""))).toThrow(file);
  });
});
