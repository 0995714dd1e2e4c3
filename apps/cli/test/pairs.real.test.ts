import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { lfmJson } from "./run-lfm.js";

const [data, models] = [process.env.LFM_DATA ?? "", process.env.LFM_MODELS ?? ""];
const model = join(models, "all-MiniLM-L6-v2");
const folder = mkdtempSync(join(tmpdir(), "lfm-pairs-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** The first lines of a file of examples. */
function head(file: string, name: string, lines: number): string {
  const path = join(folder, name);
  writeFileSync(path, readFileSync(join(data, file), "utf8").split("\n").slice(0, lines).join("\n"));
  return path;
}

// Short runs: what they show is that files as they are published go all the way, not how good a model gets.
describe.skipIf(data === "" || models === "")("pairs of real sets (skipped without LFM_DATA and LFM_MODELS)", () => {
  const common = ["--model", model, "--max-length", "32"];
  const learn = async (kind: "classes" | "values", train: string, test: string, columns: readonly string[], steps: number) => {
    const out = join(folder, `${kind}-${steps}`);
    const how = kind === "values" ? ["--regression"] : [];
    await lfmJson("tune", "full", ...common, "--data", train, ...columns, ...how, "--steps", String(steps), "--lr", "1e-4", "--out", out);
    return (await lfmJson("eval", ...common, "--delta", out, "--data", test, ...columns)) as Readonly<Record<string, unknown>>;
  };

  it("RTE: both files of its training part, with and without a header", { timeout: 900_000 }, async () => {
    const numbered = ["--columns", "text=2,text2=3,label=4"];
    expect(await lfmJson("data", "show", join(data, "rte/train-2.tsv"), ...numbered)).toMatchObject({ examples: 363 });
    const test = head("rte/dev.tsv", "rte.tsv", 101);
    const { metrics, classes } = await learn("classes", join(data, "rte/train.tsv"), test, [], 4);
    expect((metrics as { accuracy: number }).accuracy).toBeGreaterThan(0.3);
    expect((classes as { label: string }[]).map((c) => c.label)).toEqual(["entailment", "not_entailment"]);
  });

  it("SICK: entailment by its own column names", { timeout: 900_000 }, async () => {
    const train = head("sick/SICK.txt", "sick.txt", 2001);
    const { metrics, classes } = await learn("classes", train, head("sick/SICK.txt", "sick-test.txt", 201), [], 40);
    expect((classes as unknown[]).length).toBe(3);
    expect((metrics as { accuracy: number }).accuracy).toBeGreaterThan(0.55);
  });

  it("STS-B: similarity learned as a value, told by ranks", { timeout: 900_000 }, async () => {
    const columns = ["--columns", "text=6,text2=7,label=5"];
    const test = head("stsb/sts-dev.csv", "sts.csv", 200);
    const { metrics } = await learn("values", join(data, "stsb/sts-train.csv"), test, columns, 61);
    expect(Object.keys(metrics as object)).toEqual(["mse", "pearson", "spearman"]);
    expect((metrics as { spearman: number }).spearman).toBeGreaterThan(0.1);
  });
});
