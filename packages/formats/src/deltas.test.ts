import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry, type Delta, defineMethod, f32, isLfmError, makeDelta, placeholder } from "@lfm/core";
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
  delta: {
    hooks: (_c, tensors, members) => [...members.flat(), ...Object.keys(tensors).map(() => ({ matches: () => false }))],
    frozen: (name) => name === "b",
  },
  run: async () => undefined,
});
const registry = createRegistry([scale]);
const delta: Delta = makeDelta(scale, { strength: 3 }, { "layer.a": f32([1, 2, 3, 4], [2, 2]), b: f32([5]) }, { parent: "p".repeat(64) });

describe("deltas on disk", () => {
  it("come back as they were, with the hooks of their method", async () => {
    await saveDelta(scratch, delta);
    const read = await loadDelta(scratch, registry, { parentHash: "p".repeat(64) });
    expect({ ...read, hooks: 0, weightHooks: 0 }).toEqual({ ...delta, hooks: 0, weightHooks: 0 });
    expect(read.hooks({ a: placeholder("a", "f32", [1]), b: placeholder("b", "f32", [1]) }).length).toBe(2);
    expect([...read.frozen]).toEqual(["b"]);
  });

  it("come back with what they are composed of", async () => {
    const fused = makeDelta(scale, { strength: 1 }, { mix: f32([1, 2]) }, { members: [delta, delta] });
    expect(Object.keys(fused.tensors)).toEqual(["mix", "members.0.layer.a", "members.0.b", "members.1.layer.a", "members.1.b"]);
    expect([...fused.frozen]).toEqual(Object.keys(fused.tensors).slice(1).sort());
    await saveDelta(join(scratch, "fused"), fused);
    const read = await loadDelta(join(scratch, "fused"), registry);
    expect({ ...read, hooks: 0, weightHooks: 0 }).toEqual({ ...fused, hooks: 0, weightHooks: 0 });
    const traced = Object.fromEntries(Object.keys(read.tensors).map((name) => [name, placeholder(name, "f32", [1])]));
    // Two hooks of each member for its two tensors, and one for each of the five of the whole.
    expect(read.hooks(traced).length).toBe(2 + 2 + 5);
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
    const broken = { format: "lfm-delta", method: "tuning/scale", config: "{" };
    await writeSafetensors(file, delta.tensors, { metadata: broken });
    expect(await code(loadDelta(file, registry))).toBe("FILE_FORMAT");
    await writeSafetensors(file, delta.tensors, { metadata: { ...broken, config: "[1]" } });
    expect(await code(loadDelta(file, registry))).toBe("FILE_FORMAT");
    await writeSafetensors(file, delta.tensors, { metadata: { ...broken, config: '{"power":1}' } });
    expect(await code(loadDelta(file, registry))).toBe("CONFIG_INVALID");
    await writeSafetensors(file, delta.tensors, { metadata: { ...broken, config: "{}", members: '[{"method":1}]' } });
    expect(await code(loadDelta(file, registry))).toBe("FILE_FORMAT");
  });
});
