import { spawn, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { contentOf, simulate } from "@lfm/core/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type OutputPlace, openResultPlace, requireFree } from "./output-place.js";
import { writeTextFile } from "./whole-file.js";

// Disks take long to say that they have something; memory does not.
const scratch = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
let folder: string;
beforeEach(() => {
  folder = realpathSync(mkdtempSync(join(scratch, "lfm-output-")));
});
afterEach(() => rmSync(folder, { recursive: true }));
const at = (...names: string[]): string => join(folder, ...names);
const files = (name: string, ...names: string[]): void => {
  mkdirSync(at(name), { recursive: true });
  for (const file of names) {
    mkdirSync(at(name, file, ".."), { recursive: true });
    writeFileSync(at(name, file), file);
  }
};
const place = (overwrite = false, inputs: readonly string[] = []): OutputPlace => ({ overwrite, inputs });
/** Code and message of what is said against it; "" where nothing is. */
const complaint = (work: () => unknown): string => {
  try {
    work();
    return "";
  } catch (error) {
    return isLfmError(error) ? `${error.code} ${error.message}` : `untyped: ${String(error)}`;
  }
};
const refusal = (out: string, overwrite: boolean, inputs: readonly string[] = []): string =>
  complaint(() => requireFree(out, place(overwrite, inputs)));
/** Writes a result of two files and a folder. */
const write = (out: string, text: string, overwrite: boolean): void => {
  const { result, publish, close } = openResultPlace(out, place(overwrite));
  try {
    writeTextFile(join(result, "report.json"), text);
    writeTextFile(join(result, "checkpoint-1", "config.json"), text);
    publish();
  } finally {
    close();
  }
};

describe("a place for a result", () => {
  it("is what is not there and what is empty; results are replaced, and nothing else is", () => {
    files("empty");
    files("model", "model.safetensors", "config.json");
    files("thesis", "thesis.tex");
    writeFileSync(at("file"), "");
    symlinkSync(at("model"), at("link"));
    symlinkSync(at("nothing"), at("dangling"));
    for (const overwrite of [true, false]) for (const name of ["new", "empty"]) expect(refusal(at(name), overwrite)).toBe("");
    for (const name of ["model", "thesis", "file", "link"]) expect(refusal(at(name), false)).toMatch(/^CONFIG_INVALID .*is there already/);
    expect(refusal(at("model"), true, [at("modelling"), "org/name"])).toBe("");
    for (const name of ["thesis", "file"]) expect(refusal(at(name), true)).toContain("holds no model");
    expect(refusal(at("dangling"), true)).toContain("link to nothing");
    for (const out of [at("model"), at("link"), folder])
      for (const input of [at("model"), at("model", "model.safetensors"), at("link")])
        expect(refusal(out, true, [input])).toContain("is read from there");
  });

  it.each([
    ["data beside a model", ["model.safetensors", "config.json", "train.jsonl"], "train.jsonl"],
    ["other models", ["model.safetensors", "a/model.safetensors"], "a/"],
    ["models of one file each", ["a.safetensors", "b.safetensors"], "no model"],
    ["a configuration of merges", ["merge.yml", "model.safetensors"], "merge.yml"],
    ["a config that somebody wrote", ["config.json"], "no model"],
    ["notes in a trainer's checkpoint", ["adapter_model.safetensors", "checkpoint-5/notes.md"], "checkpoint-5/notes.md"],
    ["a hidden folder", ["model.safetensors", ".git/config"], ".git/"],
  ])("is no folder with %s", (_, names, named) => {
    files("out", ...names);
    expect(refusal(at("out"), true)).toMatch(/^CONFIG_INVALID .*is not replaced/);
    expect(refusal(at("out"), true)).toContain(named);
    expect(Object.keys(contentOf(at("out")))).toHaveLength(names.length);
  });

  it.each([
    ["of a merge", ["model-00001-of-00002.safetensors", "model.safetensors.index.json", "config.json", "mergekit_config.yml", "README.md"]],
    ["of PEFT and its trainer", ["adapter_config.json", "adapter_model.safetensors", "training_args.bin", "checkpoint-20/optimizer.pt"]],
    ["of sentence-transformers", ["model.safetensors", "modules.json", "1_Pooling/config.json", "2_Normalize/config.json"]],
    ["of tuning", ["delta.safetensors", "report.json", "labels.json", "adapter_config.json", "adapter_model.safetensors"]],
    ["of a search", ["run.trec", "report.json"]],
    ["that is an index", ["index.json", "index.safetensors", "passages.jsonl"]],
  ])("may be a result %s", (_, names) => {
    files("out", ...names);
    expect(refusal(at("out"), true)).toBe("");
  });

  it("is refused before any work where it cannot be written, and nothing is left", () => {
    writeFileSync(at("file"), "");
    files("taken");
    writeFileSync(at("taken.partial"), "");
    files("other.partial", "notes.txt");
    const open = (out: string): string => complaint(() => openResultPlace(out, place()));
    expect(open(at("file", "out"))).toMatch(/^FILE_IO .*ENOTDIR/);
    expect(open(at("x".repeat(250)))).toMatch(/^FILE_IO .*ENAMETOOLONG/);
    expect(open(at("taken"))).toMatch(/^CONFIG_INVALID .*in the way/);
    expect(open(at("other"))).toMatch(/^CONFIG_INVALID .*notes\.txt/);
    if (existsSync("/proc/self")) expect(open("/proc/x")).toMatch(/^FILE_IO .*cannot write/);
    if (existsSync("/dev/shm")) expect(open("/dev/shm")).toMatch(/^(CONFIG_INVALID|FILE_IO)/);
    expect(readdirSync(folder).sort()).toEqual(["file", "other.partial", "taken", "taken.partial"]);
    expect(contentOf(at("other.partial"))).toEqual({ "notes.txt": "notes.txt" });
  });

  it("makes the folders on the way, and takes them away where nothing came of it", () => {
    openResultPlace(at("deep", "er", "out"), place()).close();
    expect(readdirSync(folder)).toEqual([]);
    write(at("deep", "er", "out"), "1", false);
    expect(readdirSync(at("deep", "er"))).toEqual(["out"]);
  });

  it("follows a link to the result that it replaces", () => {
    write(at("real"), "1", false);
    symlinkSync(at("real"), at("link"));
    write(at("link"), "2", true);
    expect(readFileSync(at("real", "report.json"), "utf8")).toBe("2");
    expect(readdirSync(folder).sort()).toEqual(["link", "real"]);
  });

  it("keeps a result whose place was taken while it was made under another name", () => {
    const { result, publish, close } = openResultPlace(at("out"), place());
    writeTextFile(join(result, "report.json"), "mine");
    files("out", "thesis.tex");
    expect(complaint(publish)).toMatch(/^FILE_IO .*is in .*out\.1: .*is there already/);
    close();
    expect(contentOf(folder)).toEqual({ "out/thesis.tex": "thesis.tex", "out.1/report.json": "mine" });
  });

  it("of one file replaces a file of its kind only", () => {
    const one = (overwrite: boolean): OutputPlace & { isResult(file: string): boolean } => ({
      ...place(overwrite),
      isResult: (file) => readFileSync(file, "utf8").startsWith("result"),
    });
    const save = (text: string, overwrite: boolean): void => {
      const { result, publish, close } = openResultPlace(at("file"), one(overwrite));
      writeTextFile(result, text);
      publish();
      close();
    };
    save("result 1", false);
    expect(complaint(() => save("result 2", false))).toContain("is there already");
    save("result 2", true);
    expect(contentOf(folder)).toEqual({ file: "result 2" });
    writeFileSync(at("file"), "thesis");
    expect(complaint(() => save("result 3", true))).toContain("holds no such result");
    files("folder");
    expect(complaint(() => openResultPlace(at("folder"), one(true)))).toContain("is a folder");
    expect(contentOf(folder)).toEqual({ file: "thesis" });
  });
});

describe("two writers of one result", () => {
  it("are kept apart: in one process, in two, and where the first has died", () => {
    const { close } = openResultPlace(at("out"), place());
    const second = complaint(() => openResultPlace(at("out"), place()));
    expect(second).toMatch(new RegExp(`^FILE_IO .*process ${process.pid} is writing .*out`));
    const lock = at("out.partial", ".lock");
    const held = readFileSync(lock, "utf8");
    close();
    expect(readdirSync(folder)).toEqual([]);
    files("out.partial");
    const { pid } = spawnSync(process.execPath, ["--version"]);
    for (const stale of [held.replace(`${process.pid}`, `${pid}`), held.replace(/"began":"\d+"/, '"began":"1"'), ""]) {
      writeFileSync(lock, stale);
      openResultPlace(at("out"), place()).close();
      expect(readdirSync(folder)).toEqual([]);
      files("out.partial");
    }
    writeFileSync(lock, held.replace(/"host":"[^"]*"/, '"host":"elsewhere"'));
    expect(complaint(() => openResultPlace(at("out"), place()))).toContain("of elsewhere");
  });
});

describe("what was killed", () => {
  it.each([
    ["a first result", false],
    ["a replacement", true],
  ])(
    "%s, before or inside of any operation: the whole result of before or the new one, and the next run leaves nothing else",
    async (_, replaces) => {
      const out = at("out");
      const prepare = (): void => {
        for (const name of readdirSync(folder)) rmSync(at(name), { recursive: true });
        files("other", "kept.txt");
        if (replaces) write(out, "old", false);
      };
      prepare();
      const [before] = [contentOf(out)];
      const { operations, crashes } = await simulate(out, undefined, () => write(out, "new", replaces));
      const after = contentOf(out);
      expect(Object.values(after)).toEqual(["new", "new"]);
      expect(crashes.length).toBeGreaterThan(20);
      for (const crash of crashes) {
        prepare();
        const told = `${operations[crash.at - 1]} ${crash.half ? "(half)" : ""}`;
        expect((await simulate(out, crash, () => write(out, "new", replaces))).crashed, told).toBe(true);
        // A run that is refused puts things in order too.
        complaint(() => openResultPlace(out, place()).close());
        const found = contentOf(out);
        expect([before, after], told).toContainEqual(found);
        if (existsSync(out))
          expect(
            readdirSync(folder).filter((n) => n.endsWith(".tmp")),
            told,
          ).toEqual([]);
        if (!existsSync(out) || replaces) write(out, "new", replaces);
        expect(contentOf(folder), told).toEqual({
          "other/kept.txt": "kept.txt",
          ...Object.fromEntries(Object.entries(after).map(([k, v]) => [`out/${k}`, v])),
        });
      }
    },
  );

  it("crashes while it is put in order are put in order as well", async () => {
    const out = at("out");
    write(out, "old", false);
    const { operations } = await simulate(out, undefined, () => write(out, "new", true));
    const moved = operations.findIndex((o) => o.startsWith("rename") && o.endsWith("/replaced")) + 2;
    const prepare = async (): Promise<void> => {
      for (const name of readdirSync(folder)) rmSync(at(name), { recursive: true });
      write(out, "old", false);
      await simulate(out, { at: moved, half: false }, () => write(out, "new", true));
      expect(existsSync(out)).toBe(false);
    };
    const order = (): string => complaint(() => openResultPlace(out, place()));
    await prepare();
    const recovery = await simulate(out, undefined, order);
    expect(recovery.operations.length).toBeGreaterThan(5);
    for (const crash of recovery.crashes) {
      await prepare();
      await simulate(out, crash, order);
      expect(order()).toContain("is there already");
      expect(contentOf(folder)).toEqual({ "out/report.json": "new", "out/checkpoint-1/config.json": "new" });
    }
  });
});

it("a file under its name is whole while it is written over and over", async () => {
  const path = at("file.json");
  const text = JSON.stringify({ filler: "x".repeat(200_000) });
  writeTextFile(path, text);
  const reader = spawn(process.execPath, [
    "-e",
    `const fs=require("fs");const t=Date.now();while(Date.now()-t<600)JSON.parse(fs.readFileSync(${JSON.stringify(path)},"utf8"))`,
  ]);
  const code = new Promise<number | null>((resolve) => reader.once("exit", resolve));
  while (reader.exitCode === null) {
    for (let i = 0; i < 20; i++) writeTextFile(path, text);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  expect(await code).toBe(0);
  expect(readdirSync(folder)).toEqual(["file.json"]);
});

it("what a killed writer of a file left goes when the file is written again, and nothing else does", () => {
  const old = new Date(0);
  const left = [
    `a.json.${2 ** 22 + 1}.0123abcd.tmp`,
    `a.json.${process.pid}.0123abcd.tmp`,
    `b.json.${2 ** 22 + 1}.0123abcd.tmp`,
    "a.json.tmp",
  ];
  files("x", ...left);
  for (const name of left) utimesSync(at("x", name), old, old);
  writeTextFile(at("x", "a.json"), "{}");
  expect(readdirSync(at("x")).sort()).toEqual(["a.json", ...left.slice(1)].sort());
});
