import { ortEngine } from "@lfm/core";
import { createGenerator, loadModel } from "@lfm/models";
import { peerEngine } from "../engine.js";
import { inBytes } from "../quantized.js";
import type { Prepared } from "../serve.js";
import { tokenBatch } from "../weights.js";

export async function prepare(): Promise<Prepared> {
  const model = await inBytes(await ortEngine(), await loadModel(process.env.LFM_SMOLLM2 ?? ""), "decoding");
  const engine = await peerEngine();
  const generator = await createGenerator(engine, model);
  let step = 0;
  const repeat = async (): Promise<number> => {
    const { tokens } = await generator.generate([...(tokenBatch(step++, 1, 32, 49152).data as Int32Array)], { maxNewTokens: 64 });
    return tokens.length;
  };
  await repeat();
  return { repeat, engine };
}
