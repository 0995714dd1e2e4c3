import { rewriter } from "./charsmap.js";
import { flatten } from "./repair-text.js";
import { template } from "./tokenizer-classes.js";

type Json = Readonly<Record<string, unknown>>;

/** What is white to the tokenizers library: Unicode's property, where JavaScript's `\\s` has U+FEFF and lacks U+0085. */
const WHITE = "[\\t-\\r \\u0085\\u00a0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000]+";

export interface LibraryForm {
  /** A tokenizer.json by which the JavaScript library does what that of Rust does with the original. */
  readonly description: Json;
  /** What is done to a text before. */
  readonly rewrite: (text: string) => string;
}

/**
 * Parts of a definition that the JavaScript library reads otherwise, or not at all, in words that it understands: SentencePiece's map of
 * characters where it comes first, splitting at white space, RoBERTa's two texts of one segment.
 * @throws {LfmError} FILE_FORMAT
 */
export function libraryForm(definition: Json): LibraryForm {
  const [first, ...others] = flatten(definition.normalizer);
  const map = first?.type === "Precompiled" ? first.precompiled_charsmap : undefined;
  const hasMap = typeof map === "string" && map !== "";
  const splits = flatten(definition.pre_tokenizer);
  return {
    description: {
      ...definition,
      ...(hasMap ? { normalizer: sequence("normalizers", others) } : {}),
      ...(splits.some(isWhiteSplit) ? { pre_tokenizer: sequence("pretokenizers", splits.map(splitAtWhite)) } : {}),
      post_processor: oneSegment(definition.post_processor),
    },
    rewrite: hasMap ? rewriter(map) : (text) => text,
  };
}

function sequence(key: "normalizers" | "pretokenizers", steps: readonly Json[]): Json | null {
  return steps.length > 0 ? { type: "Sequence", [key]: steps } : null;
}

function isWhiteSplit(step: Json): boolean {
  return step.type === "WhitespaceSplit";
}

function splitAtWhite(step: Json): Json {
  return isWhiteSplit(step) ? { type: "Split", pattern: { Regex: WHITE }, behavior: "Removed", invert: false } : step;
}

function oneSegment(step: unknown): unknown {
  const { type, cls, sep } = (step ?? {}) as { readonly type?: unknown; readonly cls?: unknown; readonly sep?: unknown };
  if (type !== "RobertaProcessing" || !isToken(cls) || !isToken(sep)) return step;
  const ids = new Map([sep, cls]);
  return template(`${cls[0]} $A ${sep[0]}`, `${cls[0]} $A ${sep[0]} ${sep[0]} $B ${sep[0]}`, (token) => ids.get(token)!);
}

function isToken(value: unknown): value is [string, number] {
  return Array.isArray(value) && typeof value[0] === "string" && typeof value[1] === "number";
}
