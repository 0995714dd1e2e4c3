import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { compareRuns, readRun, renderReport } from "@lfm/bench";
import { createRegistry, type HostTensor, LfmError, loadWeight, Rng, sizeOf } from "@lfm/core";
import { editConflicts, formatEdits, parseEdits, readDocuments, readEdits, readExamples } from "@lfm/data";
import { convertGguf, loadDelta, loadTokenizer, readPeftAdapter, readSafetensors } from "@lfm/formats";
import { loadModel } from "@lfm/models";
import { loadBm25, loadVectorIndex } from "@lfm/retrieval";
import { explainMerge, parseMergeConfig, planMerge, reuseMethods, runMerge } from "@lfm/reuse";
import { fromPeft, tuningMethods } from "@lfm/tuning";
import { fileCheckpoint } from "../../src/outputs/file-checkpoint.js";
import { readPatch } from "../../src/patches/patch.js";
import { readStack } from "../../src/patches/stack.js";
import { RESUMED, vectorFiles } from "./fixtures.js";
import { type Mutation, mutateBytes, mutateJson, mutateMetadata, mutateSafetensors, mutateText } from "./mutations.js";

/** One kind of file, how it is changed, and how it is read. */
export interface Reader {
  readonly name: string;
  /** Puts a changed file among whole ones below `work`. @returns what was done to it */
  change(rng: Rng, fixtures: string, work: string): string;
  /** Reads it as the program would; throws what the reader throws, or an Error where what it hands back cannot be. */
  read(work: string, fixtures: string): Promise<void>;
}

/** A reader of one file of a folder of the fixtures. */
function ofFile(name: string, folder: string, file: string, mutate: (rng: Rng, bytes: Buffer) => Mutation, read: Reader["read"]): Reader {
  return {
    name,
    change: (rng, fixtures, work) => {
      if (folder !== "") cpSync(join(fixtures, folder), join(work, folder), { recursive: true });
      const { what, bytes } = mutate(rng, readFileSync(join(fixtures, folder, file)));
      mkdirSync(dirname(join(work, folder, file)), { recursive: true });
      writeFileSync(join(work, folder, file), bytes);
      return what;
    },
    read,
  };
}

const json = (rng: Rng, bytes: Buffer): Mutation => mutateJson(rng, bytes.toString());
const text = (rng: Rng, bytes: Buffer): Mutation => mutateText(rng, bytes.toString());
/** A line of JSON, or all of them as a text. */
const jsonLines = (rng: Rng, bytes: Buffer): Mutation => {
  const lines = bytes.toString().split("\n");
  const line = rng.int(lines.length - 1);
  if (rng.int(3) === 0) return text(rng, bytes);
  const { what, bytes: changed } = json(rng, Buffer.from(lines[line]!));
  return {
    what,
    bytes: Buffer.concat([
      Buffer.from(
        lines
          .slice(0, line)
          .map((l) => `${l}\n`)
          .join(""),
      ),
      changed,
      Buffer.from(`\n${lines.slice(line + 1).join("\n")}`),
    ]),
  };
};

function whole(tensors: Readonly<Record<string, HostTensor>>): void {
  for (const [name, { shape, data }] of Object.entries(tensors))
    if (data.length !== sizeOf(shape)) throw new Error(`"${name}" has ${data.length} elements, its shape is ${JSON.stringify(shape)}`);
}

const readModel = async (folder: string): Promise<void> => {
  const { model, hash } = await loadModel(folder);
  await hash();
  whole(Object.fromEntries(Object.entries(model.params).map(([name, w]) => [name, loadWeight(w)])));
};

const TEXTS = ["the king", "", "\ud800 x", `${"a".repeat(300)}!`, "日本 é \0", "<pad><s>"];
const readTokenizer = async (folder: string): Promise<void> => {
  const tokenizer = await loadTokenizer(folder);
  for (const t of TEXTS) {
    const { ids } = tokenizer.encode(t);
    const wrong = [...ids].find((id) => !Number.isInteger(id) || id < 0);
    if (wrong !== undefined) throw new Error(`${JSON.stringify(t)} has the id ${wrong}`);
    tokenizer.decode(ids);
  }
};

/** A set of edits: what is read of it says something, and all of it comes back. */
const readWhole = (path: string): void => {
  const records = readEdits(path);
  const kind = path.endsWith("l") ? "jsonl" : "json";
  const again = parseEdits(`again.${kind}`, formatEdits(records, kind));
  const [was, is] = [records, again].map((all) => JSON.stringify(all.map(({ at: _, ...record }) => record)));
  if (was !== is) throw new Error("a set of edits comes back as another");
  const empty = records.find((r) =>
    [r.subject, r.prompt, r.target, ...r.questions.map((q) => q.prompt)].some((text) => text.trim() === ""),
  );
  if (empty) throw new Error(`${empty.at} holds a text that says nothing`);
  editConflicts(records);
};

const finite = (hits: readonly { readonly score: number }[]): void => {
  const wrong = hits.find((hit) => Number.isNaN(hit.score));
  if (wrong) throw new Error("a hit has no score");
};

const reportOf = (folder: string): void => {
  const run = readRun(folder);
  for (const form of Object.values(renderReport(run)))
    if (typeof form !== "string" || form === "") throw new Error("a form of the report is empty");
  compareRuns(run, run);
};

const registry = createRegistry(tuningMethods);
const METADATA = [
  "",
  "null",
  "[]",
  "__proto__",
  "constructor/prototype",
  "tuning/toString",
  "tuning/lora",
  "editing/rome",
  "../x",
  "weights",
  "1e400",
  "-5",
  "abc",
  "10.5",
  "0x5",
];

export const readers: readonly Reader[] = [
  ofFile("safetensors", "llama", "model.safetensors", mutateSafetensors, async (work) => {
    const { tensors } = readSafetensors(join(work, "llama", "model.safetensors"));
    whole(Object.fromEntries(Object.entries(tensors).map(([name, t]) => [name, t.read()])));
  }),
  ofFile("config.json of llama", "llama", "config.json", json, (work) => readModel(join(work, "llama"))),
  ofFile("config.json of bert", "bert", "config.json", json, (work) => readModel(join(work, "bert"))),
  ofFile("index.json", "sharded", "model.safetensors.index.json", json, (work) => readModel(join(work, "sharded"))),
  ofFile("tokenizer.json", "llama", "tokenizer.json", json, (work) => readTokenizer(join(work, "llama"))),
  ofFile("tokenizer_config.json", "llama", "tokenizer_config.json", json, (work) => readTokenizer(join(work, "llama"))),
  ofFile("adapter_config.json", "adapter", "adapter_config.json", json, async (work, fixtures) => {
    whole(readPeftAdapter(join(work, "adapter")).tensors);
    whole(fromPeft(join(work, "adapter"), (await loadModel(join(fixtures, "llama"))).model).tensors);
  }),
  ofFile("adapter_model.safetensors", "adapter", "adapter_model.safetensors", mutateSafetensors, async (work, fixtures) => {
    whole(fromPeft(join(work, "adapter"), (await loadModel(join(fixtures, "llama"))).model).tensors);
  }),
  ofFile(
    "delta.safetensors",
    "delta",
    "delta.safetensors",
    (rng, bytes) => (rng.int(2) === 0 ? mutateMetadata(rng, bytes, METADATA) : mutateSafetensors(rng, bytes)),
    async (work) => whole((await loadDelta(join(work, "delta"), registry)).tensors),
  ),
  ofFile(
    "checkpoint",
    "checkpoint",
    "fuzz.safetensors",
    (rng, bytes) => (rng.int(2) === 0 ? mutateMetadata(rng, bytes, METADATA) : mutateSafetensors(rng, bytes)),
    async (work) => {
      const state = await fileCheckpoint(work, async () => ({}))("fuzz").load();
      if (state && !(Number.isSafeInteger(state.step) && state.step >= 0)) throw new Error(`a checkpoint of step ${state.step}`);
    },
  ),
  ofFile("GGUF", "gguf", "model.gguf", mutateBytes, async (work) => {
    await convertGguf(join(work, "gguf", "model.gguf"), join(work, "converted"));
    await readModel(join(work, "converted"));
  }),
  ofFile("summary.json of a bench", "run", "summary.json", json, async (work) => reportOf(join(work, "run"))),
  ofFile("result of a bench", "run", "results/a1.json", json, async (work) => reportOf(join(work, "run"))),
  ofFile("merge.yml", "", "merge.yml", text, async (work, fixtures) => {
    const documents = parseMergeConfig(readFileSync(join(work, "merge.yml"), "utf8"), { file: "merge.yml" });
    for (const document of documents.slice(0, 3)) explainMerge(await planMerge(document, { folder: fixtures, methods: reuseMethods }));
  }),
  {
    name: "journal",
    change: (rng, fixtures, work) => {
      cpSync(join(fixtures, "stopped.partial"), join(work, "stopped.partial"), { recursive: true });
      const path = join(work, "stopped.partial", ".journal");
      const { what, bytes } = mutateText(rng, readFileSync(path, "utf8"));
      writeFileSync(path, bytes);
      return what;
    },
    read: async (work, fixtures) => {
      const [document] = parseMergeConfig(RESUMED);
      const out = join(work, "stopped");
      await runMerge(await planMerge(document!, { folder: fixtures, methods: reuseMethods }), { out, threads: 1, resume: true });
      const [got, want] = [out, join(fixtures, "merged")].map((folder) => readFileSync(join(folder, "model.safetensors")));
      if (!got!.equals(want!)) throw new Error("a merge that went on gave other bytes");
    },
  },
  ofFile("rows.jsonl", "", "rows.jsonl", jsonLines, async (work) => void readExamples(join(work, "rows.jsonl"))),
  ofFile("rows.csv", "", "rows.csv", text, async (work) => void readExamples(join(work, "rows.csv"))),
  ofFile("rows.tsv", "", "rows.tsv", text, async (work) => void readExamples(join(work, "rows.tsv"))),
  ofFile("edits.json", "", "edits.json", json, async (work) => readWhole(join(work, "edits.json"))),
  ofFile("edits.jsonl", "", "edits.jsonl", jsonLines, async (work) => readWhole(join(work, "edits.jsonl"))),
  ofFile("stack.json", "stack", "stack.json", json, async (work) => {
    for (const { path } of readStack(join(work, "stack")).patches) readPatch(path);
  }),
  ofFile("documents.jsonl", "", "documents.jsonl", jsonLines, async (work) => void readDocuments(join(work, "documents.jsonl"))),
  ofFile("BM25 index", "", "bm25.safetensors", mutateSafetensors, async (work) =>
    finite(loadBm25(join(work, "bm25.safetensors")).search("the king", 3)),
  ),
  ...Object.entries(vectorFiles).map(([file, factory]) =>
    ofFile(`dense index ${factory}`, "", file, mutateSafetensors, async (work) => {
      const index = loadVectorIndex(join(work, file));
      finite((await index.search({ dtype: "f32", shape: [1, 4], data: Float32Array.of(1, 0, 0, 1) }, 3))[0]!);
    }),
  ),
];

export interface Outcome {
  /** What came of it, for counting: `read`, a code, or `flaw`. */
  readonly came: string;
  /** What is wrong about it. */
  readonly flaw?: string;
}

/** Seconds of the processor that one file may take. */
const MOST_SECONDS = 6;

/** Changes and reads file number `i`; the same number is the same change. */
export async function tryFile(i: number, fixtures: string, work: string, begins: (what: string) => void): Promise<Outcome> {
  const reader = readers[i % readers.length]!;
  rmSync(work, { recursive: true, force: true });
  mkdirSync(work, { recursive: true });
  const what = `${i} ${reader.name}: ${reader.change(new Rng(11).split(i), fixtures, work)}`;
  begins(what);
  const began = process.cpuUsage();
  let came = "read";
  let flaw: string | undefined;
  try {
    await reader.read(work, fixtures);
  } catch (error) {
    if (error instanceof LfmError && error.code !== "INTERNAL") came = error.code;
    else flaw = error instanceof Error ? `${error.stack}` : String(error);
  }
  const { user, system } = process.cpuUsage(began);
  if ((user + system) / 1e6 > MOST_SECONDS) flaw ??= `${((user + system) / 1e6).toFixed(1)} s`;
  if ("polluted" in {} || Object.keys(Object.prototype).length > 0) flaw ??= "every object has a new property";
  return flaw === undefined ? { came } : { came: "flaw", flaw: `${what}: ${flaw}` };
}
