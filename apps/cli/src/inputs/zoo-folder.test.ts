import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadTokenizer } from "@lfm/formats";
import { loadZoo, zooTokenizer } from "@lfm/models/zoo";
import { expect, it } from "vitest";
import { saveZooTokenizer } from "./zoo-folder.js";

it("the zoo's tokenizer says the same from its folder", async () => {
  const zoo = await loadZoo();
  const folder = mkdtempSync(join(tmpdir(), "lfm-zoo-tokenizer-"));
  saveZooTokenizer(folder, zoo);
  const [own, read] = [zooTokenizer(zoo.world), await loadTokenizer(folder)];
  const { relation, subject, value } = zoo.world.facts[0]!;
  for (const text of [`${relation} ${subject}`, "  what\tnobody knows <l0> . ", "", "unknown-word##s <eos>"]) {
    const ids = own.encode(text, { addSpecialTokens: false }).ids;
    expect(read.encode(text, { addSpecialTokens: false }).ids, text).toEqual(ids);
    expect(read.encode(text).ids).toEqual(own.encode(text).ids);
    expect(read.decode(ids)).toBe(own.decode(ids));
  }
  expect(read.specials).toMatchObject({ pad: 0, bos: 1, eos: 2, unk: 3 });
  expect(read.vocabSize).toBe(own.vocabSize);
  rmSync(folder, { recursive: true });
  expect(read.decode([1, ...own.encode(value).ids, 2], { skipSpecialTokens: true })).toBe(value);
});
