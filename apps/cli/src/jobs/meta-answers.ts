import { readdirSync, readFileSync, statSync } from "node:fs";
import { basename, extname, join } from "node:path";
import { f32, type HostTensor, i32, LfmError } from "@lfm/core";
import { decodePicture, type NamedClass, readClasses, readEpisodeList, readFeatures, readUnanswered, resizePicture } from "@lfm/data";
import type { Episode } from "@lfm/meta";
import { engineOf } from "../inputs/engine.js";
import { encodeClasses, type ItemForm } from "../inputs/families.js";
import { type OpenedLearner, openLearner } from "../outputs/learner.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

export interface AdaptRequest extends JobRequest {
  readonly learner: string;
  readonly support: string;
  readonly ask: string;
}

interface Item {
  readonly name: string;
  readonly data: Float32Array;
}

/** `lfm meta adapt`: a handful of labelled examples, and answers to others. */
export async function adapt(request: AdaptRequest, job: JobContext): Promise<JobResult> {
  const learner = await openLearner(request.learner);
  const engine = await engineOf(request);
  const reader = new Items(learner.form, engine, job);
  const classes = await reader.classes(request.support);
  requireWays(learner, classes.length);
  const asked = await reader.asked(request.ask);
  const support = classes.flatMap(({ items }, k) => items.map((data) => ({ data, label: k })));
  const query = asked.map(({ data }) => ({ data, label: 0 }));
  const [logits] = await learner.answer([{ support: halfOf(support, learner.form), query: halfOf(query, learner.form) }], engine);
  const names = classes.map((c) => c.name);
  const predictions = asked.map(({ name }, i) => ({ item: name, ...bestOf(logits!, i, names) }));
  const value = {
    learner: request.learner,
    method: learner.method,
    norm: learner.norm,
    classes: names,
    examples: support.length,
    predictions,
  };
  return { value, text: predictions.map((p) => JSON.stringify(p)).join("\n") };
}

export interface EvalRequest extends JobRequest {
  readonly learner: string;
  readonly episodes: string;
}

/** `lfm meta eval`: a learner on a fixed list of episodes. */
export async function evaluateEpisodes(request: EvalRequest, job: JobContext): Promise<JobResult> {
  const learner = await openLearner(request.learner);
  if (learner.form.kind !== "pictures")
    throw new LfmError("CAPABILITY_MISSING", `lfm: lists of episodes name pictures, and ${request.learner} reads features`);
  const engine = await engineOf(request);
  const reader = new Items(learner.form, engine, job);
  const each: number[] = [];
  const list = readEpisodeList(request.episodes);
  for (const [done, { at, support, query }] of list.entries()) {
    const names = [...new Set(support.map(([, label]) => label))].sort();
    requireWays(learner, names.length);
    const places = new Set(support.map(([item]) => item));
    const leaked = query.find(([item]) => places.has(item));
    if (leaked)
      throw new LfmError("CONFIG_INVALID", `lfm: ${at}: ${leaked[0]} is asked and shown`, { hint: "take it out of support or query" });
    const rows = (pairs: typeof support) =>
      pairs.map(([item, name]) => {
        const label = names.indexOf(name);
        if (label < 0) throw new LfmError("CONFIG_INVALID", `lfm: ${at}: class ${name} of a query has no example in the support`);
        return { data: reader.picture(item), label };
      });
    const asked = rows(query);
    const episode = { support: halfOf(rows(support), learner.form), query: halfOf(asked, learner.form) };
    const [logits] = await learner.answer([episode], engine);
    each.push(asked.filter(({ label }, i) => bestIndex(logits!, i) === label).length / asked.length);
    job.progress({ phase: "episodes", done: done + 1, total: list.length, unit: "episode" });
  }
  const accuracy = each.reduce((a, b) => a + b, 0) / each.length;
  const spread = each.reduce((a, v) => a + (v - accuracy) ** 2, 0) / Math.max(1, each.length - 1);
  const interval = 1.96 * Math.sqrt(spread / each.length);
  const value = { learner: request.learner, method: learner.method, norm: learner.norm, episodes: each.length, accuracy, interval, each };
  const text = `${learner.method}: accuracy ${accuracy.toFixed(4)} ± ${interval.toFixed(4)} (95 %) on ${each.length} episodes, norm ${learner.norm}`;
  return { value, text };
}

/** @throws {LfmError} CONFIG_INVALID for a last layer of another number of classes */
function requireWays({ classes, method }: OpenedLearner, ways: number): void {
  if (ways < 2) throw new LfmError("CONFIG_INVALID", "lfm: one class alone: nothing is to be told apart");
  if (classes === undefined || classes === ways) return;
  throw new LfmError("CONFIG_INVALID", `lfm: ${method} learned to tell ${classes} classes apart, these are ${ways}`, {
    hint: `give it examples of ${classes} classes, or learn one that takes any number: lfm meta protonet`,
  });
}

/** Items as a learner reads them. */
class Items {
  constructor(
    private readonly form: ItemForm,
    private readonly engine: Awaited<ReturnType<typeof engineOf>>,
    private readonly job: JobContext,
  ) {}

  picture(path: string): Float32Array {
    const { shape, ink } = this.form;
    const picture = decodePicture(path, readFileSync(path));
    if (picture.channels !== shape[0])
      throw new LfmError("SHAPE_MISMATCH", `lfm: ${path} has ${picture.channels} channels, the learner reads ${shape[0]}`);
    const data = resizePicture(picture, shape[1]!);
    return ink ? data.map((v) => 1 - v) : data;
  }

  async classes(path: string): Promise<readonly NamedClass<Float32Array>[]> {
    const set = readClasses(path, { size: this.form.shape[1] ?? 1 });
    if (set.kind === "texts") return this.encoded(set.classes);
    const same = set.kind === this.form.kind && set.shape.join() === this.form.shape.join();
    if (!same)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `lfm: ${path} holds ${set.kind} of [${set.shape}], the learner reads ${this.form.kind} of [${this.form.shape}]`,
      );
    return this.form.ink ? set.classes.map((c) => ({ ...c, items: c.items.map((x) => x.map((v) => 1 - v)) })) : set.classes;
  }

  /** What is asked: a folder of pictures, one picture, or a file of texts. */
  async asked(path: string): Promise<readonly Item[]> {
    if (this.form.kind === "pictures") {
      const files = statSync(path).isDirectory()
        ? readdirSync(path)
            .filter((name) => extname(name).toLowerCase() === ".png")
            .sort()
            .map((name) => join(path, name))
        : [path];
      return files.map((file) => ({ name: basename(file), data: this.picture(file) }));
    }
    if (this.form.encoder === undefined) {
      const rows = readFeatures(path);
      const odd = rows.find((row) => row.length !== this.form.shape[0]);
      if (odd)
        throw new LfmError("SHAPE_MISMATCH", `lfm: ${path} has ${odd.length} numbers a row, the learner reads ${this.form.shape[0]}`);
      return rows.map((data, i) => ({ name: String(i + 1), data }));
    }
    const asked = readUnanswered(path);
    if (asked.kind !== "text")
      throw new LfmError("CONFIG_INVALID", `lfm: ${path} holds ${asked.kind}, no texts`, { hint: "a .csv with text" });
    const texts = asked.rows.map((r) => r.text);
    const [encoded] = await this.encoded([{ name: "asked", items: texts }]);
    return encoded!.items.map((data, i) => ({ name: texts[i]!, data }));
  }

  private encoded(classes: readonly NamedClass<string>[]): Promise<readonly NamedClass<Float32Array>[]> {
    const { encoder } = this.form;
    if (encoder === undefined) throw new LfmError("CONFIG_INVALID", `lfm: the learner reads ${this.form.kind}, and these are texts`);
    return encodeClasses(classes, encoder, this.engine, this.job);
  }
}

function halfOf(rows: readonly { readonly data: Float32Array; readonly label: number }[], { shape }: ItemForm): Episode["support"] {
  const width = shape.reduce((a, b) => a * b, 1);
  const x = new Float32Array(rows.length * width);
  for (const [i, { data }] of rows.entries()) x.set(data, i * width);
  return { x: f32(x, [rows.length, ...shape]), labels: i32(rows.map((r) => r.label)) };
}

function rowOf(logits: HostTensor, i: number): number[] {
  const ways = logits.shape[1]!;
  return Array.from(logits.data.slice(i * ways, (i + 1) * ways), Number);
}

function bestIndex(logits: HostTensor, i: number): number {
  const row = rowOf(logits, i);
  return row.indexOf(Math.max(...row));
}

function bestOf(logits: HostTensor, i: number, names: readonly string[]): { readonly label: string; readonly score: number } {
  const best = bestIndex(logits, i);
  return { label: names[best]!, score: rowOf(logits, i)[best]! };
}
