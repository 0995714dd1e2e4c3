import { type Engine, f32, type MethodContext, needs, ortEngine, Rng, runMethod, type Weights } from "@lfm/core";
import { convnet, mlp } from "@lfm/models";
import { measureNorms } from "@lfm/statistics";
import { beforeAll, expect, it } from "vitest";
import { type GlyphNets, glyphNets } from "../../test/glyph-nets.js";
import { otFusion } from "../methods/ot-fusion.js";
import { type ReBasinOutput, reBasin } from "../methods/re-basin.js";
import { zipit } from "../methods/zipit.js";
import { interpolate, interpolationCurve, lossBarrier } from "./interpolation.js";

// Recipes were chosen on pairs of the seeds 1 to 4; the pairs here are others.
const PAIRS = [11, 13, 15, 17, 19];

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
});

/** LFM_SHOW=1 prints the numbers. */
function show(line: string): void {
  if (process.env.LFM_SHOW) process.stdout.write(`${line}\n`);
}

async function barriers(nets: GlyphNets, a: Weights, b: Weights, set: "train" | "test"): Promise<{ middle: number; highest: number }> {
  const curve = await interpolationCurve(a, b, async (w) => (await nets.score(w, set)).loss, { points: 11 });
  return { middle: curve[5]!.loss - (curve[0]!.loss + curve[10]!.loss) / 2, highest: lossBarrier(curve).height };
}

it("Re-Basin takes at least 90 % of the loss barrier between networks that were trained apart: 5 pairs, training and test loss", async () => {
  const nets = await glyphNets(engine, mlp({ input_size: 256, hidden_sizes: [256, 256], output_size: 10 }), {
    perClass: 500,
    steps: 800,
    lr: 0.1,
  });
  const data = [{ features: nets.sets.train.x }];
  const cuts: number[] = [];
  for (const seed of PAIRS) {
    const models = { a: await nets.train(seed), b: await nets.train(seed + 1) };
    const align = (match: "weights" | "activations"): Promise<ReBasinOutput> => runMethod(reBasin, { models, data }, { match }, context);
    const matched = { weights: await align("weights"), activations: await align("activations") };
    for (const set of ["train", "test"] as const) {
      const apart = await barriers(nets, models.a.params, models.b.params, set);
      expect(apart.middle).toBeGreaterThan(0.3);
      for (const [how, { aligned }] of Object.entries(matched)) {
        const left = await barriers(nets, aligned.a!, aligned.b!, set);
        cuts.push(100 * (1 - left.middle / apart.middle));
        const line = `mlp ${seed}+${seed + 1} ${set} ${how}: ${apart.middle.toFixed(4)} → ${left.middle.toFixed(4)} (−${cuts.at(-1)!.toFixed(1)} %), highest ${apart.highest.toFixed(4)} → ${left.highest.toFixed(4)}`;
        show(line);
        expect(cuts.at(-1), line).toBeGreaterThanOrEqual(90);
      }
    }
  }
  expect(cuts).toHaveLength(20);
});

it("OT fusion and ZipIt merge them too: far above the plain average, near the networks themselves", async () => {
  const nets = await glyphNets(engine, mlp({ input_size: 256, hidden_sizes: [256, 256], output_size: 10 }), {
    perClass: 500,
    steps: 800,
    lr: 0.1,
  });
  const models = { a: await nets.train(11), b: await nets.train(12) };
  const narrow = await glyphNets(engine, mlp({ input_size: 256, hidden_sizes: [192, 128], output_size: 10 }), {
    perClass: 500,
    steps: 800,
    lr: 0.1,
  });
  const data = [{ features: nets.sets.train.x }];
  const of = async (params: Weights): Promise<number> => (await nets.score(params, "test")).accuracy;
  const alone = Math.min(await of(models.a.params), await of(models.b.params));
  const average = await of(interpolate(models.a.params, models.b.params, 0.5));
  const unequal = { a: models.a, c: await narrow.train(13) };
  const merged = {
    "ot-fusion": await of((await runMethod(otFusion, { models }, {}, context)).delta.tensors),
    "ot-fusion on activations": await of((await runMethod(otFusion, { models, data }, { match: "activations" }, context)).delta.tensors),
    "ot-fusion of 256-256 and 192-128": await of(
      (await runMethod(otFusion, { models: unequal, data }, { match: "activations" }, context)).delta.tensors,
    ),
    zipit: await of((await runMethod(zipit, { models, data }, {}, context)).delta!.tensors),
    "zipit across": await of((await runMethod(zipit, { models, data }, { beta: 0 }, context)).delta!.tensors),
  };
  show(`mlp alone ${alone}, average ${average}, ${JSON.stringify(merged)}`);
  expect(average).toBeLessThan(alone - 0.05);
  for (const [how, accuracy] of Object.entries(merged)) expect(accuracy, how).toBeGreaterThan(alone - 0.05);
});

it("convnets: Re-Basin with norms measured anew takes 90 % of the barrier at ½, by weights and by activations; OT fusion and ZipIt stay near", async () => {
  const plain = convnet({ image_size: 16, widths: [32, 48], classes: 10 });
  const nets = await glyphNets(engine, plain, { perClass: 200, steps: 300, lr: 0.05 });
  const models = { a: await nets.train(21), b: await nets.train(22) };
  const pixels = nets.sets.train.x;
  const data = [0, 1, 2, 3].map((k) => ({
    pixels: f32((pixels.data as Float32Array).slice(k * 64_000, (k + 1) * 64_000), [250, 1, 16, 16]),
  }));
  const of = (params: Weights): ReturnType<GlyphNets["score"]> => nets.score(params, "test");
  const ends = [await of(models.a.params), await of(models.b.params)];
  const floor = (ends[0]!.loss + ends[1]!.loss) / 2;
  const apart = interpolate(models.a.params, models.b.params, 0.5);
  const barrier = (await of(apart)).loss - floor;
  const normsOnly = (await of({ ...apart, ...(await measureNorms(engine, { ...plain, params: apart }, data)) })).loss - floor;
  expect(barrier).toBeGreaterThan(0.3);
  const merged = {
    "re-basin weights": await of((await runMethod(reBasin, { models, data }, {}, context)).delta.tensors),
    "re-basin activations": await of((await runMethod(reBasin, { models, data }, { match: "activations" }, context)).delta.tensors),
    "ot-fusion": await of((await runMethod(otFusion, { models, data }, { match: "activations" }, context)).delta.tensors),
    zipit: await of((await runMethod(zipit, { models, data }, {}, context)).delta!.tensors),
  };
  show(`convnet barrier ${barrier.toFixed(4)}, with norms measured ${normsOnly.toFixed(4)}; ends ${JSON.stringify(ends)}`);
  for (const [how, { loss, accuracy }] of Object.entries(merged)) {
    const cut = 100 * (1 - (loss - floor) / barrier);
    show(`convnet ${how}: barrier ${(loss - floor).toFixed(4)} (−${cut.toFixed(1)} %), accuracy ${accuracy.toFixed(3)}`);
    expect(cut, how).toBeGreaterThanOrEqual(90);
  }
  // Not the work of the norms alone.
  expect(normsOnly).toBeGreaterThan(2 * (merged["re-basin activations"].loss - floor));
});
