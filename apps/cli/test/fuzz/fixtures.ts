import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { f32, Rng } from "@lfm/core";
import { killedAt } from "@lfm/core/testing";
import { saveDelta, writePeftAdapter, writeSafetensors, writeSharded } from "@lfm/formats";
import { initWeights, llama, modelFromConfig, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { buildBm25, createVectorIndex } from "@lfm/retrieval";
import { parseMergeConfig, planMerge, reuseMethods, runMerge } from "@lfm/reuse";
import { fromPeft } from "@lfm/tuning";
import { saveZooTokenizer } from "../../src/inputs/zoo-folder.js";
import { patchesIn, writeStack } from "../../src/patches/stack.js";

/** Indexes over vectors by the names of their files. */
export const vectorFiles = {
  "flat.safetensors": "Flat",
  "graph.safetensors": "HNSW2,SQ8,RFlat",
  "lists.safetensors": "IVF2,PQ2",
  "signs.safetensors": "LSH",
} as const;

/** Whole files of every kind that is read, small, for mutations to begin with. */
export async function writeFixtures(folder: string): Promise<void> {
  const at = (...names: string[]): string => join(folder, ...names);
  const zoo = await loadZoo();
  const sizes = { hidden_size: 8, intermediate_size: 12, num_hidden_layers: 2, num_attention_heads: 2 };
  const config = { ...sizes, vocab_size: zoo.world.vocabulary.size };
  for (const [seed, name] of ["llama", "other"].entries()) {
    await saveModel(at(name), llama(config, initWeights(llama(config).info, { seed })));
    saveZooTokenizer(at(name), zoo);
  }
  const classes = {
    ...config,
    model_type: "bert",
    max_position_embeddings: 32,
    architectures: ["BertForSequenceClassification"],
    id2label: { 0: "bad", 1: "good" },
  };
  await saveModel(at("bert"), modelFromConfig(classes, initWeights(modelFromConfig(classes).info, { seed: 2 })));
  saveZooTokenizer(at("bert"), zoo);
  const model = llama(config, initWeights(llama(config).info, { seed: 0 }));
  mkdirSync(at("sharded"));
  await writeSharded(at("sharded"), model.params, { maxShardBytes: 4000 });
  cpSync(at("llama", "config.json"), at("sharded", "config.json"));
  const draw = (name: string, shape: readonly number[]): ReturnType<typeof f32> =>
    f32(new Rng(3).split(name).normalArray(shape.reduce((a, b) => a * b, 1)), [...shape]);
  const site = "model.layers.0.self_attn.q_proj";
  await writePeftAdapter(at("adapter"), {
    config: { peft_type: "LORA", r: 2, lora_alpha: 4, target_modules: ["q_proj"], rank_pattern: {}, alpha_pattern: { "layers.1.*": 8 } },
    tensors: { [`${site}.lora_A.weight`]: draw("a", [2, 8]), [`${site}.lora_B.weight`]: draw("b", [8, 2]) },
  });
  await saveDelta(at("delta"), fromPeft(at("adapter"), model));
  await writeSafetensors(at("checkpoint", "fuzz.safetensors"), { "params/w": draw("w", [4, 4]) }, { metadata: { step: "7" } });
  const passages = ["the king is kind", "a queen says so", "nobody knows the road", "the road is long"].map((text, i) => ({
    id: `p${i}`,
    text,
  }));
  await buildBm25(passages).save(at("bm25.safetensors"));
  for (const [name, factory] of Object.entries(vectorFiles)) {
    const index = createVectorIndex(factory, 4);
    index.train(draw("training", [300, 4]));
    index.add(
      passages.map((p) => p.id),
      draw("vectors", [4, 4]),
    );
    await index.save(at(name));
  }
  writeFileSync(at("documents.jsonl"), passages.map((p) => `${JSON.stringify(p)}\n`).join(""));
  const rows = passages.map(({ text }, i) => ({ text, label: i % 2 === 0 ? "good" : "bad" }));
  writeFileSync(at("rows.jsonl"), rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
  for (const [extension, comma] of [
    ["csv", ","],
    ["tsv", "\t"],
  ] as const)
    writeFileSync(at(`rows.${extension}`), [`text${comma}label`, ...rows.map((r) => `"${r.text}"${comma}${r.label}`)].join("\n"));
  const edits = editFixtures();
  writeFileSync(at("edits.json"), JSON.stringify(edits));
  writeFileSync(at("edits.jsonl"), edits.map((edit) => `${JSON.stringify(edit)}\n`).join(""));
  mkdirSync(at("stack"));
  writeStack(at("stack"), { parent: null, patches: patchesIn(at("delta")) });
  writeFileSync(at("merge.yml"), MERGE);
  mkdirSync(at("gguf"));
  cpSync(join(import.meta.dirname, "../../../../packages/models/test/golden/gguf/llama.gguf"), at("gguf", "model.gguf"));
  writeBenchRun(at("run"));
  await stoppedMerge(folder);
}

/** A record of every form. */
function editFixtures(): readonly object[] {
  const question = { prompt: "the queen of Bo", ground_truth: [["Ada", "Cy"]] };
  const rewrite = {
    prompt: "{} is",
    relation_id: "P1",
    subject: "Bo",
    target_new: { str: "kind", id: "Q1" },
    target_true: { str: "long", id: "" },
  };
  return [
    {
      case_id: 1,
      requested_rewrite: rewrite,
      paraphrase_prompts: ["Bo, the"],
      neighborhood_prompts: ["Cy is"],
      generation_prompts: ["Bo says"],
    },
    {
      subject: "Bo",
      src: "who is Bo?",
      pred: "a",
      rephrase: "Bo is who?",
      alt: "the king",
      answers: ["a queen"],
      loc: "nq",
      loc_ans: "road",
    },
    { subject: "Bo", prompt: "Bo is", target_new: "long", portability: { Reasoning: [question] }, locality: { Forgetfulness: [question] } },
    { subject: "Bo", prompt: "Bo is", target_new: "long", ground_truth: "kind", rephrase_prompt: "Bo was", locality: { n: question } },
    { subject: "Bo", prompt: "the road of {} is", target: "long", truth: ["kind"], relation: "road" },
  ];
}

/** A run of a bench: its summary, and a file for each of two cells. */
function writeBenchRun(folder: string): void {
  const machine = { cpu: "c", cores: 2, memoryBytes: 1e9, platform: "linux", node: "v20.19.0" };
  const versions = { core: "0.1.0" };
  const accuracy = { value: 0.5, unit: "fraction", higherIsBetter: true };
  const cells = [0, 1].map((seed) => ({
    hash: `a${seed}`,
    ...{ paradigm: "tuning", method: "lora", model: "zoo-lm", task: "mood", headline: "accuracy", seed, status: "ok", access: ["weights"] },
    metrics: { accuracy },
    retention: { of: "accuracy on the base tasks", before: 0.9, after: 0.8, kept: 0.89 },
    ...{
      trainableParams: 10,
      bytes: 40,
      queries: 0,
      dataUsed: 8,
      wallMs: 5,
      setupMs: null,
      peakRssBytes: 1e6,
      security: null,
      monitors: [],
    },
  }));
  mkdirSync(join(folder, "results"), { recursive: true });
  for (const cell of cells)
    writeFileSync(
      join(folder, "results", `${cell.hash}.json`),
      JSON.stringify({
        schema: 1,
        ...cell,
        ...{
          config: { r: 2 },
          phasesMs: { train: 4 },
          curves: { loss: [[1, 2]] },
          modelHash: null,
          dataHash: null,
          engine: "ort",
          versions,
          machine,
        },
      }),
    );
  const paper = { title: "LoRA", arxiv: "2106.09685", year: 2021, survey: "3.1 weight engineering" };
  const summary = {
    ...{
      schema: 1,
      suite: "quick",
      summary: "s",
      engine: "ort",
      seeds: [0, 1],
      started: "2026-01-01T00:00:00.000Z",
      wallMs: 10,
      machine,
      versions,
    },
    tasks: [{ paradigm: "tuning", id: "mood", model: "zoo-lm", summary: "t", headline: "accuracy" }],
    methods: [{ paradigm: "tuning", id: "lora", summary: "m", paper }],
    cells,
    pending: [],
  };
  writeFileSync(join(folder, "summary.json"), JSON.stringify(summary));
}

/** A configuration with most of what one can have. */
const MERGE = `merge_method: dare_ties
base_model: llama
slices:
  - sources:
      - { model: llama, layer_range: [0, 2] }
      - model: other
        layer_range: [0, 2]
        parameters:
          weight: [{ filter: mlp, value: [0, 0.5, 1] }, { value: 0.7 }]
          density: &density 0.5
      - { model: llama+adapter, layer_range: [0, 2], parameters: { weight: 0.3, density: *density } }
parameters: { normalize: true, int8_mask: true, lambda: 1.1 }
dtype: float32
out_dtype: bfloat16
tokenizer: { source: union, tokens: { the: { source: other, force: true } } }
chat_template: chatml
`;

/** The configuration whose merge is gone on with. */
export const RESUMED =
  "merge_method: linear\nmodels:\n  - { model: llama, parameters: { weight: 1 } }\n  - { model: other, parameters: { weight: 2 } }\n";

/** `merged` and, stopped half way, `stopped.partial`. */
async function stoppedMerge(folder: string): Promise<void> {
  const [document] = parseMergeConfig(RESUMED);
  const plan = await planMerge(document!, { folder, methods: reuseMethods });
  await runMerge(plan, { out: join(folder, "merged"), threads: 1 });
  const journal = (): number => readFileSync(join(folder, "stopped.partial", ".journal"), "utf8").split("\n").length;
  for (let n = 30; ; n++) {
    const last = await killedAt(folder, n, "before", () => runMerge(plan, { out: join(folder, "stopped"), threads: 1 }));
    if (last?.kind === "append" && journal() > 8) return;
  }
}
