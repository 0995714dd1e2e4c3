import { describe, expect, it } from "vitest";
import {
  DATASET_NAMES,
  datasetManifest,
  loadClassification,
  loadMnist,
  loadOmniglot,
  loadSciFact,
  loadText,
  showDataset,
} from "./index.js";

const folder = process.env.LFM_DATA ?? "";

// Without the folder there is nothing to count: set LFM_DATA to run these.
describe.skipIf(folder === "")("the real sets (skipped without LFM_DATA)", () => {
  it.each(DATASET_NAMES)("%s has the pinned content", async (name) => {
    const shown = await showDataset(name, { folder });
    expect(shown.states.filter((file) => file.state !== "ok")).toEqual([]);
    expect(shown.complete).toBe(true);
  });

  it.each(["clinc150", "banking77", "snips", "sst2"] as const)("%s has the counted splits", async (name) => {
    const set = await loadClassification(name, { folder });
    const { train, val, test } = set.splits;
    const scope = set.outOfScope;
    expect({
      train: train.length,
      val: val.length,
      test: test.length,
      ...(scope ? { oosTrain: scope.train.length, oosVal: scope.val.length, oosTest: scope.test.length } : {}),
    }).toEqual(datasetManifest(name).counts);
    expect(set.labels).toHaveLength({ clinc150: 150, banking77: 77, snips: 7, sst2: 2 }[name]);
    for (const rows of [train, val, test]) {
      expect(rows.every((row) => row.text !== "" && row.label >= 0 && row.label < set.labels.length)).toBe(true);
      expect(new Set(rows.map((row) => row.label)).size).toBe(set.labels.length);
    }
  });

  it("scifact", async () => {
    const { documents, splits } = await loadSciFact({ folder });
    const judged = (qrels: Readonly<Record<string, Readonly<Record<string, number>>>>): number =>
      Object.values(qrels).reduce((n, docs) => n + Object.keys(docs).length, 0);
    expect({
      documents: documents.length,
      testQueries: splits.test.queries.length,
      testQrels: judged(splits.test.qrels),
      trainQueries: splits.train!.queries.length,
      trainQrels: judged(splits.train!.qrels),
    }).toEqual(datasetManifest("scifact").counts);
    const known = new Set(documents.map((d) => d.id));
    for (const part of [splits.test, splits.train!]) {
      expect(Object.values(part.qrels).every((docs) => Object.keys(docs).every((id) => known.has(id)))).toBe(true);
    }
    const train = new Set(splits.train!.queries.map((q) => q.text));
    expect(splits.test.queries.filter((q) => train.has(q.text))).toEqual([]);
  });

  it.each(["wikitext2", "tinyshakespeare"] as const)("%s", async (name) => {
    const { splits } = await loadText(name, { folder });
    const bytes = Object.fromEntries(Object.entries(splits).map(([split, text]) => [split, Buffer.byteLength(text)]));
    expect(bytes).toEqual(datasetManifest(name).counts);
  });

  it("omniglot keeps alphabets apart", async () => {
    const { splits } = await loadOmniglot({ folder });
    const { train, validation, test } = splits;
    expect({ train: train.length, validation: validation.length, test: test.length, drawingsPerCharacter: 20 }).toEqual(
      datasetManifest("omniglot").counts,
    );
    const alphabets = [train, validation, test].map((characters) => new Set(characters.map((c) => c.alphabet)));
    expect(alphabets.map((set) => set.size)).toEqual([4, 1, 3]);
    expect(new Set(alphabets.flatMap((set) => [...set])).size).toBe(8);
    for (const character of [...train, ...validation, ...test]) {
      expect(character.drawings).toHaveLength(20);
      const share = character.drawings[0]!.reduce((a, b) => a + b, 0) / 784;
      expect(share).toBeGreaterThan(0.005);
      expect(share).toBeLessThan(0.35);
    }
  });

  it("mnist", async () => {
    const { train, test } = (await loadMnist({ folder })).splits;
    expect({ train: train.count, test: test.count }).toEqual(datasetManifest("mnist").counts);
    expect(new Set(train.labels).size).toBe(10);
  });
});
