import { createGenerator, loadModel } from "@lfm/models";
import { peerEngine } from "../engine.js";
import type { Prepared } from "../serve.js";
import { tokenBatch } from "../weights.js";

export async function prepare(): Promise<Prepared> {
  const engine = await peerEngine();
  const generator = await createGenerator(engine, (await loadModel(process.env.LFM_PEER_MODEL ?? "")).model);
  let step = 0;
  const repeat = async (): Promise<number> => {
    const { tokens } = await generator.generate([...(tokenBatch(step++, 1, 32, 50257).data as Int32Array)], { maxNewTokens: 64 });
    return tokens.reduce((a, b) => a + b, 0);
  };
  await repeat();
  return { repeat, engine };
}
