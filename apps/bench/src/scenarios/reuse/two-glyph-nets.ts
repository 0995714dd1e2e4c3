import {
  type CellOutcome,
  compile,
  cosineSchedule,
  crossEntropy,
  type Engine,
  f32,
  type HostTensor,
  type Metric,
  type Model,
  modelsInput,
  momentum,
  provider,
  Rng,
  sym,
  throwIfAborted,
  type Weights,
} from "@lfm/core";
import { createGlyphs, type GlyphBatch, takeRows } from "@lfm/data";
import { hashWeights } from "@lfm/formats";
import { initWeights, mlp } from "@lfm/models";
import { type CurvePoint, examplesInput, interpolationCurve, lossBarrier, type OtFusionOutput, type ReBasinOutput } from "@lfm/reuse";
import { fit } from "@lfm/train";
import type { CellContext, Scenario } from "../../scenario.js";
import { runByKind } from "../run-by-kind.js";

const PIXELS = 256;
const CLASSES = 10;
const HIDDEN = [256, 256];
/** As in Git Re-Basin: with Adam and without weight decay the nets' training barrier fell by 65 to 92 % only; chosen on other glyphs. */
const TRAINING = { steps: 800, lr: 0.1, schedule: cosineSchedule(20) } as const;
const WEIGHT_DECAY = 1e-3;
const PER_CLASS = { train: 500, test: 50 };
const BATCH = 64;
const POINTS = 11;

interface Setting {
  readonly models: Readonly<Record<"a" | "b", Model>>;
  readonly train: Images;
  readonly test: Images;
}
interface Images {
  readonly x: HostTensor;
  readonly labels: HostTensor;
}

/** Two nets from different starts lie in different valleys: is there a straight way between them once their neurons are matched? */
export const twoGlyphNets: Scenario = {
  id: "two-glyph-nets",
  paradigm: "reuse",
  model: "glyphs-mlp",
  summary: `Two MLPs learn glyphs from different starts and are merged; the barrier is the loss half-way along the line between them above that of its ends, on training glyphs.`,
  headline: "accuracy",
  access: ["weights", "activations", "logits"],
  run: async (cell, context) => {
    const { seed, signal, engine } = context;
    const setting = await context.shared(`two-glyph-nets ${seed}`, () => makeSetting(context));
    const { models, train, test } = setting;
    throwIfAborted(signal, "[@lfm/bench] two-glyph-nets");
    const started = performance.now();
    const output = await runByKind<Pick<OtFusionOutput, "model"> & Partial<Pick<ReBasinOutput, "aligned">>>(
      "two-glyph-nets",
      cell,
      [provider(modelsInput, () => models), provider(examplesInput, () => [{ features: train.x }])],
      context,
    );
    const merged = performance.now();
    const measure = await measurer(engine, models.a);
    try {
      const loss = async (w: Weights): Promise<number> => (await measure.run(w, train)).loss;
      const before = await interpolationCurve(models.a.params, models.b.params, loss, { points: POINTS });
      const after = output.aligned && (await interpolationCurve(output.aligned.a!, output.aligned.b!, loss, { points: POINTS }));
      const ends = [await measure.run(models.a.params, test), await measure.run(models.b.params, test)];
      const naive = lossBarrier(before).height;
      const matched = after && lossBarrier(after).height;
      return {
        metrics: {
          accuracy: fraction((await measure.run(output.model.params, test)).accuracy, "the merged net on test glyphs"),
          individualAccuracy: fraction((ends[0]!.accuracy + ends[1]!.accuracy) / 2, "mean of the two nets"),
          averageAccuracy: fraction((await measure.run(midpoint(models), test)).accuracy, "their plain average"),
          barrierBefore: { value: naive, unit: "nats", higherIsBetter: false, note: "loss barrier between the nets as they are" },
          ...(matched === undefined
            ? {}
            : {
                barrierAfter: { value: matched, unit: "nats", higherIsBetter: false, note: "and between the matched nets" },
                barrierCut: fraction(1 - matched / naive, "share of the barrier that matching removes"),
              }),
        },
        retention: null,
        trainableParams: 0,
        bytes: 4 * Object.values(output.model.params).reduce((n, t) => n + t.shape.reduce((a, b) => a * b, 1), 0),
        queries: 0,
        dataUsed: cell.method.needs.includes("activations") ? train.labels.data.length : 0,
        monitors: [],
        curves: {
          "loss by α: as they are": before.map(({ lambda, loss: y }) => [lambda, y] as const),
          // Where no two nets are handed back, only their merge, it stands half-way.
          ...(after
            ? { "loss by α: matched": after.map(({ lambda, loss: y }) => [lambda, y] as const) }
            : { "loss by α: merged net": [[0.5, await loss(output.model.params)] as const] }),
          ...(after ? { "barrier of matched nets by α": aboveEnds(after) } : {}),
        },
        phasesMs: { merge: merged - started, evaluate: performance.now() - merged },
        modelHash: await hashWeights(models.a.params),
      } satisfies CellOutcome;
    } finally {
      await measure.dispose();
    }
  },
};

/** How far the loss lies above the line between its ends. */
function aboveEnds(curve: readonly CurvePoint[]): (readonly [number, number])[] {
  const [first, last] = [curve[0]!, curve.at(-1)!];
  return curve.map(({ lambda, loss }) => [lambda, loss - ((1 - lambda) * first.loss + lambda * last.loss)] as const);
}

const plain = mlp({ input_size: PIXELS, hidden_sizes: HIDDEN, output_size: CLASSES });

async function makeSetting({ engine, seed, rng, signal, progress }: CellContext): Promise<Setting> {
  const glyphs = createGlyphs({ seed });
  const images = glyphs.all("train", PER_CLASS.train);
  const [train, test] = [flat(images), flat(glyphs.all("test", PER_CLASS.test))];
  const one = async (name: string): Promise<Model> => {
    const own = rng.split(name);
    const { params } = await fit({
      engine,
      trainable: initWeights(plain.info, { seed: own.uint32() }),
      batch: { x: { dtype: "f32", shape: [BATCH, PIXELS] }, y: { dtype: "i32", shape: [BATCH] } },
      batches: (step) => {
        const order = own.split(step);
        const batch = flat(
          takeRows(
            images,
            Array.from({ length: BATCH }, () => order.int(images.labels.shape[0]!)),
          ),
        );
        return { x: batch.x, y: batch.labels };
      },
      loss: (p, b) => ({ loss: crossEntropy(plain.forward(p, { features: b.x! }, { mode: "train" }).logits!, b.y!) }),
      optimizer: momentum({ weightDecay: WEIGHT_DECAY }),
      ...TRAINING,
      rng: new Rng(seed).split(name),
      threads: 1,
      progress,
      ...(signal ? { signal } : {}),
    });
    return { ...plain, params };
  };
  return { models: { a: await one("a"), b: await one("b") }, train, test };
}

function flat({ x, labels }: GlyphBatch): Images {
  return { x: f32(x.data as Float32Array, [labels.shape[0]!, PIXELS]), labels };
}

function midpoint({ a, b }: Setting["models"]): Weights {
  return Object.fromEntries(
    Object.keys(a.params).map((name) => {
      const [x, y] = [a.params[name] as HostTensor, b.params[name] as HostTensor];
      return [
        name,
        f32(
          (x.data as Float32Array).map((v, i) => (v + (y.data[i] as number)) / 2),
          x.shape,
        ),
      ];
    }),
  );
}

/** Mean loss and accuracy of weights of one net. */
async function measurer(
  engine: Engine,
  model: Model,
): Promise<{ run(params: Weights, images: Images): Promise<{ loss: number; accuracy: number }>; dispose(): Promise<void> }> {
  const params = Object.fromEntries(Object.entries(model.info.params).map(([n, p]) => [n, { dtype: "f32" as const, shape: p.shape }]));
  const rows = sym("rows");
  const run = await compile(
    engine,
    { params, x: { dtype: "f32", shape: [rows, PIXELS] }, y: { dtype: "i32", shape: [rows] } },
    ({ params: p, x, y }) => {
      const logits = plain.forward(p, { features: x }, { mode: "eval" }).logits!;
      return { logits, loss: crossEntropy(logits, y) };
    },
  );
  return {
    run: async (weights, { x, labels }) => {
      const out = await run({ params: weights as Record<string, HostTensor>, x, y: labels });
      const logits = out.logits.data as Float32Array;
      const right = Array.from(labels.data as Int32Array).filter((label, i) => {
        const row = logits.subarray(i * CLASSES, (i + 1) * CLASSES);
        return row.indexOf(Math.max(...row)) === label;
      });
      return { loss: out.loss.data[0] as number, accuracy: right.length / labels.data.length };
    },
    dispose: () => run.dispose(),
  };
}

function fraction(value: number, note: string): Metric {
  return { value, unit: "fraction", higherIsBetter: true, note };
}
