import { spawnSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { runLfm } from "../test/run-lfm.js";

describe("lfm", () => {
  it("names every command in its help", async () => {
    const { code, out } = await runLfm("--help");
    expect(code).toBe(0);
    for (const command of [
      "tune",
      "distill",
      "merge",
      "stats",
      "task-vector",
      "meta",
      "edit",
      "index",
      "search",
      "ask",
      "generate",
      "serve",
      "eval",
      "convert",
      "export",
      "bench",
      "report",
      "data",
      "doctor",
      "methods",
    ])
      expect(out).toContain(`  ${command} `);
    expect(out).toContain("Exit codes: 0 done, 1 failed, 2 ");
  });

  it("corrects commands, flags, methods and options, with exit code 2", async () => {
    expect(await runLfm("tunee")).toMatchObject({ code: 2, err: expect.stringContaining("Did you mean tune?") });
    expect(await runLfm("tune", "lora", "--dta", "x")).toMatchObject({ code: 2, err: expect.stringContaining("--data") });
    expect(await runLfm("tune", "loar")).toMatchObject({ code: 2, err: expect.stringContaining("lora") });
    expect(await runLfm("tune", "lora")).toMatchObject({ code: 2, err: expect.stringContaining("--model and --data are not given") });
    expect(await runLfm("methods", "show", "romee")).toMatchObject({ code: 2, err: expect.stringContaining('did you mean "rome"') });
    expect(await runLfm("methods", "ls", "--paradigm", "tunning")).toMatchObject({
      code: 2,
      err: expect.stringContaining('did you mean "tuning"'),
    });
    expect(await runLfm("bench", "--suite", "quik")).toMatchObject({ code: 2, err: expect.stringContaining('did you mean "quick"') });
    expect(await runLfm("merge", "tiess", "--model", "x")).toMatchObject({ code: 2, err: expect.stringContaining('did you mean "ties"') });
    expect(await runLfm("generate", "--model", "zoo-lm", "--prompt", "x", "--top-k", "0")).toMatchObject({ code: 2 });
  });

  it("lists methods as a table and as JSON; shows one with its flags", async () => {
    const list = JSON.parse((await runLfm("methods", "ls", "--json")).out) as { methods: { id: string; paradigm: string }[] };
    for (const id of [
      "lora",
      "full",
      "bottleneck",
      "prompt",
      "logit-kd",
      "dafl",
      "average",
      "task-arithmetic",
      "ties",
      "ensemble",
      "maml",
      "protonet",
      "ft-l",
      "rome",
      "bm25",
      "flat",
      "rag",
    ]) {
      expect(list.methods.map((m) => m.id)).toContain(id);
    }
    const shown = await runLfm("methods", "show", "lora");
    expect(shown.out).toContain("--lora-alpha");
    expect(shown.out).toContain("https://arxiv.org/abs/2106.09685");
  });

  it("says errors as JSON too", async () => {
    const { code, out } = await runLfm("methods", "show", "nothing", "--json");
    expect(code).toBe(2);
    expect(JSON.parse(out).error.code).toBe("CONFIG_INVALID");
  });

  it("says what is there to compute with", async () => {
    const { out } = await runLfm("doctor", "--json");
    const { engines } = JSON.parse(out) as { engines: { name: string; installed: boolean }[] };
    expect(engines.find((e) => e.name === "onnxruntime-node")?.installed).toBe(true);
    expect(engines.find((e) => e.name === "reference")?.installed).toBe(true);
  });

  it("starts from the sources in an empty folder", () => {
    const launcher = new URL("../bin/lfm.js", import.meta.url).pathname;
    const started = spawnSync(process.execPath, [launcher, "--version"], {
      cwd: mkdtempSync(join(tmpdir(), "lfm-cli-")),
      encoding: "utf8",
    });
    expect(started).toMatchObject({ status: 0, stdout: "0.1.0\n" });
  });
});
