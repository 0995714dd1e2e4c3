import {
  argMax,
  type Compiled,
  cast,
  compile,
  cosineSchedule,
  crossEntropy,
  type Engine,
  equal,
  f32,
  type HostTensor,
  type MethodContext,
  type Model,
  mean,
  momentum,
  needs,
  ortEngine,
  type ParamTree,
  Rng,
  runMethod,
  type Spec,
  sym,
  type Tensor,
  type Weights,
} from "@lfm/core";
import { createGlyphs, type GlyphBatch, takeRows } from "@lfm/data";
import { initWeights, mlp } from "@lfm/models";
import { fit } from "@lfm/train";
import { beforeAll, expect, it } from "vitest";
import { otFusion } from "../methods/ot-fusion.js";
import { type ReBasinOutput, reBasin } from "../methods/re-basin.js";
import { zipit } from "../methods/zipit.js";
import { interpolationCurve, lossBarrier } from "./interpolation.js";

// The recipe was chosen on the pair of seeds 1 and 2; the pairs here are others.
const PAIRS = [11, 13, 15, 17, 19].map((seed) => [seed, seed + 1] as const);
const STEPS = 800;
const BATCH = 64;

const plain = mlp({ input_size: 256, hidden_sizes: [256, 256], output_size: 10 });
const glyphs = createGlyphs({ seed: 4 });
const images = (batch: GlyphBatch): { x: HostTensor; y: HostTensor } => ({
  x: f32(batch.x.data as Float32Array, [batch.labels.data.length, 256]),
  y: batch.labels,
});
const training = glyphs.all("train", 500);
const sets = { train: images(training), test: images(glyphs.all("test", 100)) };

let engine: Engine;
let context: MethodContext;
let measure: Compiled<Record<string, Spec>, { loss: Tensor; accuracy: Tensor }>;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
  const params = Object.fromEntries(
    Object.entries(plain.info.params).map(([name, p]) => [`p.${name}`, { dtype: "f32", shape: p.shape } as const]),
  );
  const data = { x: { dtype: "f32", shape: [sym("n"), 256] }, y: { dtype: "i32", shape: [sym("n")] } } as const;
  measure = await compile(engine, { ...params, ...data } as Record<string, Spec>, (input) => {
    const tree: ParamTree = Object.fromEntries(Object.keys(plain.info.params).map((name) => [name, input[`p.${name}`]!]));
    const logits = plain.forward(tree, { features: input.x! }, { mode: "eval" }).logits!;
    return { loss: crossEntropy(logits, input.y!), accuracy: mean(cast(equal(argMax(logits), input.y!), "f32")) };
  });
});

async function scores(params: Weights, set: "train" | "test"): Promise<{ loss: number; accuracy: number }> {
  const named = Object.fromEntries(Object.entries(params).map(([name, w]) => [`p.${name}`, w as HostTensor]));
  const { loss, accuracy } = await measure({ ...named, ...sets[set] });
  return { loss: Number(loss.data[0]), accuracy: Number(accuracy.data[0]) };
}

/** One network from its own start, on its own order of examples. */
async function train(seed: number): Promise<Model> {
  const rng = new Rng(seed);
  const { params } = await fit({
    engine,
    trainable: initWeights(plain.info, { seed }),
    batch: { x: { dtype: "f32", shape: [BATCH, 256] }, y: { dtype: "i32", shape: [BATCH] } },
    batches: (step) => {
      const order = rng.split(`batch ${step}`);
      return images(
        takeRows(
          training,
          Array.from({ length: BATCH }, () => order.int(sets.train.y.data.length)),
        ),
      );
    },
    loss: (p, batch) => ({ loss: crossEntropy(plain.forward(p, { features: batch.x }, { mode: "train" }).logits!, batch.y) }),
    optimizer: momentum({ weightDecay: 1e-3 }),
    lr: 0.1,
    schedule: cosineSchedule(20),
    steps: STEPS,
    rng,
    threads: 1,
  });
  return { ...plain, params };
}

interface Barriers {
  /** L(½) − (L(0) + L(1))/2. */
  readonly middle: number;
  readonly highest: number;
}

async function barriers(a: Weights, b: Weights, set: "train" | "test"): Promise<Barriers> {
  const curve = await interpolationCurve(a, b, async (w) => (await scores(w, set)).loss, { points: 11 });
  return { middle: curve[5]!.loss - (curve[0]!.loss + curve[10]!.loss) / 2, highest: lossBarrier(curve).height };
}

it("Re-Basin takes at least 90 % of the loss barrier between networks that were trained apart, on 5 pairs, training and test loss", async () => {
  const table: string[] = [];
  for (const [first, second] of PAIRS) {
    const models = { a: await train(first), b: await train(second) };
    const data = [{ features: sets.train.x }];
    const align = (match: "weights" | "activations"): Promise<ReBasinOutput> => runMethod(reBasin, { models, data }, { match }, context);
    const matched = { weights: await align("weights"), activations: await align("activations") };
    for (const set of ["train", "test"] as const) {
      const apart = await barriers(models.a.params, models.b.params, set);
      expect(apart.middle).toBeGreaterThan(0.3);
      for (const [how, { aligned }] of Object.entries(matched)) {
        const left = await barriers(aligned.a!, aligned.b!, set);
        const cut = 100 * (1 - left.middle / apart.middle);
        table.push(
          `${first}+${second} ${set} ${how}: ${apart.middle.toFixed(4)} → ${left.middle.toFixed(4)} (−${cut.toFixed(1)} %), highest ${apart.highest.toFixed(4)} → ${left.highest.toFixed(4)}`,
        );
        expect(cut, table.at(-1)).toBeGreaterThanOrEqual(90);
      }
    }
  }
  expect(table).toHaveLength(20);
  // LFM_SHOW=1 prints the numbers.
  if (process.env.LFM_SHOW) process.stdout.write(`${table.join("\n")}\n`);
});

it("OT fusion and ZipIt merge them too: far above the plain average, near the networks themselves", async () => {
  const models = { a: await train(11), b: await train(12) };
  const data = [{ features: sets.train.x }];
  const alone = Math.min((await scores(models.a.params, "test")).accuracy, (await scores(models.b.params, "test")).accuracy);
  const plainAverage = (
    await scores(
      Object.fromEntries(Object.entries(models.a.params).map(([n, w]) => [n, half(w as HostTensor, models.b.params[n] as HostTensor)])),
      "test",
    )
  ).accuracy;
  const of = async (params: Weights): Promise<number> => (await scores(params, "test")).accuracy;
  const merged = {
    "ot-fusion": await of((await runMethod(otFusion, { models }, {}, context)).params),
    "ot-fusion on activations": await of((await runMethod(otFusion, { models, data }, { match: "activations" }, context)).params),
    zipit: await of((await runMethod(zipit, { models, data }, {}, context)).params),
    "zipit across": await of((await runMethod(zipit, { models, data }, { beta: 0 }, context)).params),
  };
  if (process.env.LFM_SHOW) process.stdout.write(`alone ${alone}, average ${plainAverage}, ${JSON.stringify(merged)}\n`);
  for (const [how, accuracy] of Object.entries(merged)) expect(accuracy, how).toBeGreaterThan(alone - 0.05);
  expect(plainAverage).toBeLessThan(alone - 0.05);
});

function half(a: HostTensor, b: HostTensor): HostTensor {
  return f32(
    (a.data as Float32Array).map((v, i) => (v + Number(b.data[i])) / 2),
    a.shape,
  );
}
