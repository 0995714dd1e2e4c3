import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { isLfmError } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { knownError } from "./known-error.js";

const folder = mkdtempSync(`${tmpdir()}/lfm-known-`);
afterAll(() => rmSync(folder, { recursive: true }));
const thrown = (path: string): unknown => {
  try {
    return readFileSync(path);
  } catch (error) {
    return error;
  }
};

describe("errors of the file system", () => {
  it("become typed ones that name the place", () => {
    const missing = knownError(thrown(`${folder}/none`));
    expect(isLfmError(missing, "FILE_IO") && missing.message).toBe(`lfm: ${folder}/none is not there`);
    expect(isLfmError(missing, "FILE_IO") && missing.details.errno).toBe("ENOENT");
  });

  it("stay as they are where they are of another kind", () => {
    const other = new TypeError("x");
    expect(knownError(other)).toBe(other);
    expect(knownError("x")).toBe("x");
  });
});
