import { join } from "node:path";
import { ortEngine } from "@lfm/core";
import { createEncoder, loadModel } from "@lfm/models";
import { peerEngine } from "../engine.js";
import { inBytes } from "../quantized.js";
import { sentences } from "../sentences.js";
import type { Prepared } from "../serve.js";

/** @param base what the weights are held in */
export async function prepareEncoder(base: "f32" | "int8"): Promise<Prepared> {
  const loaded = await loadModel(join(process.env.LFM_MODELS ?? "", "all-MiniLM-L6-v2"));
  const { tokenizer } = loaded;
  const model = base === "f32" ? loaded.model : await inBytes(await ortEngine(), loaded, "batches");
  const engine = await peerEngine();
  const encoder = await createEncoder(engine, model, tokenizer!, {
    normalize: true,
  });
  const texts = sentences(64);
  const repeat = async (): Promise<number> => {
    const { data } = await encoder.encode(texts);
    return (data as Float32Array).reduce((sum, v) => sum + Math.abs(v), 0);
  };
  await repeat();
  return { repeat, engine };
}

export const prepare = (): Promise<Prepared> => prepareEncoder("f32");
