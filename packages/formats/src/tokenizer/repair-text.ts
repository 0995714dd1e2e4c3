type Json = Readonly<Record<string, unknown>>;

/** Ideographs beyond 16 bits, by the ranges that BERT puts spaces around. */
const rareIdeographs = /[\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\u{2f800}-\u{2fa1f}]/gu;

/**
 * Where the JavaScript normalizers differ from the tokenizers library, the text is brought into a form on which both agree:
 * BERT's spaces around ideographs miss those beyond 16 bits, and lower case makes a final Σ to ς where the library maps letters one by one.
 * @param definition the content of tokenizer.json
 */
export function textRepair(definition: Json): (text: string) => string {
  const steps = flatten(definition.normalizer);
  const bert = steps.find((s) => s.type === "BertNormalizer");
  const spaced = bert?.handle_chinese_chars === true;
  const lower = bert?.lowercase === true || steps.some((s) => s.type === "Lowercase");
  return (text) => {
    const a = spaced ? text.replace(rareIdeographs, " $& ") : text;
    return lower ? a.replaceAll("Σ", "σ") : a;
  };
}

/** The steps of a normalizer or pre-tokenizer, those inside of sequences too. */
export function flatten(part: unknown): readonly Json[] {
  if (typeof part !== "object" || part === null) return [];
  const step = part as Json;
  const inner = step.normalizers ?? step.pretokenizers;
  return step.type === "Sequence" && Array.isArray(inner) ? inner.flatMap(flatten) : [step];
}
