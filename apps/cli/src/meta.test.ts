import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "@lfm/core";
import { expect, it } from "vitest";
import { lfmJson, runLfm } from "../test/run-lfm.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-meta-"));

/** Classes of points of the plane around centres of their own. */
function points(file: string, names: readonly string[], count: number): string {
  const path = join(folder, file);
  const rng = new Rng(names.length);
  const rows = names.flatMap((name, k) =>
    Array.from({ length: count }, () => `${Math.cos(k) * 3 + 0.1 * rng.normal()},${Math.sin(k) * 3 + 0.1 * rng.normal()},${name}`),
  );
  writeFileSync(path, `x,y,label\n${rows.join("\n")}\n`);
  return path;
}

it("classes of one's own: learned from, kept, and answered anew from a handful of examples", async () => {
  const data = points("train.csv", ["a", "b", "c", "d"], 8);
  const out = join(folder, "learner");
  const learned = await lfmJson("meta", "meta-sgd", "--data", data, "--ways", "2", "--steps", "2", "--eval-steps", "3", "--out", out);
  expect(learned).toMatchObject({ norm: "none", metrics: { accuracy: expect.any(Number) } });
  const support = points("support.csv", ["left", "right"], 2);
  const answered = await lfmJson("meta", "adapt", out, "--support", support, "--ask", support);
  expect(answered).toMatchObject({ method: "meta/meta-sgd", norm: "none", classes: ["left", "right"] });
  expect(await runLfm("meta", "adapt", out, "--support", data, "--ask", support)).toMatchObject({
    code: 2,
    err: expect.stringContaining("2 classes"),
  });
});
