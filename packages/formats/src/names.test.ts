import { describe, expect, it } from "vitest";
import { nameFlaw, pathFlaw } from "./names.js";

describe("names out of files", () => {
  it.each([
    ["", "empty"],
    [".", "leads out"],
    ["..", "leads out"],
    ["../x", "leads out"],
    ["a/b", "leads out"],
    ["/etc", "leads out"],
    ["..\\x", "leads out"],
    ["C:x", "one of"],
    ["a*", "one of"],
    ["a\0b", "control"],
    ["a\nb", "control"],
    ["a.", "dot or a space"],
    ["a ", "dot or a space"],
    ["NUL", "device"],
    ["com1.safetensors", "device"],
    ["é".repeat(101), "longer"],
  ])("%j is no name of one file", (name, flaw) => {
    expect(nameFlaw(name)).toContain(flaw);
  });

  it.each(["a", "model-00001-of-00002.safetensors", ".journal", "a..b", "console", "nul-1", "日本", "a b", "é".repeat(100)])(
    "%j is one",
    (name) => {
      expect(nameFlaw(name)).toBeUndefined();
    },
  );

  it("paths stay below their folder, part by part", () => {
    for (const path of ["a", "org/model", "1_Pooling", "refs/pr/3"]) expect(pathFlaw(path), path).toBeUndefined();
    for (const path of ["", "/a", "a/", "a//b", "a/../b", "a/..", "./a", "a\\b", "a/b:c", "a/nul"])
      expect(pathFlaw(path), path).toBeDefined();
  });
});
