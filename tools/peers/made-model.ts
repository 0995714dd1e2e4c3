import { execFileSync } from "node:child_process";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { modelFromConfig, saveModel } from "@lfm/models";
import { filledParams } from "./weights.js";

/** Sizes of a GPT-2-shaped model. */
export interface Gpt2Shape {
  readonly width: number;
  readonly layers: number;
  readonly heads: number;
  readonly vocabulary: number;
  readonly positions: number;
}

export function gpt2Config({ width, layers, heads, vocabulary, positions }: Gpt2Shape) {
  return {
    model_type: "gpt2",
    vocab_size: vocabulary,
    n_positions: positions,
    n_embd: width,
    n_layer: layers,
    n_head: heads,
  };
}

/**
 * A folder with the model that both sides read, as a user has it: frozen weights stay in their file where a side can leave them there.
 * Made by a process of its own, whose memory is none of a side's. The caller removes it.
 */
export function makeModel(shape: Gpt2Shape): string {
  const folder = mkdtempSync(join(tmpdir(), "lfm-peer-"));
  const options = ["--import", "tsx", "--conditions=@lfm/source", import.meta.filename, JSON.stringify(shape), folder];
  execFileSync(process.execPath, options, { cwd: join(import.meta.dirname, "../.."), stdio: ["ignore", "ignore", "inherit"] });
  return folder;
}

if (process.argv[1] === import.meta.filename) {
  const config = gpt2Config(JSON.parse(process.argv[2]!) as Gpt2Shape);
  await saveModel(process.argv[3]!, modelFromConfig(config, filledParams(modelFromConfig(config).info)));
}
