import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { firstNonFinite, isLfmError, loadWeight } from "@lfm/core";
import { contentOf, simulate } from "@lfm/core/testing";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import { bert, initWeights, llama, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runLfm, runLfmWith } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";
import { type MethodRequest, runOneMethod } from "../jobs/run-method.js";
import { runHere } from "../program/run-job.js";

const folder = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "lfm-going-on-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (...names: string[]): string => join(folder, ...names);
const [out, partial] = [at("out"), at("out.partial")];
const saved = join(partial, "checkpoint", "tuning-lora.safetensors");
const small = { hidden_size: 8, num_hidden_layers: 1, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 32 };

beforeAll(async () => {
  const zoo = await loadZoo();
  const { words } = zoo.world.vocabulary;
  for (const [name, seed, rows] of [
    ["a", 1, words.length],
    ["b", 2, words.length],
    ["padded", 3, words.length + 8],
    ["short", 4, words.length - 5],
  ] as const) {
    const model = llama({ ...small, vocab_size: rows });
    await saveModel(at(name), { ...model, params: initWeights(model.info, { seed }) });
    saveZooTokenizer(at(name), zoo);
  }
  // The same words under other ids.
  const turned = llama({ ...small, vocab_size: words.length });
  await saveModel(at("turned"), { ...turned, params: initWeights(turned.info, { seed: 5 }) });
  saveZooTokenizer(at("turned"), zoo);
  const file = at("turned", "tokenizer.json");
  const tokenizer = JSON.parse(readFileSync(file, "utf8")) as { model: { vocab: Record<string, number> } };
  const { vocab } = tokenizer.model;
  [vocab[words[20]!], vocab[words[21]!]] = [vocab[words[21]!]!, vocab[words[20]!]!];
  writeFileSync(file, JSON.stringify(tokenizer));
  for (const classes of [2, 3]) {
    const model = bert({ ...small, vocab_size: words.length, architectures: ["BertForSequenceClassification"], num_labels: classes });
    await saveModel(at(`c${classes}`), { ...model, params: initWeights(model.info, { seed: classes }) });
    saveZooTokenizer(at(`c${classes}`), zoo);
  }
  const rows = (from: number): string =>
    Array.from({ length: 8 }, (_, i) => JSON.stringify({ prompt: `say ${words[20 + i]} :`, completion: words[from + i] })).join("\n");
  writeFileSync(at("one.jsonl"), rows(40));
  writeFileSync(at("two.jsonl"), rows(60));
  writeFileSync(
    at("labels.jsonl"),
    ["LABEL_0", "LABEL_1", "LABEL_0", "LABEL_1"].map((label, i) => JSON.stringify({ text: `say ${words[20 + i]}`, label })).join("\n"),
  );
});

const request = (more: Partial<MethodRequest> = {}, config: object = {}): MethodRequest => ({
  method: "tuning/lora",
  model: at("a"),
  data: at("one.jsonl"),
  config: { r: 2, steps: 8, lr: 0.01, ...config },
  batchSize: 4,
  maxLength: 16,
  seed: 3,
  threads: 1,
  out,
  ...more,
});
/** Runs, and is stopped after so many steps. */
const run = async (asked: MethodRequest, stopAfter = Number.POSITIVE_INFINITY): Promise<string> => {
  const stop = new AbortController();
  let steps = 0;
  const progress = (): void => {
    if (++steps === stopAfter) stop.abort();
  };
  try {
    await runOneMethod(asked, { signal: stop.signal, log: () => {}, progress });
    return "done";
  } catch (error) {
    return isLfmError(error) ? `${error.code} ${error.message} (${error.hint})` : `untyped: ${String(error)}`;
  }
};
const clean = (): void => {
  for (const name of [out, partial]) rmSync(name, { recursive: true, force: true });
};
const delta = (): Buffer => readFileSync(join(out, "delta.safetensors"));

describe("a run that was stopped", () => {
  it("goes on as if it had not been, and further where it shall", async () => {
    clean();
    expect(await run(request())).toBe("done");
    const whole = delta();
    clean();
    expect(await run(request(), 4)).toMatch(/^ABORTED/);
    expect(await run(request())).toBe("done");
    expect(delta().equals(whole)).toBe(true);
    expect(existsSync(partial)).toBe(false);
    clean();
    await run(request({}, { steps: 5 }), 4);
    expect(await run(request())).toBe("done");
    expect(delta().equals(whole)).toBe(true);
  });

  it.each<[string, string, Partial<MethodRequest>, object]>([
    ["another model", "--model holds something else", { model: "b" }, {}],
    ["other data", "--data holds something else", { data: "two.jsonl" }, {}],
    ["validation data", "--valid was not given", { valid: "two.jsonl" }, {}],
    ["another seed", "--seed was 3, and is 9", { seed: 9 }, {}],
    ["another learning rate", "--lr was 0.01, and is 0.0001", {}, { lr: 1e-4 }],
    ["another batch size", "--batch-size was 4, and is 8", { batchSize: 8 }, {}],
    ["another alpha", "--lora-alpha was ", {}, { loraAlpha: 64 }],
    ["another rank", "--r was 2, and is 4", {}, { r: 4 }],
    ["another method", "method was tuning/lora, and is tuning/full", { method: "tuning/full" }, { r: undefined }],
  ])("is not gone on with by %s, and nothing of it is lost", async (_, said, { model, data, valid, ...more }, config) => {
    clean();
    await run(request(), 4);
    const before = contentOf(partial);
    expect(Object.keys(before)).toEqual(["checkpoint/tuning-lora.safetensors"]);
    const other = request({
      ...more,
      ...(model ? { model: at(String(model)) } : {}),
      ...(data ? { data: at(String(data)) } : {}),
      ...(valid ? { valid: at(String(valid)) } : {}),
    });
    const asked = {
      ...other,
      config: Object.fromEntries(Object.entries({ ...other.config, ...config }).filter(([, v]) => v !== undefined)),
    };
    const refused = await run(asked);
    expect(refused).toMatch(/^PARENT_MISMATCH .*stopped at step 4: .*--fresh/);
    expect(refused).toContain(said);
    expect(contentOf(partial)).toEqual(before);
    expect(await run({ ...asked, fresh: true })).toBe("done");
  });

  it("is refused, typed and whole, where its checkpoint is broken or further than it shall get", async () => {
    clean();
    await run(request(), 4);
    const good = readFileSync(saved);
    const { metadata, tensors } = readSafetensors(saved);
    const values = Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, loadWeight(t)]));
    for (const step of ["abc", "", "-5", "1e9", "10.5", "NaN", "Infinity", "0x5", " 7 ", undefined]) {
      const { step: _, ...rest } = metadata;
      await writeSafetensors(saved, values, { metadata: step === undefined ? rest : { ...rest, step } });
      expect(await run(request()), step).toMatch(/^FILE_FORMAT .*no checkpoint.*step.*--fresh/);
    }
    await writeSafetensors(saved, values, { metadata: { step: "4" } });
    expect(await run(request())).toMatch(/^FILE_FORMAT .*of which run/);
    const nan = Object.fromEntries(
      Object.entries(values).map(([name, t]) => [
        name,
        t.dtype === "f32" ? { ...t, data: new Float32Array(t.data.length).fill(Number.NaN) } : t,
      ]),
    );
    await writeSafetensors(saved, nan, { metadata });
    expect(await run(request())).toMatch(/^FILE_FORMAT .*not finite/);
    await writeSafetensors(saved, values, { metadata: { ...metadata, step: "20" } });
    expect(await run(request())).toMatch(/^CONFIG_INVALID .*20 steps are done/);
    for (let i = 0; i < 40; i++) {
      const bytes = Buffer.from(good);
      if (i % 3 === 0) bytes[(i * 131) % 600]! ^= 1 << (i % 8);
      if (i % 3 === 1) bytes.writeBigUInt64LE(BigInt(i * 9973), 0);
      writeFileSync(saved, i % 3 === 2 ? bytes.subarray(0, (i * 977) % bytes.length) : bytes);
      const found = await run(request());
      expect(found, `mutation ${i}`).toMatch(/^(done|FILE_FORMAT|FILE_IO|PARENT_MISMATCH|CONFIG_INVALID|SHAPE_MISMATCH) ?/);
      if (found === "done") rmSync(out, { recursive: true });
      else expect(existsSync(saved)).toBe(true);
    }
    writeFileSync(saved, good);
    await writeSafetensors(saved, values, { metadata: { ...metadata, step: "8" } });
    expect(await run(request())).toBe("done");
  });

  it("keeps what it learned from other jobs in its place", async () => {
    clean();
    await run(request(), 4);
    const before = contentOf(partial);
    for (const argv of [
      ["index", at("one.jsonl")],
      ["retrieve", "bm25", "--documents", at("labels.jsonl"), "--queries", at("labels.jsonl")],
    ])
      expect((await runLfm(...argv, "--out", out)).code).not.toBe(0);
    expect(contentOf(partial)).toEqual(before);
  });

  it("says how it goes on, with --quiet too", async () => {
    clean();
    const stopping = (verb: Parameters<typeof runHere>[0], asked: Parameters<typeof runHere>[1]): ReturnType<typeof runHere> => {
      const stop = new AbortController();
      let steps = 0;
      return runHere(verb, asked, { signal: stop.signal, log: () => {}, progress: () => ++steps === 2 && stop.abort() });
    };
    const argv = ["tune", "lora", "--model", at("a"), "--data", at("one.jsonl"), "--steps", "9", "--out", out, "--quiet"];
    const { code, err } = await runLfmWith(stopping, ...argv);
    expect(code).toBe(130);
    expect(err).toBe(`stopped; what was learned so far is in ${partial}. Go on with the same command:\n  lfm ${argv.join(" ")}\n`);
  });
});

describe("a run that diverges", () => {
  it("saves nothing that is not finite, and says which step and what to do", async () => {
    clean();
    expect(await run(request({}, { lr: 1e39 }))).toMatch(/^CONFIG_INVALID .*Infinity in f32/);
    expect(readdirSync(folder).filter((name) => name.startsWith("out"))).toEqual([]);
    expect(await run(request({}, { lr: 3e38 }))).toMatch(/^NUMERIC_DIVERGED .*step 1 .*--lr.*--fresh/);
    expect(existsSync(out)).toBe(false);
    const kept = Object.entries(readSafetensors(saved).tensors).map(([name, t]) => [name, loadWeight(t)] as const);
    expect(firstNonFinite(Object.fromEntries(kept))).toBeUndefined();
  });
});

it("distillation compares the vocabularies of teacher and student before any work", async () => {
  clean();
  const distil = (teacher: string, student: string, data = "one.jsonl"): Promise<{ code: number; err: string }> =>
    runLfm("distill", "logit-kd", "--teacher", at(teacher), "--student", at(student), "--data", at(data), "--steps", "2", "--out", out);
  expect(await distil("turned", "b")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/tokenizers of teacher and student differ: 20 is/),
  });
  expect(await distil("a", "short")).toMatchObject({
    code: 2,
    err: expect.stringMatching(/student has rows for \d+ tokens, .* tokenizer has \d+/),
  });
  expect(await distil("c3", "c2", "labels.jsonl")).toMatchObject({
    code: 2,
    err: expect.stringContaining("3 classes apart, the student 2"),
  });
  expect(readdirSync(folder).filter((name) => name.startsWith("out"))).toEqual([]);
  expect(await distil("padded", "b")).toMatchObject({ code: 0 });
});

it("every operation of a tuning run on files may be its last", async () => {
  const sandbox = at("sandbox");
  const place = join(sandbox, "out");
  const asked = request({ out: place }, { steps: 2 });
  const once = (): Promise<string> => run(asked);
  const prepare = (): void => rmSync(sandbox, { recursive: true, force: true });
  prepare();
  const { operations, crashes, value } = await simulate(place, undefined, once);
  expect(value).toBe("done");
  const learned = readFileSync(join(place, "delta.safetensors"));
  const names = Object.keys(contentOf(place)).sort();
  expect(crashes.length).toBeGreaterThan(40);
  // All of them are the slow suite's.
  for (const crash of crashes.filter((_, i) => i % 8 === 3)) {
    prepare();
    const told = `${operations[crash.at - 1]} ${crash.half ? "(half)" : ""}`;
    expect((await simulate(place, crash, once)).crashed, told).toBe(true);
    const again = await once();
    expect(again === "done" || again.includes("is there already"), `${told}: ${again}`).toBe(true);
    expect(Object.keys(contentOf(place)).sort(), told).toEqual(names);
    expect(readFileSync(join(place, "delta.safetensors")).equals(learned), told).toBe(true);
    expect(readdirSync(sandbox), told).toEqual(["out"]);
  }
});
