import { describe, expect, it } from "vitest";
import { isLfmError } from "../errors.js";
import { createEngine, type EngineName, listEngines } from "./catalog.js";
import { ortEngine } from "./ort.js";
import { mostThreads } from "./thread-count.js";

describe("engines by name", () => {
  it.each([
    ["ort", "ort"],
    ["tfjs", "tfjs"],
    ["reference", "reference"],
    ["auto", "ort"],
  ] as const)("%s opens %s", async (name, expected) => {
    const engine = await createEngine(name, { threads: 1 });
    expect(engine.name).toBe(expected);
    await engine.dispose();
  });

  it("refuses other names", async () => {
    const error = await createEngine("torch" as EngineName).catch((e: unknown) => e);
    expect(isLfmError(error, "CONFIG_INVALID")).toBe(true);
  });

  it("refuses numbers of threads that no machine takes, before any is started", async () => {
    for (const threads of [9999, 0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY])
      for (const name of ["ort", "tfjs", "auto", "reference"] as const) {
        const error = await createEngine(name, { threads }).catch((e: unknown) => e);
        expect(isLfmError(error, "CONFIG_INVALID") && error.hint, `${name} ${threads}`).toMatch(/--threads \d+ for/);
      }
    const error = await ortEngine({ threads: 9999 }).catch((e: unknown) => e);
    expect(isLfmError(error, "CONFIG_INVALID")).toBe(true);
    expect(mostThreads()).toBeGreaterThanOrEqual(64);
  });

  it("lists what is here with version and providers, and the install line of what is not", async () => {
    const list = await listEngines();
    expect(list.map((e) => e.name)).toEqual([
      "onnxruntime-node",
      "@tensorflow/tfjs-node-gpu",
      "@tensorflow/tfjs-node",
      "@tensorflow/tfjs",
      "reference",
    ]);
    const ort = list[0]!;
    expect(ort).toMatchObject({ installed: true, install: undefined, note: undefined });
    expect(ort.providers).toContain("cpu");
    expect(new Set(ort.providers).size).toBe(ort.providers.length);
    expect(ort.version).toMatch(/^\d+\.\d+/);
    for (const e of list) {
      expect(e.threads).toBeGreaterThan(0);
      expect(e.install === undefined, e.name).toBe(e.installed && e.note === undefined);
      if (e.install) expect(e.install).toContain(`npm i `);
    }
  });
});
