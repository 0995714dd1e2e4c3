import type { HostTensor, InputKindName, Model } from "@lfm/core";
import type { Episode } from "@lfm/meta";
import { labelledRows } from "@lfm/tuning";
import { openFamily } from "../inputs/families.js";
import { requireText } from "../inputs/models.js";
import { drawn } from "../inputs/probes.js";
import type { Sources } from "../inputs/sources.js";
import { openHeldOutRows } from "../inputs/validation.js";
import { scoreClasses } from "./class-scores.js";
import { type Found, nothing, type Said } from "./found.js";
import { answersTo, classesOf, type Measured, measureAnswers, measureLanguage, oneClassWarning } from "./measure.js";
import { measurePreferences } from "./measure-preferences.js";
import { observeAnswers } from "./observe-edits.js";

/** Looks before a run, and at its result after it. */
type Observer = (s: Sources) => Promise<(found: Found) => Promise<Said>>;

/** What can be seen of a result beyond what the method says, by the kind of an input that allows it. */
const observers: Partial<Readonly<Record<InputKindName, Observer>>> = {
  learner: observeHeldOut,
  "edit-requests": observeAnswers,
  episodes: observeUnseenTasks,
};

/** All that the inputs of a run allow to be seen. */
export async function observe(
  inputs: readonly { readonly kind: InputKindName }[],
  s: Sources,
): Promise<(found: Found) => Promise<readonly Said[]>> {
  const after: ((found: Found) => Promise<Said>)[] = [];
  for (const { kind } of inputs) {
    const observer = observers[kind];
    if (observer) after.push(await observer(s));
  }
  return async (found) => {
    const said: Said[] = [];
    for (const look of after) said.push(await look(found));
    return said;
  };
}

/** How --valid is answered, which nothing is learned from; it is looked through before any work. */
async function observeHeldOut(s: Sources): Promise<(found: Found) => Promise<Said>> {
  const [m, held, o] = [await s.reader(), await openHeldOutRows(s), s.batching];
  if (held === undefined) return observeTrained(s);
  const { tokenizer } = requireText(m);
  const { engine } = s.context;
  const measure = (model: Model, base?: Model): Promise<Measured> => {
    if (held.kind === "preferences") return measurePreferences(engine, model, base, held.preferences, o);
    return held.kind === "language"
      ? measureLanguage(engine, model, held.rows, o)
      : measureAnswers(engine, model, held.rows, held.goal, tokenizer, o);
  };
  // A head that is still to be learned answers nothing yet.
  const headless = (await s.goal()) !== undefined && m.model.info.task !== "classifier";
  const before = headless ? null : (await measure(m.model)).metrics;
  return async ({ model }) => {
    const { metrics: after, standardErrors, scores } = await measure(model!, m.model);
    const warning = scores && oneClassWarning(scores);
    return {
      value: {
        valid: { before, after },
        standardErrors,
        ...(scores?.onlyClass === undefined ? {} : { onlyClass: scores.onlyClass }),
      },
      lines: [
        `held-out: ${before && Object.keys(before).length > 0 ? `${numbers(before)} → ` : ""}${numbers(after)}`,
        ...(warning ? [warning] : []),
      ],
    };
  };
}

/** Training examples that a classifier is asked where nothing is held out: enough to see whether it tells anything apart. */
const ASKED = 64;

/** Without --valid: whether a classifier gives one class to all. */
async function observeTrained(s: Sources): Promise<(found: Found) => Promise<Said>> {
  const [m, goal, o] = [await s.reader(), await s.goal(), s.batching];
  const value = { valid: null };
  if (goal?.kind !== "classes" || !s.declares("task")) return async () => ({ ...nothing, value });
  const { tokenizer } = requireText(m);
  const rows = labelledRows(drawn((await s.examples())[0]!, ASKED, o.seed), goal.names);
  return async ({ model }) => {
    if (!model) return { ...nothing, value };
    const given = classesOf(await answersTo(s.context.engine, model, rows, tokenizer, o));
    const scores = scoreClasses(goal.names, rows.labels, given);
    const warning = oneClassWarning(scores);
    return warning ? { value: { ...value, onlyClass: scores.onlyClass }, lines: [warning] } : { ...nothing, value };
  };
}

/** Tasks of the family that training never saw. */
async function observeUnseenTasks(s: Sources): Promise<(found: Found) => Promise<Said>> {
  const { name, shots, unseen } = await openFamily(s);
  return async ({ predict, norm }) => {
    const predictions = await predict!(unseen);
    const classes = unseen[0]!.query.labels !== undefined;
    const metrics: Record<string, number> = classes
      ? { accuracy: accuracy(unseen, predictions) }
      : { mse: meanSquaredError(unseen, predictions) };
    return {
      value: { family: name, ways: s.count("ways"), shots, testTasks: unseen.length, norm, metrics },
      lines: [`${name}: ${numbers(metrics)} on ${unseen.length} unseen tasks, norm ${norm}`],
    };
  };
}

function accuracy(episodes: readonly Episode[], predictions: readonly HostTensor[]): number {
  let [right, total] = [0, 0];
  for (const [k, e] of episodes.entries()) {
    const { shape, data } = predictions[k]!;
    const ways = shape[1]!;
    for (let i = 0; i < e.query.labels!.data.length; i++) {
      const row = Array.from(data.slice(i * ways, (i + 1) * ways), Number);
      if (row.indexOf(Math.max(...row)) === Number(e.query.labels!.data[i])) right++;
      total++;
    }
  }
  return right / total;
}

function meanSquaredError(episodes: readonly Episode[], predictions: readonly HostTensor[]): number {
  let [sum, n] = [0, 0];
  for (const [k, e] of episodes.entries()) {
    for (let i = 0; i < e.query.y!.data.length; i++) {
      sum += (Number(predictions[k]!.data[i]) - Number(e.query.y!.data[i])) ** 2;
      n++;
    }
  }
  return sum / n;
}

/** `loss 0.1234, accuracy 0.9` */
export function numbers(values: Readonly<Record<string, number>>): string {
  return Object.entries(values)
    .map(([name, v]) => `${name} ${v.toFixed(4)}`)
    .join(", ");
}
