import { existsSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { makeFolder } from "./make-folder.js";

const scratch = mkdtempSync(join(tmpdir(), "lfm-make-folder-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const at = (...names: string[]): string => join(scratch, ...names);

describe("makeFolder", () => {
  it("makes what is missing, and is content with what is there", () => {
    makeFolder(at("a", "b", "c"));
    makeFolder(at("a", "b", "c"));
    expect(statSync(at("a", "b", "c")).isDirectory()).toBe(true);
    symlinkSync(at("a"), at("link"));
    makeFolder(at("link", "d"));
    expect(existsSync(at("a", "d"))).toBe(true);
  });

  it("fails where a file or a link into nothing stands in the way", () => {
    writeFileSync(at("file"), "");
    symlinkSync(at("nowhere"), at("dangling"));
    expect(() => makeFolder(at("file"))).toThrow(/EEXIST/);
    expect(() => makeFolder(at("file", "x"))).toThrow(/ENOTDIR/);
    expect(() => makeFolder(at("dangling"))).toThrow(/EEXIST/);
  });

  it.runIf(existsSync("/proc"))("comes back where no folder can be made", () => {
    expect(() => makeFolder("/proc/lfm/x")).toThrow(/ENOENT/);
  });
});
