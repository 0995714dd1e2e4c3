import { LfmError } from "@lfm/core";
import type { UncheckedConfig } from "./architectures/parse-config.js";

/** The most of what a model has of a kind, far above any that there is. */
const MOST = {
  /** Each layer and each expert is declared, and that takes memory. */
  layers: 4096,
  experts: 4096,
  /** Tables are made of these while a model is described or traced. */
  heads: 2 ** 16,
  rows: 2 ** 31 - 1,
  size: 2 ** 24,
} as const;
/** Layers times experts: the largest mixtures have some ten thousands. */
const MOST_PLACES = 2 ** 18;

/** Keys of Hugging Face's configs by what they count, the first that fits. */
const KINDS: readonly (readonly [keyof typeof MOST, RegExp])[] = [
  ["layers", /(^|_)layers?$|^n_layer$|^depths?$|^widths$|^hidden_sizes$/],
  ["experts", /experts?$/],
  ["heads", /(^|_)(heads?|head_dim|kv|buckets|distance)$/],
  ["rows", /(^|_)(vocab_size|positions|position_embeddings|length)$/],
  ["size", /(^|_)(size|sizes|dim|embd|inner|labels|channels|classes|ff|model)$/],
];

/**
 * Looks at the numbers of a config before anything is made of them: 10¹⁵ layers would be declared one by one.
 * @throws {LfmError} CONFIG_INVALID naming the key
 */
export function checkBounds(config: UncheckedConfig): void {
  const counts = { layers: 1, experts: 1 };
  for (const [key, value] of Object.entries(config)) {
    const kind = KINDS.find(([, names]) => names.test(key))?.[0];
    if (kind === undefined) continue;
    // A list has an entry for each layer, whose values are sizes.
    const entries = Array.isArray(value) ? value.length : undefined;
    const count = typeof value === "number" ? value : entries;
    const most = entries === undefined ? MOST[kind] : MOST.layers;
    if (count === undefined) continue;
    if (count > most) throw tooMany(`${key}: ${entries === undefined ? count : `${count} entries`} of ${most} at most`, key);
    const large = Array.isArray(value) ? value.find((v) => typeof v === "number" && v > MOST.size) : undefined;
    if (large !== undefined) throw tooMany(`${key}: ${String(large)} of ${MOST.size} at most`, key);
    if (kind === "layers" || kind === "experts") counts[kind] = Math.max(counts[kind], count);
  }
  if (counts.layers * counts.experts > MOST_PLACES)
    throw tooMany(`${counts.experts} experts in each of ${counts.layers} layers: ${MOST_PLACES} of both at most`, "experts");
}

function tooMany(what: string, key: string): LfmError {
  return new LfmError("CONFIG_INVALID", `[@lfm/models] config.json, ${what}`, {
    hint: "no model is that large: is the file whole?",
    details: { key },
  });
}
