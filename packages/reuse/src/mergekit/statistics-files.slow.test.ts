import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  f32,
  type HostTensor,
  isLfmError,
  type LfmErrorCode,
  loadWeight,
  type MethodContext,
  needs,
  Rng,
  referenceEngine,
  runMethod,
  sizeOf,
} from "@lfm/core";
import { hashWeights, readWeights, writeSafetensors } from "@lfm/formats";
import { type FisherStatistics, type GramStatistics, type Statistics, saveStats } from "@lfm/statistics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { checkMerge } from "../mergekit/check.js";
import { explainMerge } from "../mergekit/explain.js";
import { parseMergeConfig } from "../mergekit/parse.js";
import { type DocumentPlan, planMerge } from "../mergekit/plan.js";
import type { PlanMergeOptions } from "../mergekit/plan-options.js";
import { fisher } from "../methods/fisher.js";
import { mergeMethods } from "../methods/index.js";
import { regmean } from "../methods/regmean.js";
import { mergeResources, runMerge } from "../run-merge.js";

/** Weights of more than one chunk, one that lies as [in, out], and some that nothing is known of. */
const shapes: Readonly<Record<string, readonly number[]>> = {
  "model.embed_tokens.weight": [40, 200],
  "model.layers.0.up.weight": [330, 200],
  "model.layers.0.conv.weight": [120, 300],
  "model.layers.0.norm.weight": [200],
};
const names = ["a", "b", "c"] as const;
const folder = mkdtempSync(join(tmpdir(), "lfm-stream-"));
afterAll(() => rmSync(folder, { recursive: true }));
const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const models = Object.fromEntries(
  names.map((n, i) => [
    n,
    Object.fromEntries(
      Object.entries(shapes).map(([key, shape]) => [key, f32(new Rng(i).split(key).normalArray(sizeOf(shape)), [...shape])]),
    ) as Record<string, HostTensor>,
  ]),
);

function gram(seed: number, width: number): HostTensor {
  const x = new Rng(seed).normalArray(3 * width);
  const g = new Float32Array(width * width);
  for (let i = 0; i < width; i++)
    for (let j = 0; j < width; j++) {
      g[i * width + j] = i === j ? 1 : 0;
      for (let r = 0; r < 3; r++) g[i * width + j] = g[i * width + j]! + x[r * width + i]! * x[r * width + j]!;
    }
  return f32(g, [width, width]);
}

const statistics: { readonly fisher: Record<string, FisherStatistics>; readonly gram: Record<string, GramStatistics> } = {
  fisher: {},
  gram: {},
};
beforeAll(async () => {
  for (const [i, n] of names.entries()) {
    mkdirSync(join(folder, n));
    writeFileSync(join(folder, n, "config.json"), '{"architectures": ["TinyForCausalLM"]}');
    await writeSafetensors(join(folder, n, "model.safetensors"), models[n]!);
    const common = { model: await hashWeights(models[n]!), samples: 4 };
    const squares = Object.entries(shapes).map(([key, shape]) => [
      key,
      f32(new Rng(9 + i).split(key).uniformArray(sizeOf(shape)), [...shape]),
    ]);
    statistics.fisher[n] = { kind: "fisher", tensors: Object.fromEntries(squares), estimator: "expected", ...common };
    statistics.gram[n] = {
      kind: "gram",
      tensors: { "model.layers.0.up.weight": gram(i, 200), "model.layers.0.conv.weight": gram(5 + i, 120) },
      layouts: { "model.layers.0.up.weight": "out-in", "model.layers.0.conv.weight": "in-out" },
      rows: { "model.layers.0.up.weight": 3, "model.layers.0.conv.weight": 3 },
      ...common,
    };
    for (const kind of ["fisher", "gram"] as const) await saveStats(join(folder, `${n}.${kind}.safetensors`), statistics[kind][n]!);
  }
});

const file = (path: string): string => (path === "" ? "" : `statistics: ${path}`);
const yaml = (method: string, paths: readonly string[], rest = ""): string =>
  `merge_method: ${method}\nmodels:\n${paths.map((p, i) => `  - { model: ${names[i]}, parameters: { ${file(p)} } }`).join("\n")}\n${rest}`;
const kindOf = { fisher: "fisher", regmean: "gram" } as const;
const all = (method: "fisher" | "regmean"): string[] => names.map((n) => `${n}.${kindOf[method]}.safetensors`);
const plan = (text: string, options: Partial<PlanMergeOptions> = {}): Promise<DocumentPlan> =>
  planMerge(parseMergeConfig(text, { file: "merge.yml" })[0]!, { folder, methods: mergeMethods, ...options });
const hashOf: PlanMergeOptions["hashOf"] = ({ folder: at }) => hashWeights(readWeights(at).weights);

describe("merges with statistics over files", () => {
  it.each([
    ["fisher", "parameters: { normalize: true }", {}],
    ["fisher", "parameters: { normalize: false, floor: 0.001 }", { normalize: false, floor: 0.001 }],
    ["regmean", "parameters: { offDiagonal: 0.8 }", { offDiagonal: 0.8 }],
  ] as const)("%s, %s: the same bytes as in memory, on any number of threads", async (id, rest, config) => {
    const inputs = { models, statistics: statistics[kindOf[id]] };
    const inMemory = await (id === "fisher" ? runMethod(fisher, inputs, config, context) : runMethod(regmean, inputs, config, context));
    for (const threads of [1, 3]) {
      const out = join(folder, `${id}-${threads}`);
      const report = await runMerge(await plan(yaml(id, all(id), rest)), { out, threads, overwrite: true });
      const { weights } = readWeights(out);
      for (const name of Object.keys(shapes)) expect(loadWeight(weights[name]!)).toEqual(inMemory.delta.tensors[name]);
      expect(report.bytesRead).toBeGreaterThan(4 * 3 * Object.values(shapes).reduce((n, s) => n + sizeOf(s), 0));
    }
    expect(loadWeight(readWeights(join(folder, `${id}-1`)).weights["model.layers.0.up.weight"]!)).not.toEqual(
      models.a!["model.layers.0.up.weight"],
    );
  });

  it("says which tensors have statistics, and what was not looked at", async () => {
    const planned = await plan(yaml("regmean", all("regmean")));
    expect(planned.notes).toEqual([
      "regmean: every model has statistics of 2 of 4 tensors; the others are averaged",
      expect.stringContaining('of "a", "b", "c", names and shapes fit'),
    ]);
    const explained = Object.fromEntries(explainMerge(planned).map((t) => [t.tensor, t.models.map((m) => m.statistics)]));
    expect(explained["model.layers.0.up.weight"]).toEqual(all("regmean").map((f) => join(folder, f)));
    expect(explained["model.layers.0.norm.weight"]).toEqual([undefined, undefined, undefined]);
    const check = await checkMerge(planned);
    const grams = 3 * 4 * (200 ** 2 + 120 ** 2);
    expect(check.bytesRead).toBe(3 * check.output!.bytes + grams);
    expect((await plan(yaml("regmean", all("regmean")), { hashOf })).notes).toHaveLength(1);
  });

  it("counts Gram matrices in the memory of a merge", async () => {
    const wide = await plan(yaml("regmean", all("regmean")));
    const width = 6000;
    const tensors = wide.tensors.map((t) => (t.name.endsWith("up.weight") ? { ...t, shape: [10, width] } : t));
    const held = (4 * 3 + 16) * width ** 2;
    expect(() => mergeResources({ ...wide, tensors }, { maxMemory: 2 ** 29 })).toThrow(/do not hold the Gram matrices/);
    const { threads, memoryPerThread } = mergeResources({ ...wide, tensors }, { threads: 3, maxMemory: 3 * 2 ** 30 });
    expect(threads).toBe(2);
    expect(threads * (memoryPerThread + held)).toBeLessThan(3 * 2 ** 30);
  });

  it("starts over where statistics have changed since a merge was stopped", async () => {
    const copy = join(folder, "copy.fisher.safetensors");
    writeFileSync(copy, readFileSync(join(folder, "a.fisher.safetensors")));
    const text = yaml("fisher", [copy, ...all("fisher").slice(1)]);
    const out = join(folder, "resumed");
    const stopped = await runMerge(await plan(text), { out, signal: AbortSignal.abort() }).catch((e: unknown) => e);
    expect(isLfmError(stopped, "ABORTED")).toBe(true);
    await saveStats(copy, { ...statistics.fisher.a!, samples: 5000000 });
    const other = await runMerge(await plan(text), { out, resume: true }).catch((e: unknown) => e);
    expect(isLfmError(other, "PARENT_MISMATCH")).toBe(true);
  });

  it("a merge of slices is only normalised where all are of the same models", async () => {
    const slice = (a: string, b: string): string =>
      `  - sources:\n${[a, b].map((n) => `      - { model: ${n}, layer_range: [0, 1], parameters: { statistics: ${n}.fisher.safetensors } }`).join("\n")}`;
    const text = `merge_method: fisher\nslices:\n${slice("a", "b")}\n${slice("a", "c")}\n`;
    const error = await plan(text).catch((e: unknown) => e);
    expect(isLfmError(error, "CONFIG_INVALID") && error.message).toContain("looks at whole models first");
    expect((await plan(`${text}parameters: { normalize: false }\n`)).tensors.length).toBeGreaterThan(4);
  });
});

describe("statistics that do not fit are refused before anything is written", () => {
  const write = (name: string, change: Pick<Statistics, "tensors">): Promise<void> =>
    saveStats(join(folder, name), { ...statistics.fisher.a!, ...change });
  const [b, c] = ["b.fisher.safetensors", "c.fisher.safetensors"];
  it.each<[string, string, LfmErrorCode, RegExp, RegExp]>([
    [
      "of another kind",
      yaml("fisher", ["a.gram.safetensors", b, c]),
      "CONFIG_INVALID",
      /"a" are of kind gram/,
      /lfm stats fisher a --data/,
    ],
    ["not given", yaml("fisher", ["", b, c]), "CONFIG_INVALID", /no statistics for "a"/, /lfm stats fisher a --data/],
    ["not there", yaml("fisher", ["none.safetensors", b, c]), "FILE_IO", /there is no file .*none\.safetensors/, /relative to/],
    ["no statistics", yaml("fisher", ["a/model.safetensors", b, c]), "FILE_FORMAT", /holds no statistics/, /lfm stats/],
    ["no path", yaml("fisher", ["0.5", b, c]), "CONFIG_INVALID", /merge.yml:2: statistics of "a" are not the path/, /safetensors/],
    ["of other shapes", yaml("fisher", ["shape.safetensors", b, c]), "SHAPE_MISMATCH", /of "a" are \[3\], not \[200\]/, /architecture/],
    [
      "of another architecture",
      yaml("fisher", ["names.safetensors", b, c]),
      "PARENT_MISMATCH",
      /tell of "other", which it does not have/,
      /order/,
    ],
    ["of other weights", yaml("fisher", ["b.fisher.safetensors", b, c]), "PARENT_MISMATCH", /given for "a" were taken with other/, /again/],
    [
      "for all models",
      yaml("fisher", all("fisher"), "parameters: { statistics: x }"),
      "CONFIG_INVALID",
      /yml:6: every model has/,
      /models:/,
    ],
    [
      "stored differently",
      yaml("regmean", ["turned.safetensors", "b.gram.safetensors", "c.gram.safetensors"]),
      "SHAPE_MISMATCH",
      /are \[120,120\], not \[300,300\]/,
      /architecture/,
    ],
  ])("%s", async (_, text, code, message, hint) => {
    await write("shape.safetensors", { tensors: { "model.layers.0.norm.weight": f32([1, 2, 3]) } });
    await write("names.safetensors", { tensors: { other: f32([1]) } });
    await saveStats(join(folder, "turned.safetensors"), { ...statistics.gram.a!, layouts: {} });
    const error = await plan(text, { hashOf }).catch((e: unknown) => e);
    expect(isLfmError(error, code), String(error)).toBe(true);
    expect((error as Error).message).toMatch(message);
    expect((error as { hint?: string }).hint ?? "").toMatch(hint);
    const checked = await checkMerge(parseMergeConfig(text, { file: "merge.yml" })[0]!, { folder, methods: mergeMethods, hashOf });
    expect(checked.problems.map((p) => p.code)).toEqual([code]);
  });

  it("statistics for a method that reads none are a remark", async () => {
    const text = "merge_method: linear\nmodels: [{ model: a, parameters: { weight: 1, statistics: a.fisher.safetensors } }]\n";
    expect((await plan(text)).notes.join()).toContain("statistics has no effect: linear does not use it");
  });
});
