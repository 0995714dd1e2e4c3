import { createGenerator, modelFromConfig } from "@lfm/models";
import { peerEngine } from "../engine.js";
import type { Prepared } from "../serve.js";
import { throughFile } from "../through-file.js";
import { filledParams, tokenBatch } from "../weights.js";

export async function prepare(): Promise<Prepared> {
  const config = { model_type: "gpt2", vocab_size: 50257, n_positions: 1024, n_embd: 768, n_layer: 12, n_head: 12 };
  const engine = await peerEngine();
  const generator = await createGenerator(engine, await throughFile(modelFromConfig(config, filledParams(modelFromConfig(config).info))));
  let step = 0;
  const repeat = async (): Promise<number> => {
    const { tokens } = await generator.generate([...(tokenBatch(step++, 1, 32, 50257).data as Int32Array)], { maxNewTokens: 64 });
    return tokens.reduce((a, b) => a + b, 0);
  };
  await repeat();
  return { repeat, engine };
}
