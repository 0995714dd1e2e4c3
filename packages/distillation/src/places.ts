import { type Hook, LfmError, type Model, type Outputs, placeholder, type Site, slice, type Tensor } from "@lfm/core";
import type { LearningTask } from "@lfm/train";

/** A place of the student that learns from one of the teacher. */
export interface PlacePair {
  readonly student: Site;
  readonly teacher: Site;
}

/** Which places learn from which where nothing is said: all of the student's, its middle one, or its last one. */
export type PlaceRule = "every" | "middle" | "last";

/** The places of a model whose output says what it made of an example so far: its blocks; without blocks its norms, then its hidden layers. */
function featurePlaces({ info }: Pick<Model, "info">): readonly Site[] {
  const ofKind = (...kinds: readonly Site["kind"][]): readonly Site[] => info.sites.filter((s) => kinds.includes(s.kind));
  const [blocks, norms] = [ofKind("block"), ofKind("norm")];
  if (blocks.length > 0) return blocks;
  return norms.length > 0 ? norms : ofKind("linear", "conv");
}

/**
 * Pairs of places.
 * @param layers `STUDENT=TEACHER`, each a number from 0 in the order of {@link featurePlaces} or the path of a site; none: by `rule`, the student's
 *   i-th of m places learns from the teacher's place at the same share of its depth (arXiv 1909.10351, the uniform layer map)
 * @throws {LfmError} CONFIG_INVALID for a place that is not there
 */
export function pairPlaces(student: Model, teacher: Model, layers: readonly string[], rule: PlaceRule): readonly PlacePair[] {
  const [ofStudent, ofTeacher] = [featurePlaces(student), featurePlaces(teacher)];
  if (layers.length > 0)
    return layers.map((text) => {
      const [own, other, ...rest] = text.split("=");
      if (own === undefined || other === undefined || rest.length > 0)
        throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] layers: "${text}" is no pair`, {
          hint: "STUDENT=TEACHER, e.g. 0=1,1=3,2=5",
        });
      return { student: placeOf("student", student, own), teacher: placeOf("teacher", teacher, other) };
    });
  const missing = ofStudent.length === 0 ? student : ofTeacher.length === 0 ? teacher : undefined;
  if (missing)
    throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] ${missing.info.architecture} has no hidden layers that could be compared`, {
      hint: "choose a method that compares answers: logit-kd, dkd",
    });
  const m = ofStudent.length;
  const chosen = rule === "every" ? ofStudent.map((_, i) => i) : rule === "last" ? [m - 1] : [Math.floor((m - 1) / 2)];
  return chosen.map((i) => ({
    student: ofStudent[i]!,
    teacher: ofTeacher[Math.max(0, Math.round(((i + 1) * ofTeacher.length) / m) - 1)]!,
  }));
}

function placeOf(whose: string, model: Model, name: string): Site {
  const places = featurePlaces(model);
  const found = /^\d+$/.test(name) ? places[Number(name)] : model.info.sites.find((s) => s.path === name);
  if (found) return found;
  const range = places.length > 0 ? `0…${places.length - 1} (${places[0]!.path} … ${places.at(-1)!.path})` : "none";
  throw new LfmError("CONFIG_INVALID", `[@lfm/distillation] layers: the ${whose} has no place "${name}"`, { hint: `its places: ${range}` });
}

/** A hook that keeps what the sites of these paths put out, by path; the pass goes on as it was. */
export function collecting(paths: ReadonlySet<string>, into: Map<string, Tensor>): Hook {
  return {
    matches: (site) => paths.has(site.path),
    output: (y, _x, site) => {
      into.set(site.path, y);
      return y;
    },
  };
}

/** What a place put out; states without what prompts put in front. @param input f32[batch, seq, …] or i32[batch, seq] that the model read, where it read tokens */
export function outputAt(path: string, found: ReadonlyMap<string, Tensor>, outputs: Outputs, tokens: Tensor | undefined): Tensor {
  const y = found.get(path);
  if (!y) throw new LfmError("INTERNAL", `[@lfm/distillation] "${path}" put out nothing`);
  const { prefix = 0 } = outputs;
  return tokens && y.rank === 3 && prefix !== 0 ? slice(y, 1, prefix, tokens.dim(1)) : y;
}

/** A model's pass over a batch of a task, traced without values: for shapes, symbols where the batch has them. */
export function traced(
  model: Model,
  task: Pick<LearningTask, "batch" | "input">,
  hooks: readonly Hook[] = [],
): { readonly outputs: Outputs; readonly batch: Readonly<Record<string, Tensor>> } {
  const batch = Object.fromEntries(Object.entries(task.batch).map(([name, { dtype, shape }]) => [name, placeholder(name, dtype, shape)]));
  const params = Object.fromEntries(
    Object.entries(model.params).map(([name, { dtype, shape }]) => [name, placeholder(name, dtype, shape)]),
  );
  return { outputs: model.forward(params, task.input(batch), { mode: "eval", batch, hooks }), batch };
}

/** Shapes of what places put out on a batch of a task, by path. */
export function shapesAt(
  model: Model,
  task: Pick<LearningTask, "batch" | "input">,
  paths: readonly string[],
): ReadonlyMap<string, Tensor["shape"]> {
  const found = new Map<string, Tensor>();
  traced(model, task, [collecting(new Set(paths), found)]);
  return new Map([...found].map(([path, t]) => [path, t.shape]));
}
