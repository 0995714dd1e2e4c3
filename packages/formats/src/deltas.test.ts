import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry, type Delta, defineMethod, f32, isLfmError } from "@lfm/core";
import { afterAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { loadDelta, saveDelta } from "./deltas.js";
import { writeSafetensors } from "./safetensors/write.js";

const scratch = mkdtempSync(join(tmpdir(), "lfm-delta-"));
afterAll(() => rmSync(scratch, { recursive: true }));

const scale = defineMethod({
  id: "scale",
  paradigm: "tuning",
  summary: "Multiplies nothing; a method of this test.",
  paper: { title: "None", year: 2024 },
  needs: [],
  inputs: {},
  config: z.strictObject({ strength: z.number().default(1) }),
  hooksFor: () => (tensors) => Object.keys(tensors).map(() => ({ matches: () => false })),
  run: async () => undefined,
});
const registry = createRegistry([scale]);
const delta: Delta = {
  kind: "weights",
  method: "tuning/scale",
  config: { strength: 3 },
  parent: "p".repeat(64),
  tensors: { "layer.a": f32([1, 2, 3, 4], [2, 2]), b: f32([5]) },
  hooks: () => [],
};

describe("deltas on disk", () => {
  it("come back as they were, with the hooks of their method", async () => {
    await saveDelta(scratch, delta);
    const { hooks, ...read } = await loadDelta(scratch, registry, { parentHash: "p".repeat(64) });
    const { hooks: _, ...saved } = delta;
    expect(read).toEqual(saved);
    expect(hooks({ a: undefined as never, b: undefined as never }).length).toBe(2);
  });

  it("refuse another parent, other files and options that their method no longer has", async () => {
    const code = (run: Promise<unknown>): Promise<unknown> =>
      run.then(
        () => "loaded",
        (e: unknown) => (isLfmError(e) ? e.code : e),
      );
    expect(await code(loadDelta(scratch, registry, { parentHash: "q".repeat(64) }))).toBe("PARENT_MISMATCH");
    expect(await code(loadDelta(join(scratch, "none"), registry))).toBe("FILE_IO");
    expect(await code(loadDelta(scratch, createRegistry([])))).toBe("CONFIG_INVALID");
    const file = join(scratch, "other.safetensors");
    await writeSafetensors(file, delta.tensors);
    expect(await code(loadDelta(file, registry))).toBe("FILE_FORMAT");
    const broken = { format: "lfm-delta", method: "tuning/scale", kind: "weights", config: "{" };
    await writeSafetensors(file, delta.tensors, { metadata: broken });
    expect(await code(loadDelta(file, registry))).toBe("FILE_FORMAT");
    await writeSafetensors(file, delta.tensors, { metadata: { ...broken, config: '{"power":1}' } });
    expect(await code(loadDelta(file, registry))).toBe("CONFIG_INVALID");
  });
});
