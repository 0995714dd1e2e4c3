import { isLfmError } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { checkIds } from "./check-ids.js";

describe("ids of a tokenizer.json", () => {
  const vocabulary = (id: unknown): object => ({ model: { vocab: { "<unk>": 0, a: id } }, added_tokens: [] });
  const added = (id: unknown): object => ({ model: { vocab: [["a", -1.5]] }, added_tokens: [{ id, content: "a" }] });

  it.each([1e12, 2 ** 24, -1, 1.5, "1", null, [1], Number.NaN])("are places in a table, not %j", (id) => {
    for (const description of [vocabulary(id), added(id)]) {
      let error: unknown;
      try {
        checkIds("t/tokenizer.json", { ...description });
      } catch (e) {
        error = e;
      }
      expect(isLfmError(error, "FILE_FORMAT") && error.message).toContain('t/tokenizer.json: the token "a" has the id');
    }
  });

  it("and are not asked for where there are none", () => {
    for (const description of [
      vocabulary(2 ** 24 - 1),
      added(7),
      {},
      { model: null, added_tokens: null },
      { model: { vocab: null }, added_tokens: [null] },
    ])
      expect(() => checkIds("tokenizer.json", { ...description })).not.toThrow();
  });
});
