import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "./run-lfm.js";

/** Made by tools/golden/perplexity.py. */
interface Golden {
  readonly text: string;
  readonly tolerance: number;
  readonly cases: readonly { readonly window: number; readonly stride: number; readonly perplexity: number }[];
}

const here = fileURLToPath(new URL(".", import.meta.url));
const golden = JSON.parse(readFileSync(join(here, "golden/perplexity.json"), "utf8")) as Golden;
const model = join(here, "../../../packages/models/test/golden/text");
const folder = mkdtempSync(join(tmpdir(), "lfm-perplexity-"));
afterAll(() => rmSync(folder, { recursive: true }));
const text = join(folder, "text.txt");
writeFileSync(text, golden.text);
const measure = ["eval", "--model", model, "--perplexity", "--data"];

describe("lfm eval --perplexity", () => {
  it.each(golden.cases)("is that of transformers' recipe: windows of $window, stride $stride", async ({ window, stride, perplexity }) => {
    const { metrics } = await lfmJson(...measure, text, "--window", String(window), "--stride", String(stride));
    expect((metrics as { perplexity: number }).perplexity / perplexity - 1).toBeLessThan(golden.tolerance);
    expect((metrics as { perplexity: number }).perplexity / perplexity - 1).toBeGreaterThan(-golden.tolerance);
  });

  it("reads texts of examples with an empty line between them, and only the first tokens where it is told", async () => {
    const rows = join(folder, "rows.jsonl");
    writeFileSync(rows, '{"text":"the cat sat"}\n{"text":"a dog ran"}\n');
    const joined = join(folder, "joined.txt");
    writeFileSync(joined, "the cat sat\n\na dog ran");
    expect((await lfmJson(...measure, rows)).metrics).toEqual((await lfmJson(...measure, joined)).metrics);
    expect(await lfmJson(...measure, text, "--max-tokens", "9")).toMatchObject({ tokens: 8, windows: 1, window: 64 });
  });

  it("refuses windows that the model cannot take or that leave tokens out, and texts with nothing to predict", async () => {
    const refused = async (...argv: string[]): Promise<string> => {
      const { code, err } = await runLfm(...measure, ...argv);
      expect(code).toBe(2);
      return err;
    };
    expect(await refused(text, "--window", "65")).toContain("reads 64 tokens at a time, not 65");
    expect(await refused(text, "--window", "8", "--stride", "9")).toContain("leave tokens out");
    expect(await refused(text, "--max-tokens", "1")).toContain("nothing to predict");
  });
});
