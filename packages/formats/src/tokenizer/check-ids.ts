import { LfmError } from "@lfm/core";

/** No vocabulary has as many tokens; tables are made as long as the largest id. */
const MOST_IDS = 2 ** 24;

/** Whatever it is, however deep: what is wrong is shown in a few words. */
function briefly(value: unknown): string {
  return typeof value === "string" ? JSON.stringify(value.slice(0, 60)) : typeof value === "object" ? "of another kind" : String(value);
}

/**
 * Looks at the ids of a tokenizer.json: what is no place in a table would be one of endless length.
 * @throws {LfmError} FILE_FORMAT naming file and token
 */
export function checkIds(path: string, { model, added_tokens: added }: Readonly<Record<string, unknown>>): void {
  const check = (token: unknown, id: unknown): void => {
    if (typeof id === "number" && Number.isInteger(id) && id >= 0 && id < MOST_IDS) return;
    throw new LfmError("FILE_FORMAT", `[@lfm/formats] ${path}: the token ${briefly(token)} has the id ${briefly(id)}`, {
      hint: `ids are whole numbers from 0 to ${MOST_IDS - 1}`,
    });
  };
  const vocabulary = typeof model === "object" && model !== null && "vocab" in model ? model.vocab : undefined;
  // Unigram models have a list, whose places are the ids.
  if (typeof vocabulary === "object" && vocabulary !== null && !Array.isArray(vocabulary))
    for (const [token, id] of Object.entries(vocabulary)) check(token, id);
  if (Array.isArray(added))
    for (const one of added as readonly unknown[])
      if (typeof one === "object" && one !== null) {
        const { content, id } = one as { readonly content?: unknown; readonly id?: unknown };
        check(content, id);
      }
}
