import { join } from "node:path";
import { createEncoder, loadModel } from "@lfm/models";
import { peerEngine } from "../engine.js";
import { sentences } from "../sentences.js";
import type { Prepared } from "../serve.js";

export async function prepare(): Promise<Prepared> {
  const { model, tokenizer } = await loadModel(join(process.env.LFM_MODELS ?? "", "all-MiniLM-L6-v2"));
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
