import { createHash } from "node:crypto";
import { loadWeight, type Weight } from "@lfm/core";

/** sha256 over names (sorted), dtypes, shapes and bytes: equal for equal weights wherever they lie. One tensor is in memory at a time. */
export async function hashWeights(weights: Readonly<Record<string, Weight>>): Promise<string> {
  const hash = createHash("sha256");
  for (const name of Object.keys(weights).sort()) {
    const t = loadWeight(weights[name]!);
    hash.update(`${JSON.stringify(name)} ${t.dtype} [${t.shape.join(",")}]\n`);
    hash.update(new Uint8Array(t.data.buffer, t.data.byteOffset, t.data.byteLength));
  }
  return hash.digest("hex");
}
