import { existsSync } from "node:fs";
import { join } from "node:path";
import { type Engine, i32, ortEngine, Rng } from "@lfm/core";
import { loadModel, withClassifier } from "@lfm/models";
import { expect, it } from "vitest";
import { answersOf, withParams } from "../../test/small-models.js";
import { activationMatching } from "./activation-matching.js";
import { permutationSpec } from "./infer-spec.js";
import { invertPermutations, permuteWeights } from "./permutation-spec.js";
import { randomPermutations } from "./random-permutations.js";
import { weightMatching } from "./weight-matching.js";

const folder = join(process.env.LFM_MODELS ?? "", "all-MiniLM-L6-v2");
const there = process.env.LFM_MODELS !== undefined && existsSync(join(folder, "config.json"));
const title = "a shuffled MiniLM computes the same and is put back: residual stream, six MLPs, six times twelve heads";

it.skipIf(!there)(there ? title : `${title} (skipped: LFM_MODELS names no folder with all-MiniLM-L6-v2)`, async () => {
  const engine: Engine = await ortEngine({ threads: 2 });
  const { model: encoder } = await loadModel(folder);
  const model = withClassifier(encoder, 5, 1, { pooling: "mean" });
  const spec = permutationSpec(model);
  expect(spec.groups.map((g) => (g.kind === "units" ? g.size : g.kvHeads))).toEqual([
    384,
    ...Array.from({ length: 6 }, () => [12, 1536]).flat(),
  ]);
  const shuffle = randomPermutations(spec, new Rng(1));
  const moved = withParams(model, permuteWeights(spec, shuffle, model.params));
  const rng = new Rng(2);
  const batch = {
    tokens: i32(
      Array.from({ length: 16 * 24 }, () => 1000 + rng.int(20_000)),
      [16, 24],
    ),
  };
  const [before, after] = [await answersOf(engine, model, batch), await answersOf(engine, moved, batch)];
  const largest = Math.max(...before.map((v, i) => Math.abs(v - after[i]!)));
  expect(largest).toBeLessThanOrEqual(1e-5);
  const began = performance.now();
  const { permutations, passes } = weightMatching(spec, model.params, moved.params, { rng: new Rng(3) });
  const matched = performance.now();
  expect(permutations).toEqual(invertPermutations(shuffle));
  const seen = await activationMatching(engine, spec, model, moved, [batch], { similarity: "correlation" });
  const units = spec.groups.filter((g) => g.kind === "units").map((g) => g.id);
  for (const id of units) expect(seen[id]).toEqual(invertPermutations(shuffle)[id]);
  // LFM_SHOW=1 prints the numbers.
  if (process.env.LFM_SHOW)
    process.stdout.write(
      `logits differ by ${largest}; weight matching ${passes} passes ${matched - began} ms, activations ${performance.now() - matched} ms\n`,
    );
});
