import { type Dirent, readdirSync } from "node:fs";
import { join } from "node:path";

/** Files of the tokenizer of a Hugging Face folder. */
export const TOKENIZER_FILES = [
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "added_tokens.json",
  "vocab.txt",
  "vocab.json",
  "merges.txt",
  "tokenizer.model",
  "spiece.model",
  "sentencepiece.bpe.model",
  "chat_template.jinja",
];

/** One of these lies in every folder that this platform, transformers or PEFT writes. A config alone is no result: somebody wrote it. */
const MARKS =
  /^(adapter_config|adapter_fusion_config|report|index|stack)\.json$|^(model|adapter_model|delta|model-\d+-of-\d+)\.safetensors$|^pytorch_model.*\.bin$|^model\.onnx$/;

const FILES: ReadonlySet<string> = new Set([
  ...TOKENIZER_FILES,
  // this platform
  ...["delta.safetensors", "stack.json", "report.json", "sweep.json", "labels.json", "run.trec", "answers.jsonl", "predictions.jsonl"],
  ...["model.onnx", "model.onnx.data"],
  ...["index.json", "index.safetensors", "passages.jsonl", "mergekit_config.yml", "editor.safetensors"],
  // transformers and its hub
  ...["config.json", "generation_config.json", "model.safetensors", "model.safetensors.index.json"],
  ...["preprocessor_config.json", "processor_config.json", "image_processor.json", "video_preprocessor_config.json"],
  ...["chat_template.json", "spm.model"],
  ...["pytorch_model.bin", "pytorch_model.bin.index.json", "README.md", "LICENSE", "LICENSE.txt", "LICENSE.md", ".gitattributes"],
  // its trainer
  ...["training_args.bin", "trainer_state.json", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "rng_state.pth"],
  ...["all_results.json", "train_results.json", "eval_results.json"],
  // PEFT
  ...["adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"],
  // adapters
  ...["adapter.safetensors", "pytorch_adapter.bin", "head_config.json", "model_head.safetensors", "pytorch_model_head.bin"],
  ...["adapter_fusion_config.json", "model_adapter_fusion.safetensors", "pytorch_model_adapter_fusion.bin"],
  // sentence-transformers
  ...["modules.json", "sentence_bert_config.json", "config_sentence_transformers.json"],
]);
const SHARDS =
  /^(patch-\d{4,}\.safetensors|model-\d+-of-\d+\.safetensors|pytorch_model-\d+-of-\d+\.bin|rng_state_\d+\.pth|events\.out\.tfevents\..+)$/;
/** Checkpoints of a trainer, and modules of sentence-transformers. */
const FOLDERS = /^(checkpoint-\d+|\d+_[A-Z][A-Za-z]+)$/;

/**
 * What of a folder no result of this platform, transformers, PEFT or sentence-transformers would hold: the first such path within it.
 * Undefined where all of it is known; "" where nothing of it says that it is a result at all.
 */
export function foreignEntry(folder: string): string | undefined {
  const entries = readdirSync(folder, { withFileTypes: true });
  if (!entries.some((e) => MARKS.test(e.name) && !e.isDirectory())) return "";
  return foreignAmong(folder, entries);
}

function foreignAmong(folder: string, entries: readonly Dirent[]): string | undefined {
  for (const entry of entries) {
    if (entry.isDirectory()) {
      if (!FOLDERS.test(entry.name)) return `${entry.name}/`;
      const path = join(folder, entry.name);
      const within = foreignAmong(path, readdirSync(path, { withFileTypes: true }));
      if (within !== undefined) return `${entry.name}/${within}`;
    } else if (!FILES.has(entry.name) && !SHARDS.test(entry.name)) return entry.name;
  }
  return undefined;
}
