import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isLfmError } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { readSafetensors } from "../src/safetensors/read.js";

/** A file in base64, and what the safetensors library makes of it. */
interface Verdict {
  readonly file: string;
  readonly names?: readonly string[];
  readonly metadata?: Readonly<Record<string, string>> | null;
  readonly refused?: string;
}

const { cases } = JSON.parse(readFileSync(join(import.meta.dirname, "golden/safetensors-verdicts.json"), "utf8")) as {
  readonly cases: Readonly<Record<string, Verdict>>;
};

/** What the library reads and we refuse: names that stand twice, where it keeps the last without a word; a form that nobody writes; types that nothing here computes with. */
const STRICTER: Readonly<Record<string, string>> = {
  "metadata key twice": 'the key "a" twice',
  "tensor twice, one place": 'the key "a" twice',
  "tensor a list": 'tensor "a"',
  "dtype C64": 'tensor "a" has the dtype C64, which is not read here',
  "dtype F8_E8M0": "has the dtype F8_E8M0",
  "dtype F8_E4M3FNUZ": "has the dtype F8_E4M3FNUZ",
  "dtype F8_E5M2FNUZ": "has the dtype F8_E5M2FNUZ",
  "dtype F4": "has the dtype F4",
};

describe("files that are safetensors, or nearly", () => {
  const folder = mkdtempSync(join(tmpdir(), "lfm-verdicts-"));
  afterAll(() => rmSync(folder, { recursive: true }));

  it.each(Object.entries(cases))("%s: as the library says", (name, verdict) => {
    const path = join(folder, "x.safetensors");
    writeFileSync(path, Buffer.from(verdict.file, "base64"));
    const read = (): unknown => {
      const { tensors, metadata } = readSafetensors(path);
      return { names: Object.keys(tensors).sort(), metadata: Object.entries(metadata) };
    };
    const stricter = STRICTER[name];
    if (verdict.refused !== undefined || stricter !== undefined) {
      let error: unknown;
      try {
        read();
      } catch (thrown) {
        error = thrown;
      }
      expect(isLfmError(error, "FILE_FORMAT") && error.message).toContain(stricter ?? path);
    } else expect(read()).toEqual({ names: verdict.names, metadata: Object.entries(verdict.metadata ?? {}) });
  });

  it("every file that is refused here alone is one of them", () => {
    for (const name of Object.keys(STRICTER)) expect(cases[name]?.refused, name).toBeUndefined();
  });
});
