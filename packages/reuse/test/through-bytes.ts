import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AnyMethod, createRegistry, type Delta, type HostTensor, loadWeight, type Weights } from "@lfm/core";
import { loadDelta, readSafetensors, saveDelta, writeSafetensors } from "@lfm/formats";

/** A delta of a method as it comes back from its folder. */
export async function deltaThroughBytes(method: AnyMethod, delta: Delta): Promise<Delta> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-reuse-"));
  try {
    await saveDelta(folder, delta);
    return await loadDelta(folder, createRegistry([method]), delta.parent === null ? {} : { parentHash: delta.parent });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Weights as they come back from a safetensors file. */
export async function throughBytes(weights: Weights): Promise<Record<string, HostTensor>> {
  const folder = mkdtempSync(join(tmpdir(), "lfm-reuse-"));
  try {
    const path = join(folder, "model.safetensors");
    await writeSafetensors(path, weights);
    return Object.fromEntries(Object.entries(readSafetensors(path).tensors).map(([name, t]) => [name, loadWeight(t)]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}
