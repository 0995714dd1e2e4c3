import { f32, i32, runMethod } from "@lfm/core";
import { initWeights, llama } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { expect, it } from "vitest";
import { context } from "../../test/linear-models.js";
import type { ProbedExamples } from "../inputs.js";
import { exposure } from "./exposure.js";

const config = {
  vocab_size: 8,
  hidden_size: 4,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  max_position_embeddings: 8,
};
const model = llama(config, initWeights(llama(config).info, { seed: 3 }));

/** Texts "1 a b": a and b are predicted. */
function secrets(pairs: readonly (readonly [number, number])[]): ProbedExamples {
  const batch = {
    tokens: i32(
      pairs.flatMap(([a, b]) => [1, a, b]),
      [pairs.length, 3],
    ),
    weights: f32(
      pairs.flatMap(() => [0, 1, 1]),
      [pairs.length, 3],
    ),
  };
  return languageModelTask("secrets", () => batch, 1);
}
const all = [2, 3, 4, 5, 6].flatMap((a) => [2, 3, 4, 5, 6].map((b) => [a, b] as const));

it("is log₂ of how far up a canary stands among all others of its form", async () => {
  const ranked = await losses();
  const order = all.toSorted((p, q) => ranked.get(`${p}`)! - ranked.get(`${q}`)!);
  for (const place of [0, 3, 24]) {
    const canary = order[place]!;
    const candidates = all.filter((p) => p !== canary);
    const { findings } = await runMethod(
      exposure,
      { victim: model, members: secrets([canary]), nonMembers: secrets(candidates) },
      {},
      context,
    );
    expect(findings.measured.maxExposure).toBeCloseTo(Math.log2(25 / (place + 1)), 10);
    expect(findings.risks.extracted).toMatchObject({ hits: place === 0 ? 1 : 0, of: 1 });
    expect(findings.cases).toEqual([
      { canary: 1, rank: place + 1, loss: ranked.get(`${canary}`), exposure: findings.measured.maxExposure },
    ]);
    expect([findings.measured.mostExposure, findings.queries]).toEqual([Math.log2(25), 25]);
  }
});

async function losses(): Promise<ReadonlyMap<string, number>> {
  const { findings } = await runMethod(exposure, { victim: model, members: secrets(all), nonMembers: secrets([[7, 7]]) }, {}, context);
  return new Map(all.map((p, i) => [`${p}`, -findings.scores!.members[i]!]));
}
