import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { afterAll, expect, it } from "vitest";
import { replaceFolder, requireFree } from "./output-place.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-output-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (...names: string[]): string => join(folder, ...names);
const complaint = (out: string, overwrite: boolean, inputs: readonly string[] = []): string => {
  try {
    requireFree(out, { overwrite, inputs });
    return "";
  } catch (error) {
    return isLfmError(error, "CONFIG_INVALID") ? error.message : String(error);
  }
};

it("takes what is not there and what is empty, replaces results, and loses nothing else", () => {
  for (const name of ["empty", "model", "thesis"]) mkdirSync(at(name));
  writeFileSync(at("model", "model.safetensors"), "");
  writeFileSync(at("thesis", "thesis.tex"), "");
  writeFileSync(at("file"), "");
  symlinkSync(at("model"), at("link"));
  for (const overwrite of [true, false]) for (const name of ["new", "empty"]) expect(complaint(at(name), overwrite)).toBe("");
  for (const name of ["model", "thesis", "file"]) expect(complaint(at(name), false)).toContain("is there already");
  expect(complaint(at("model"), true, [at("modelling"), "org/name"])).toBe("");
  for (const name of ["thesis", "file"]) expect(complaint(at(name), true)).toContain("holds no model");
  for (const out of [at("model"), at("link"), folder])
    for (const input of [at("model"), at("model", "model.safetensors"), at("link")])
      expect(complaint(out, true, [input])).toContain("is read from there");
});

it("puts a folder in the place of another, makes the way to it, and leaves nothing beside it", () => {
  const make = (name: string, text: string): string => {
    mkdirSync(at(name));
    writeFileSync(at(name, "config.json"), text);
    return at(name);
  };
  replaceFolder(make("one", "1"), at("results", "deep", "model"));
  expect(readFileSync(at("results", "deep", "model", "config.json"), "utf8")).toBe("1");
  // What a replacement that was cut off left does not stand in the way.
  mkdirSync(at("results", "deep", "model.replaced", "rest"), { recursive: true });
  replaceFolder(make("two", "2"), at("results", "deep", "model"));
  expect(readFileSync(at("results", "deep", "model", "config.json"), "utf8")).toBe("2");
  expect(readdirSync(at("results", "deep"))).toEqual(["model"]);
  expect(existsSync(at("two"))).toBe(false);
});
