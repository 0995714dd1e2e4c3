import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Rng } from "@lfm/core";
import { loadClassification, textTasks } from "@lfm/data";
import { loadZoo } from "@lfm/models/zoo";

/** A model and what it learns, as flags of `lfm sweep`. */
export interface Bench {
  readonly name: string;
  readonly what: string;
  readonly metric: string;
  readonly steps: number;
  readonly seeds: readonly number[];
  readonly flags: readonly string[];
}

/** Of the people and sentences that settings are chosen on everywhere; suites have others. */
const SEED = 11;
const BATCH = 16;

/** The zoo's language model learns one task of 256 sentences, a tenth of them labelled wrong. */
export async function decoder(cache: string): Promise<Bench> {
  const zoo = await loadZoo();
  const task = textTasks(zoo.world, { seed: SEED, train: 256 }).find((t) => t.id === "mood")!;
  const rng = new Rng(SEED).split("wrong labels");
  const wrong = new Set(
    rng.sample(
      task.train.map((_, i) => i),
      26,
    ),
  );
  const word = (label: number): string => zoo.world.vocabulary.words[task.labels[label]!]!;
  const rows = (items: typeof task.train, flipped?: ReadonlySet<number>) =>
    items.map(({ text, label }, i) => ({ prompt: text, completion: word(flipped?.has(i) ? 1 - label : label) }));
  return {
    name: "zoo-lm",
    what: "the zoo's language model, 256 sentences of the task mood, a tenth of them labelled wrong, 128 held out; 100 steps",
    metric: "loss",
    steps: 100,
    seeds: [1],
    flags: ["--model", "zoo-lm", ...examples(join(cache, "mood"), rows(task.train, wrong), rows(task.validation.slice(0, 128)))],
  };
}

/** MiniLM learns what reviews think. (150 intents are hardly begun after so few steps.) @returns why not, where it cannot */
export async function encoder(cache: string): Promise<Bench | string> {
  const [models, data] = [process.env.LFM_MODELS, process.env.LFM_DATA];
  const folder = join(models ?? "", "all-MiniLM-L6-v2");
  if (!models || !data || !existsSync(folder)) return "MiniLM: skipped, LFM_MODELS and LFM_DATA name no folders";
  const { labels, splits } = await loadClassification("sst2", { folder: data });
  const rng = new Rng(SEED).split("sst2");
  const rows = (all: readonly { readonly text: string; readonly label: number }[], count: number) =>
    rng.sample(all, count).map(({ text, label }) => ({ text, label: labels[label] }));
  return {
    name: "MiniLM",
    what: "all-MiniLM-L6-v2 with a fresh head, 3,000 phrases of SST-2's training split, 400 of its validation split; 100 steps",
    metric: "loss",
    steps: 100,
    seeds: [1],
    flags: ["--model", folder, "--max-length", "32", ...examples(join(cache, "sst2"), rows(splits.train, 3000), rows(splits.val, 400))],
  };
}

function examples(folder: string, train: readonly object[], valid: readonly object[]): readonly string[] {
  mkdirSync(folder, { recursive: true });
  const write = (name: string, rows: readonly object[]): string => {
    const file = join(folder, name);
    writeFileSync(file, rows.map((row) => `${JSON.stringify(row)}\n`).join(""));
    return file;
  };
  return ["--data", write("train.jsonl", train), "--valid", write("valid.jsonl", valid), "--batch-size", String(BATCH)];
}
