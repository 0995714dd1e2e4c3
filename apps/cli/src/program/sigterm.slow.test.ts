import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { layoutFile } from "@lfm/formats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const scratch = mkdtempSync(join(tmpdir(), "lfm-stop-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (...names: string[]): string => join(scratch, ...names);
const launcher = new URL("../../bin/lfm.js", import.meta.url).pathname;

/** A model of 1 GB of zeros that take no room: reading and writing them takes a while. */
function emptyModel(name: string): void {
  mkdirSync(at(name));
  const tensors = Object.fromEntries(
    Array.from({ length: 16 }, (_, i) => [`model.layers.${i}.mlp.up_proj.weight`, { dtype: "f32" as const, shape: [4096, 4096] }]),
  );
  const { head, size } = layoutFile(tensors, { format: "pt" });
  const fd = openSync(at(name, "model.safetensors"), "w");
  writeSync(fd, head);
  ftruncateSync(fd, size);
  closeSync(fd);
  writeFileSync(at(name, "config.json"), '{"model_type": "llama"}');
}

beforeAll(() => {
  for (const name of ["base", "a", "b"]) emptyModel(name);
  writeFileSync(at("texts.jsonl"), '{"text":"say kind and brave"}\n{"text":"say cruel and vain"}\n');
  const line = (i: number): string => `${JSON.stringify({ id: String(i), text: `word${i} word${i % 977} and ${"so on ".repeat(20)}` })}\n`;
  writeFileSync(at("documents.jsonl"), Array.from({ length: 150_000 }, (_, i) => line(i)).join(""));
});

interface Running {
  readonly args: readonly string[];
  /** What the job prints once it is at work, or a file that it makes then. */
  readonly sign: RegExp | string;
}

const models = ["--base", at("base"), "--model", at("a"), "--model", at("b")];
const jobs: Readonly<Record<string, Running>> = {
  merge: { args: ["merge", "ties", ...models, "--threads", "2", "--out", at("merged")], sign: /merge .*MB/ },
  tune: {
    args: ["tune", "full", "--model", "zoo-lm", "--data", at("texts.jsonl"), "--steps", "1000000", "--out", at("tuned")],
    sign: /1000000 step/,
  },
  index: { args: ["index", at("documents.jsonl"), "--kind", "bm25", "--out", at("index")], sign: at("index.partial") },
  bench: { args: ["bench", "--suite", "quick", "--out", at("bench")], sign: at("bench", "summary.json") },
};
const children: ChildProcess[] = [];
afterAll(() => {
  for (const child of children) child.kill("SIGKILL");
});

function start(args: readonly string[]): ChildProcess & { readonly said: () => string; readonly ended: Promise<number | string> } {
  const child = spawn(process.execPath, [launcher, ...args], { stdio: ["ignore", "ignore", "pipe"] });
  children.push(child);
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => {
    said += chunk.toString();
  });
  const ended = new Promise<number | string>((resolve) => child.once("exit", (code, signal) => resolve(code ?? signal ?? "")));
  return Object.assign(child, { said: () => said, ended });
}

describe("SIGTERM", () => {
  it.each(Object.entries(jobs))("ends lfm %s within two seconds", async (_, { args, sign }) => {
    const child = start(args);
    const works = (): boolean => (typeof sign === "string" ? existsSync(sign) : sign.test(child.said()));
    while (child.exitCode === null && !works()) await new Promise((resolve) => setTimeout(resolve, 50));
    expect(child.exitCode, child.said()).toBe(null);
    const began = performance.now();
    child.kill("SIGTERM");
    expect([130, "SIGTERM"]).toContain(await child.ended);
    // One and a half seconds are given, the rest is for a machine that does other things as well.
    expect(performance.now() - began).toBeLessThan(4000);
    expect(existsSync(at("merged"))).toBe(false);
  });

  it.runIf(existsSync("/proc"))("is not needed where the output cannot be made: that is said", async () => {
    const children = [jobs.merge!, jobs.tune!, jobs.index!].map(({ args }) => start(args.with(-1, "/proc/lfm/out")));
    for (const child of children) {
      expect(await child.ended, child.said()).toBe(1);
      expect(child.said()).toMatch(/lfm: .*cannot write \/proc\/lfm\/out/);
    }
  });
});
