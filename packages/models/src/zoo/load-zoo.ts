import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type HostTensor, LfmError, loadWeight, type Model, widenToF32 } from "@lfm/core";
import { createWorld, type World } from "@lfm/data";
import { hashWeights, readSafetensors } from "@lfm/formats";
import { type LlamaConfig, llama } from "../architectures/llama.js";

/** How the zoo was made, as `npm run zoo` wrote it. */
export interface ZooRecipe {
  readonly seed: number;
  readonly world: { readonly seed: number };
  readonly parameters: number;
  /** sha256 over names, dtypes, shapes and bytes of the weights. */
  readonly sha256: string;
  /** Measured on the weights as they are stored; shares in 0..1. */
  readonly evaluation: {
    readonly trained: number;
    readonly heldOut: number;
    readonly reading: number;
    readonly readingConsequences: number;
    readonly consequences: number;
    readonly untaughtConsequences: number;
    readonly unseen: number;
    readonly unseenWithPassage: number;
  };
}

/** The embedded default: the generated world and a small language model trained on it. */
export interface Zoo {
  readonly world: World;
  /** 3.6 M parameters (2,048 hidden units a block), llama architecture, one token a word; weights widened to f32. */
  readonly lm: Model;
  /** The parent that deltas on it record. */
  readonly lmHash: string;
  readonly recipe: ZooRecipe;
}

/** The folder of the zoo's weights, in a checkout and in an installed package: beside `src/` or `dist/`. */
export function zooFolder(): string {
  let folder = new URL("./", import.meta.url);
  for (let up = 0; up < 4; up++) {
    const candidate = fileURLToPath(new URL("zoo/lm.config.json", folder));
    if (existsSync(candidate)) return fileURLToPath(new URL("zoo/", folder));
    folder = new URL("../", folder);
  }
  throw new LfmError("FILE_IO", "[@lfm/models] the weights of the zoo are not there", {
    hint: "npm run zoo makes them (in a checkout), or reinstall @lfm/models",
  });
}

/** Loads the zoo. @throws {LfmError} FILE_IO, FILE_FORMAT when the weights are not those of the recipe */
export async function loadZoo(): Promise<Zoo> {
  const folder = zooFolder();
  const recipe = JSON.parse(readFileSync(join(folder, "lm.recipe.json"), "utf8")) as ZooRecipe;
  const config = JSON.parse(readFileSync(join(folder, "lm.config.json"), "utf8")) as LlamaConfig;
  const { tensors } = readSafetensors(join(folder, "lm.safetensors"));
  const lmHash = await hashWeights(tensors);
  if (lmHash !== recipe.sha256)
    throw new LfmError("FILE_FORMAT", `[@lfm/models] the zoo's weights have the hash ${lmHash}, its recipe says ${recipe.sha256}`);
  const weights: Record<string, HostTensor> = Object.fromEntries(
    Object.entries(tensors).map(([name, t]) => [name, widenToF32(loadWeight(t))]),
  );
  return { world: createWorld({ seed: recipe.world.seed }), lm: llama(config, weights), lmHash, recipe };
}
