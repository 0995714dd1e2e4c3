import type { GgufFacts } from "./gguf-facts.js";

/** What a token is, as SentencePiece counts them. */
export const tokenKind = { normal: 1, unknown: 2, control: 3, user: 4, unused: 5, byte: 6 } as const;

/** The words of a file and what is said of them. */
export interface Vocabulary {
  readonly tokens: readonly string[];
  /** One of {@link tokenKind} per token. */
  readonly kinds: readonly number[];
  /** Ids of the special tokens that the file names. */
  readonly ids: { readonly [role in Role]?: number };
  /** Undefined where the file does not say. */
  readonly addBos: boolean | undefined;
  readonly addEos: boolean | undefined;
}

type Role = "bos" | "eos" | "unk" | "pad" | "eot" | "eom" | "sep" | "cls" | "mask";

const idKeys: Readonly<Record<Role, string>> = {
  bos: "bos_token_id",
  eos: "eos_token_id",
  unk: "unknown_token_id",
  pad: "padding_token_id",
  eot: "eot_token_id",
  eom: "eom_token_id",
  sep: "seperator_token_id",
  cls: "cls_token_id",
  mask: "mask_token_id",
};

/**
 * @param size rows of the embedding, which every token has to have
 * @throws {LfmError} FILE_FORMAT for lists that are not as long as one another, tokens without a row, or a special token that is none
 */
export function readVocabulary(facts: GgufFacts, size: number): Vocabulary {
  const key = (name: string): string => `tokenizer.ggml.${name}`;
  const tokens = facts.need(key("tokens"), facts.texts(key("tokens")));
  const kinds = facts.numbers(key("token_type")) ?? tokens.map(() => tokenKind.normal);
  if (kinds.length !== tokens.length) throw facts.fail(`${tokens.length} tokens have ${kinds.length} types`);
  if (tokens.length > size) throw facts.fail(`${tokens.length} tokens have ${size} rows of the embedding`);
  if (new Set(tokens).size !== tokens.length) throw facts.fail(`the token ${JSON.stringify(twice(tokens))} stands twice in the vocabulary`);
  const ids: { [role in Role]?: number } = {};
  for (const [role, name] of Object.entries(idKeys) as [Role, string][]) {
    const id = facts.count(key(name));
    if (id === undefined) continue;
    if (id >= tokens.length) throw facts.fail(`${key(name)} is ${id}; there are ${tokens.length} tokens`);
    ids[role] = id;
  }
  return { tokens, kinds, ids, addBos: facts.flag(key("add_bos_token")), addEos: facts.flag(key("add_eos_token")) };
}

function twice(tokens: readonly string[]): string | undefined {
  const seen = new Set<string>();
  return tokens.find((t) => seen.has(t) || !seen.add(t));
}
