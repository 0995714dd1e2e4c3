import {
  argMax,
  cast,
  compile,
  cosineSchedule,
  crossEntropy,
  type Engine,
  equal,
  f32,
  type HostTensor,
  type Model,
  mean,
  momentum,
  type ParamTree,
  Rng,
  type Spec,
  sym,
  type Weights,
} from "@lfm/core";
import { createGlyphs, type GlyphBatch, takeRows } from "@lfm/data";
import { initWeights } from "@lfm/models";
import { fit } from "@lfm/train";

const BATCH = 64;
const PIXELS = 256;

/** Networks that learn the glyphs of @lfm/data, each from its own start and on its own order of images. */
export interface GlyphNets {
  /** Images as the model reads them, with labels. */
  readonly sets: Readonly<Record<"train" | "test", { readonly x: HostTensor; readonly y: HostTensor }>>;
  train(seed: number): Promise<Model>;
  score(params: Weights, set: "train" | "test"): Promise<{ readonly loss: number; readonly accuracy: number }>;
}

/** @param plain mlp of 256 features or convnet of 16 × 16 pixels, 10 classes */
export async function glyphNets(
  engine: Engine,
  plain: Model,
  options: { readonly perClass: number; readonly steps: number; readonly lr: number },
): Promise<GlyphNets> {
  const kind = plain.info.input as "features" | "pixels";
  const item = kind === "features" ? [PIXELS] : [1, 16, 16];
  const images = (batch: GlyphBatch): { x: HostTensor; y: HostTensor } => ({
    x: f32(batch.x.data as Float32Array, [batch.labels.data.length, ...item]),
    y: batch.labels,
  });
  const glyphs = createGlyphs({ seed: 4 });
  const training = glyphs.all("train", options.perClass);
  const sets = { train: images(training), test: images(glyphs.all("test", 100)) };
  const names = Object.keys(plain.info.params);
  const params = Object.fromEntries(names.map((name) => [`p.${name}`, { dtype: "f32", shape: plain.info.params[name]!.shape } as const]));
  const data = { x: { dtype: "f32", shape: [sym("n"), ...item] }, y: { dtype: "i32", shape: [sym("n")] } } as const;
  const measure = await compile(engine, { ...params, ...data } as Record<string, Spec>, (input) => {
    const tree: ParamTree = Object.fromEntries(names.map((name) => [name, input[`p.${name}`]!]));
    const logits = plain.forward(tree, { [kind]: input.x! }, { mode: "eval" }).logits!;
    return { loss: crossEntropy(logits, input.y!), accuracy: mean(cast(equal(argMax(logits), input.y!), "f32")) };
  });
  return {
    sets,
    score: async (weights, set) => {
      const named = Object.fromEntries(Object.entries(weights).map(([name, w]) => [`p.${name}`, w as HostTensor]));
      const { loss, accuracy } = await measure({ ...named, ...sets[set] });
      return { loss: Number(loss.data[0]), accuracy: Number(accuracy.data[0]) };
    },
    train: async (seed) => {
      const rng = new Rng(seed);
      const start = Object.entries(initWeights(plain.info, { seed }));
      const part = (trainable: boolean): Record<string, HostTensor> =>
        Object.fromEntries(start.filter(([name]) => plain.info.params[name]!.trainable === trainable));
      const learned = await fit({
        engine,
        trainable: part(true),
        buffers: part(false),
        batch: { x: { dtype: "f32", shape: [BATCH, ...item] }, y: { dtype: "i32", shape: [BATCH] } },
        batches: (step) => {
          const order = rng.split(`batch ${step}`);
          return images(
            takeRows(
              training,
              Array.from({ length: BATCH }, () => order.int(training.labels.data.length)),
            ),
          );
        },
        loss: (p, batch) => {
          const out = plain.forward(p, { [kind]: batch.x! }, { mode: "train" });
          return { loss: crossEntropy(out.logits!, batch.y!), ...(out.buffers ? { buffers: out.buffers } : {}) };
        },
        optimizer: momentum({ weightDecay: 1e-3 }),
        lr: options.lr,
        schedule: cosineSchedule(20),
        steps: options.steps,
        rng,
        threads: 1,
      });
      return { ...plain, params: { ...learned.params, ...learned.buffers } };
    },
  };
}
