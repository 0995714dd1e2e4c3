import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HostTensor, loadWeight, type Weights } from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";

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
