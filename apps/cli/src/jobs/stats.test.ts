import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HostTensor, isLfmError, type LfmError, loadWeight, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { readWeights } from "@lfm/formats";
import { bert, initWeights, llama, loadModel, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { fisher, regmean } from "@lfm/reuse";
import { loadStats } from "@lfm/statistics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";
import type { JobContext } from "../program/job.js";
import { stats } from "./stats.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-stats-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const quiet: JobContext = { log: () => {}, progress: () => {} };
/** The job without its thread. */
const take = async (kind: "fisher" | "gram", model: string, data: string, rest: object = {}): Promise<Record<string, unknown>> => {
  const files = { model: at(model), data: at(data), out: at(`${model}.${kind}.safetensors`) };
  return (await stats({ kind, samples: 256, batchSize: 5, maxLength: 128, overwrite: true, ...files, ...rest }, quiet)).value;
};
const refusal = (...of: Parameters<typeof take>): Promise<LfmError> =>
  take(...of).then(
    () => Promise.reject(new Error("it was accepted")),
    (e: unknown) => (isLfmError(e) ? e : Promise.reject(e)),
  );

/** A subject, what follows it, and an answer. */
let sentenceWords: readonly string[] = [];
beforeAll(async () => {
  const zoo = await loadZoo();
  const { words } = zoo.world.vocabulary;
  const small = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 16 };
  const language = llama({ ...small, vocab_size: words.length });
  for (const [i, name] of ["a", "b"].entries()) {
    await saveModel(at(name), { ...language, params: initWeights(language.info, { seed: i, embeddingStd: 0.5 }) });
    saveZooTokenizer(at(name), zoo);
  }
  const planned = bert({
    ...small,
    vocab_size: words.length,
    architectures: ["BertForSequenceClassification"],
    id2label: { 0: "<l0>", 1: "<l1>" },
    num_labels: 2,
  });
  await saveModel(at("classifier"), { ...planned, params: initWeights(planned.info, { seed: 3, embeddingStd: 0.5 }) });
  saveZooTokenizer(at("classifier"), zoo);
  sentenceWords = [words[20]!, words[40]!, words[60]!];
  const sentence = (i: number): string => `say ${words[20 + (i % 7)]} and ${words[40 + (i % 5)]} :`;
  const lines = (row: (i: number) => object): string => Array.from({ length: 12 }, (_, i) => JSON.stringify(row(i))).join("\n");
  writeFileSync(
    at("facts.jsonl"),
    lines((i) => ({ prompt: sentence(i), completion: `${words[60 + i]} ${words[61 + i]}` })),
  );
  writeFileSync(
    at("labels.jsonl"),
    lines((i) => ({ text: sentence(i), label: `<l${i % 2}>` })),
  );
  writeFileSync(
    at("texts.jsonl"),
    lines((i) => ({ text: sentence(i) })),
  );
});

describe("lfm stats, then lfm merge", () => {
  it.each([
    ["fisher", "fisher", ["--floor", "0.001"], { floor: 0.001 }],
    ["gram", "regmean", ["--off-diagonal", "0.8"], { offDiagonal: 0.8 }],
  ] as const)("%s statistics of two language models: files merge as they do in memory", async (kind, id, flags, config) => {
    const found = await lfmJson("stats", kind, at("a"), "--data", at("facts.jsonl"), "--out", at(`a.${kind}.safetensors`));
    expect(found).toMatchObject({ kind, samples: 12, parent: await (await loadModel(at("a"))).hash() });
    expect(found.estimator).toBe(kind === "fisher" ? "empirical" : undefined);
    await take(kind, "b", "facts.jsonl", { samples: 7, seed: 4 });
    const files = ["a", "b"].map((n) => at(`${n}.${kind}.safetensors`));
    const statistics = { a: loadStats(files[0]!), b: loadStats(files[1]!) };
    expect([statistics.a.samples, statistics.b.samples]).toEqual([12, 7]);
    const models = { a: readWeights(at("a")).weights, b: readWeights(at("b")).weights };
    const context = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
    const inputs = { models, statistics };
    const wanted = await (id === "fisher" ? runMethod(fisher, inputs, config, context) : runMethod(regmean, inputs, config, context));

    const given = ["--model", at("a"), "--model", at("b"), ...files.flatMap((f) => ["--statistics", f]), ...flags];
    const merged = await lfmJson("merge", id, ...given, at(`merged-${id}`));
    expect(merged.notes).toEqual([expect.stringContaining(`${id}: every model has statistics of`)]);
    const { weights } = readWeights(at(`merged-${id}`));
    for (const [name, w] of Object.entries(wanted.delta.tensors)) expect(loadWeight(weights[name]!), name).toEqual(w);

    writeFileSync(
      at(`${id}.yml`),
      `merge_method: ${id}\nmodels:\n${["a", "b"].map((n) => `  - { model: ./${n}, parameters: { statistics: ${n}.${kind}.safetensors } }`).join("\n")}\nparameters: ${JSON.stringify(config)}\n`,
    );
    await lfmJson("merge", at(`${id}.yml`), at(`from-file-${id}`));
    for (const [name, w] of Object.entries(readWeights(at(`from-file-${id}`)).weights))
      expect(loadWeight(w)).toEqual(wanted.delta.tensors[name]);
    expect((await runLfm("merge", id, ...given, "--explain")).out).toContain("with statistics");
    expect(await runLfm("merge", id, ...given, "--check")).toMatchObject({ code: 0, out: expect.stringContaining("✔") });
  });

  it("gram statistics of a file edit as those taken in place, byte for byte", async () => {
    const [facts, file] = [at("facts.jsonl"), at("keys.gram.safetensors")];
    const patch = async (out: string, ...rest: string[]): Promise<Buffer> => {
      const words = sentenceWords;
      const request = ["--prompt", `say {} and ${words[1]} :`, "--subject", words[0]!, "--target", words[2]!, "--steps", "3"];
      await lfmJson("edit", "rome", "--model", at("a"), ...request, ...rest, "--out", at(out));
      return readFileSync(join(at(out), "delta.safetensors"));
    };
    await lfmJson("stats", "gram", at("a"), "--data", facts, "--sites", "down_proj", "--out", file);
    expect(Object.keys(loadStats(file).tensors)).toEqual(["model.layers.0.mlp.down_proj.weight"]);
    expect(await patch("from-file", "--statistics", file)).toEqual(await patch("in-place", "--corpus", facts));
    const refused = (...rest: string[]): Promise<unknown> => patch("refused", ...rest).then(() => "accepted", String);
    await lfmJson("stats", "gram", at("a"), "--data", facts, "--sites", "q_proj", "--out", at("q.gram.safetensors"));
    expect(await refused("--statistics", at("q.gram.safetensors"))).toMatch(/say nothing of .*down_proj[\s\S]*lfm stats gram/);
    await take("gram", "b", "facts.jsonl");
    expect(await refused("--statistics", at("b.gram.safetensors"))).toContain("taken with other weights");
    await take("fisher", "a", "facts.jsonl");
    expect(await refused("--statistics", at("a.fisher.safetensors"))).toContain("lfm stats gram");
    expect(await refused("--statistics", file, "--corpus", facts)).toContain("give one of them");
    expect(await refused()).toContain("--corpus");
  });

  it("reads classifiers, with labels and without, and language models over the labels", async () => {
    const expected = await take("fisher", "classifier", "texts.jsonl");
    expect(expected.estimator).toBe("expected");
    const head = (): HostTensor => loadWeight(loadStats(at("classifier.fisher.safetensors")).tensors["classifier.weight"]!);
    const squares = head();
    expect(squares.shape).toEqual([2, 8]);
    expect((await take("fisher", "classifier", "labels.jsonl", { estimator: "empirical" })).estimator).toBe("empirical");
    expect(head()).not.toEqual(squares);
    await take("gram", "classifier", "texts.jsonl");
    expect(loadStats(at("classifier.gram.safetensors")).tensors["classifier.weight"]!.shape).toEqual([8, 8]);
    expect(await take("fisher", "a", "labels.jsonl", { estimator: "expected" })).toMatchObject({ estimator: "expected", samples: 12 });
  });

  it("refuses what cannot be measured, and statistics of other weights, and leaves nothing behind", async () => {
    await take("fisher", "a", "facts.jsonl");
    const before = readdirSync(folder);
    const [a, facts] = [at("a"), at("facts.jsonl")];
    expect((await refusal("fisher", "a", "facts.jsonl", { estimator: "expected" })).hint).toContain("--estimator empirical");
    expect((await refusal("gram", "a", "facts.jsonl", { estimator: "expected" })).code).toBe("CONFIG_INVALID");
    expect((await refusal("fisher", "a", "facts.jsonl", { tolerance: 0.1 })).hint).toBe("leave --tolerance out");
    expect((await refusal("fisher", "a", "facts.jsonl", { maxLength: 2 })).hint).toBe("--max-length 4");
    expect((await refusal("fisher", "classifier", "facts.jsonl", { estimator: "empirical" })).code).toBe("CONFIG_INVALID");
    expect((await refusal("fisher", "a", "facts.jsonl", { out: folder })).message).toContain("is a folder");
    expect((await refusal("fisher", "a", "facts.jsonl", { overwrite: false })).hint).toContain("--overwrite");
    expect((await refusal("fisher", "a", "facts.jsonl", { out: at("texts.jsonl") })).message).toContain("holds no such result");
    expect((await refusal("fisher", "a", "facts.jsonl", { out: facts })).message).toContain("is read from there");
    expect((await refusal("fisher", "a", "facts.jsonl", { out: join(facts, "x") })).code).toBe("FILE_IO");
    expect(await runLfm("stats", "fisher", a, "--data", facts)).toMatchObject({
      code: 2,
      err: expect.stringContaining("--out is not given"),
    });
    expect(await runLfm("stats", "gramm", a)).toMatchObject({ code: 2, err: expect.stringContaining("fisher, gram") });
    const merge = (...argv: string[]): Promise<{ code: number; err: string }> => runLfm("merge", ...argv, at("out"));
    const own = at("a.fisher.safetensors");
    expect(await merge("fisher", "--model", at("b"), "--statistics", own)).toMatchObject({
      code: 1,
      err: expect.stringContaining("taken with other weights"),
    });
    expect(await merge("fisher", "--model", a, "--model", at("b"), "--statistics", own)).toMatchObject({
      code: 2,
      err: expect.stringContaining("1 --statistics for 2 models"),
    });
    expect(await merge("fisher", "--model", a)).toMatchObject({ code: 2, err: expect.stringContaining("lfm stats fisher") });
    expect(await merge("regmean", "--model", a, "--statistics", own)).toMatchObject({
      code: 2,
      err: expect.stringContaining("lfm stats gram"),
    });
    expect(await merge("average", "--model", a, "--statistics", own)).toMatchObject({
      code: 2,
      err: expect.stringContaining("average reads no statistics"),
    });
    expect(await merge("average", "--model", a, "--verify")).toMatchObject({
      code: 2,
      err: expect.stringContaining("reads no statistics"),
    });
    expect(existsSync(at("out"))).toBe(false);
    expect(readdirSync(folder)).toEqual(before);
  });

  it("Gram matrices that were stopped go on to the same file; another run does not, but with --fresh", async () => {
    const files = { model: at("a"), data: at("facts.jsonl"), out: at("slow.gram.safetensors") };
    const request = { kind: "gram", samples: 256, batchSize: 5, maxLength: 128, ...files } as const;
    const stop = new AbortController();
    const stopping: JobContext = { log: () => {}, progress: ({ done }) => (done >= 5 ? stop.abort() : undefined), signal: stop.signal };
    await expect(stats(request, stopping)).rejects.toMatchObject({ code: "ABORTED" });
    expect(existsSync(`${files.out}.partial`)).toBe(true);
    await expect(stats({ ...request, maxLength: 64 }, quiet)).rejects.toMatchObject({
      code: "PARENT_MISMATCH",
      hint: expect.stringContaining("--fresh"),
    });
    const seen: number[] = [];
    await stats(request, { ...quiet, progress: ({ done }) => seen.push(done) });
    expect(seen[0]).toBe(10);
    await stats({ ...request, out: at("whole.gram.safetensors") }, quiet);
    expect(readFileSync(files.out)).toEqual(readFileSync(at("whole.gram.safetensors")));
    expect(existsSync(`${files.out}.partial`)).toBe(false);
  });

  it("statistics of zoo-lm are those of the weights that a merge reads of it", async () => {
    const own = at("zoo.gram.safetensors");
    await stats({ kind: "gram", model: "zoo-lm", data: at("facts.jsonl"), samples: 4, batchSize: 4, maxLength: 32, out: own }, quiet);
    const { code, err } = await runLfm(
      "merge",
      "regmean",
      "--model",
      "zoo-lm",
      "--statistics",
      own,
      at("zoo-merged"),
      "--dry-run",
      "--verify",
    );
    expect({ code, err }).toMatchObject({ code: 0 });
  });
});
