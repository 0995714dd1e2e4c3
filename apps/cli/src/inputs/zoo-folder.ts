import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { writeTextFile } from "@lfm/formats";
import { loadZoo, type Zoo, zooFolder } from "@lfm/models/zoo";

/** `zoo-lm` as a folder of Hugging Face's form: its own files, so that its hash stays, with its tokenizer: what is merged of it can be asked. */
export async function copyZoo(folder: string): Promise<void> {
  saveZooTokenizer(folder, await loadZoo());
  const [config, weights] = ["lm.config.json", "lm.safetensors"].map((name) => join(zooFolder(), name));
  copyFileSync(config!, join(folder, "config.json"));
  copyFileSync(weights!, join(folder, "model.safetensors"));
}

/**
 * The world's vocabulary as a tokenizer.json. One token is one word between spaces: WordPiece over whole words, without pieces that go on, gives
 * just that, in the tokenizers of JavaScript and of Python.
 */
export function saveZooTokenizer(folder: string, { world: { vocabulary } }: Pick<Zoo, "world">): void {
  const { words, pad, bos, eos, unk } = vocabulary;
  const named = { pad_token: words[pad]!, bos_token: words[bos]!, eos_token: words[eos]!, unk_token: words[unk]! };
  const special = (id: number): object => ({
    id,
    content: words[id],
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const start = { SpecialToken: { id: named.bos_token, type_id: 0 } };
  const text = (id: "A" | "B", type: number): object => ({ Sequence: { id, type_id: type } });
  const tokenizer = {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: [pad, bos, eos].map(special),
    normalizer: null,
    pre_tokenizer: { type: "WhitespaceSplit" },
    post_processor: {
      type: "TemplateProcessing",
      single: [start, text("A", 0)],
      pair: [start, text("A", 0), text("B", 1)],
      special_tokens: { [named.bos_token]: { id: named.bos_token, ids: [bos], tokens: [named.bos_token] } },
    },
    decoder: { type: "WordPiece", prefix: "##", cleanup: false },
    model: {
      type: "WordPiece",
      unk_token: named.unk_token,
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 1000,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])),
    },
  };
  writeTextFile(join(folder, "tokenizer.json"), `${JSON.stringify(tokenizer)}\n`);
  const config = { tokenizer_class: "PreTrainedTokenizerFast", clean_up_tokenization_spaces: false, ...named };
  writeTextFile(join(folder, "tokenizer_config.json"), `${JSON.stringify(config, null, 2)}\n`);
}
