import { f32, type HostTensor, type Model, Rng } from "@lfm/core";
import { hashWeights } from "@lfm/formats";
import type { TrainedEditor } from "../src/index.js";
import { mendSites, mendStatistics, mendWeights } from "../src/learned/mend-network.js";

/** The editor before it has learned: with deviations of 1 its update is a step down the gradient, of size `rate`. */
export async function untrainedMend(model: Model, { blocks = 2, rate = 0.1 } = {}): Promise<TrainedEditor> {
  const sites = mendSites(model, blocks);
  const statistics = Object.entries(mendStatistics(sites)).map(([name, t]): readonly [string, HostTensor] => {
    const value = name.endsWith(".squares") ? 1 : name.endsWith(".count") ? 2 : 0;
    return [name, f32(new Float32Array(t.data.length).fill(value), t.shape)];
  });
  const tensors = { ...mendWeights(sites, { rank: 2, hidden: 1, rate }, new Rng(4)), ...Object.fromEntries(statistics) };
  return { method: "mend", config: { blocks }, parent: await hashWeights(model.params), tensors };
}
