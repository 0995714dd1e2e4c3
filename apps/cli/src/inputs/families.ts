import { type Engine, f32, LfmError, type Model, Rng } from "@lfm/core";
import {
  type ClassPool,
  type ClassSplit,
  createGlyphs,
  drawEpisode,
  loadOmniglot,
  type NamedClass,
  readClasses,
  requireDisjoint,
  sinusoidEpisodes,
} from "@lfm/data";
import type { Episode, MetaInputs } from "@lfm/meta";
import { convnet, initWeights, mlp } from "@lfm/models";
import { arrayClassification, arrayRegression, type TaskShape } from "@lfm/train";
import type { JobContext } from "../program/job.js";
import { openEncoder, placedName } from "./documents.js";
import type { Sources } from "./sources.js";

/** How items of a family become what its model reads: what a learner needs to read others. */
export interface ItemForm {
  readonly kind: "pictures" | "features";
  /** Of one item. */
  readonly shape: readonly number[];
  /** Texts are read by this frozen sentence encoder. */
  readonly encoder?: string;
  /** Pictures are turned over: 1 where they are dark (Omniglot's drawings). */
  readonly ink?: boolean;
}

/** A family of tasks, and a fresh model that fits it. */
export interface Family extends MetaInputs {
  readonly name: string;
  /** Absent for curves. */
  readonly form?: ItemForm;
  readonly shots: number;
  /** Tasks of classes or curves that training never saw. */
  readonly unseen: readonly Episode[];
}

/** Tasks that a result is measured on. */
const TEST_TASKS = 200;

/** The family that --family names. @throws {LfmError} as the readers of data sets */
export function openFamily(s: Sources): Promise<Family> {
  return s.once("family", async () => {
    const [seed, name] = [s.request.seed ?? 0, s.text("family") ?? "sinusoid"];
    const [ways, tasks] = [s.count("ways") ?? 5, s.count("tasks") ?? 4];
    if (s.text("data") !== undefined) return openOwnClasses(s, { ways, tasks, shots: s.count("shots") ?? 1, seed });
    if (name === "sinusoid") {
      const shots = s.count("shots") ?? 10;
      const options = { seed, shots, tasks };
      return {
        name,
        shots,
        model: withFreshWeights(mlp({ input_size: 1, hidden_sizes: [40, 40], output_size: 1, task: "regressor" }), seed),
        task: arrayRegression(name, "features", [1], 1),
        episodes: (step) => sinusoidEpisodes({ ...options, split: "train" }, step),
        unseen: sinusoidEpisodes({ ...options, split: "test", tasks: TEST_TASKS }, 0),
      };
    }
    const shots = s.count("shots") ?? 1;
    const { train, test, size } = name === "glyphs" ? glyphPools(seed) : await omniglotPools();
    const form: ItemForm = { kind: "pictures", shape: [1, size, size], ...(name === "omniglot" ? { ink: true } : {}) };
    return familyOf(name, form, { train, test }, { ways, tasks, shots, seed });
  });
}

interface EpisodeWishes {
  readonly ways: number;
  readonly shots: number;
  /** Of a training step. */
  readonly tasks: number;
  readonly seed: number;
}

/** Episodes of classes, and a fresh network for their items: conv-4 for pictures, over features a linear layer that begins as the identity. */
function familyOf(
  name: string,
  form: ItemForm,
  { train, test }: Pick<Pools, "train" | "test">,
  { ways, tasks, shots, seed }: EpisodeWishes,
): Family {
  const draw = (pools: readonly ClassPool[], split: string, step: number, n: number): Episode[] => {
    const rng = new Rng(seed).split(split).split(step);
    return Array.from({ length: n }, () => drawEpisode(pools, form.shape, { ways, shots, queries: 5 }, rng));
  };
  return {
    name,
    form,
    shots,
    ways,
    model: form.kind === "pictures" ? pictureModel(form.shape, ways, seed) : featureModel(form.shape[0]!, ways, seed),
    task: taskOfItems(form),
    episodes: (step) => draw(train, "train", step, tasks),
    unseen: draw(test, "test", 0, TEST_TASKS),
  };
}

/** How items with classes are read. */
export function taskOfItems({ kind, shape }: ItemForm): TaskShape {
  return arrayClassification("few-shot", kind === "pictures" ? "pixels" : "features", shape);
}

function pictureModel([channels, size]: readonly number[], classes: number, seed: number): Model {
  const widths = size! >= 28 ? [64, 64, 64, 64] : [32, 32, 32];
  return withFreshWeights(convnet({ channels: channels!, image_size: size!, widths, classes }), seed);
}

function featureModel(size: number, classes: number, seed: number): Model {
  const model = withFreshWeights(mlp({ input_size: size, hidden_sizes: [size], output_size: classes, activation: "identity" }), seed);
  const identity = Float32Array.from({ length: size * size }, (_, at) => (at % (size + 1) === 0 ? 1 : 0));
  return { ...model, params: { ...model.params, "fc1.weight": f32(identity, [size, size]), "fc1.bias": f32(new Float32Array(size)) } };
}

/** Of --data without --unseen: classes that are held back. */
const HELD_BACK = 0.2;

/** @throws {LfmError} CONFIG_INVALID for too few classes, and for one that is both learned from and measured on; as the readers of classes */
async function openOwnClasses(s: Sources, wishes: EpisodeWishes): Promise<Family> {
  const path = s.text("data")!;
  const [own, apart] = await Promise.all([path, s.text("unseen")].map((p) => (p === undefined ? undefined : readItems(p, s))));
  const split = apart ? { train: own!.classes, unseen: apart.classes } : heldBack(own!.classes, wishes);
  requireDisjoint(split);
  const pools = (classes: ItemClasses): ClassPool[] => classes.map(({ items }) => ({ count: items.length, item: (i) => items[i]! }));
  return familyOf(path, own!.form, { train: pools(split.train), test: pools(split.unseen) }, wishes);
}

type ItemClasses = readonly NamedClass<Float32Array>[];

function heldBack(classes: ItemClasses, { ways, seed }: EpisodeWishes): ClassSplit<Float32Array> {
  const count = Math.max(ways, Math.round(HELD_BACK * classes.length));
  if (classes.length - count < ways)
    throw new LfmError(
      "CONFIG_INVALID",
      `lfm: ${classes.length} classes are too few to learn from ${ways} at a time and to measure on ${ways} others`,
      {
        hint: `--ways ${Math.max(2, Math.floor(classes.length / 2))}, or classes to measure on of their own: --unseen FOLDER`,
      },
    );
  const unseen = new Set(new Rng(seed).split("classes").sample(classes, count));
  return { train: classes.filter((c) => !unseen.has(c)), unseen: [...unseen] };
}

/** Classes of a file or folder as a model reads them: texts through --encoder. @throws {LfmError} CONFIG_INVALID for texts without one */
async function readItems(path: string, s: Sources): Promise<{ readonly form: ItemForm; readonly classes: ItemClasses }> {
  const set = readClasses(path, { size: s.count("size") ?? 28 });
  if (set.kind !== "texts") return { form: { kind: set.kind, shape: set.shape }, classes: set.classes };
  const name = s.text("encoder");
  if (name === undefined)
    throw new LfmError("CONFIG_INVALID", `lfm: ${path} holds texts, and nothing is given that reads them`, {
      hint: "--encoder sentence-transformers/all-MiniLM-L6-v2",
    });
  const classes = await encodeClasses(set.classes, name, s.context.engine, s.job);
  return { form: { kind: "features", shape: [classes[0]!.items[0]!.length], encoder: placedName(name) }, classes };
}

/** Texts as vectors of a frozen sentence encoder. */
export async function encodeClasses(
  classes: readonly NamedClass<string>[],
  name: string,
  engine: Engine,
  job: JobContext,
): Promise<ItemClasses> {
  const encoder = await openEncoder(name, engine, job);
  try {
    const { data } = await encoder.encode(
      classes.flatMap((c) => c.items),
      job.signal ? { signal: job.signal } : {},
    );
    let at = 0;
    const next = (): Float32Array => (data as Float32Array).slice(at * encoder.dimension, ++at * encoder.dimension);
    return classes.map((c) => ({ name: c.name, items: c.items.map(next) }));
  } finally {
    await encoder.dispose();
  }
}

function withFreshWeights(plan: Model, seed: number): Model {
  return { ...plan, params: initWeights(plan.info, { seed }) };
}

interface Pools {
  readonly train: readonly ClassPool[];
  readonly test: readonly ClassPool[];
  /** Pixels along a side. */
  readonly size: number;
}

function glyphPools(seed: number): Pools {
  const world = createGlyphs({ seed, classes: 80 });
  const pool = (label: number): ClassPool => ({ count: 40, item: (i) => world.image("train", label, i) });
  const all = Array.from({ length: 80 }, (_, label) => pool(label));
  return { train: all.slice(0, 60), test: all.slice(60), size: world.size };
}

async function omniglotPools(): Promise<Pools> {
  const set = await loadOmniglot(process.env.LFM_DATA === undefined ? {} : { folder: process.env.LFM_DATA });
  const pools = (split: "train" | "test"): ClassPool[] =>
    set.splits[split].map((c) => ({ count: c.drawings.length, item: (i) => c.drawings[i]! }));
  if (set.size < 16) throw new LfmError("CONFIG_INVALID", "lfm: drawings of fewer than 16 pixels leave nothing after four halvings");
  return { train: pools("train"), test: pools("test"), size: set.size };
}
