import { readFileSync } from "node:fs";
import { readSafetensors } from "@lfm/formats";
import { describe, expect, it } from "vitest";
import { createVectorIndex, loadVectorIndex } from "./vector-index.js";

const at = (name: string): string => new URL(`../../test/golden/faiss/${name}`, import.meta.url).pathname;
const golden = JSON.parse(readFileSync(at("found.json"), "utf8")) as {
  k: number;
  probes: number;
  ef: number;
  cases: { file: string; factory: string; metric: "l2" | "inner-product"; found: number[][]; scores: number[][] }[];
};
const data = readSafetensors(at("data.safetensors"));
const [vectors, queries] = [data.tensors.vectors!.read(), data.tensors.queries!.read()];

describe.each(golden.cases)("$factory by $metric, trained and filled by faiss", ({ file, factory, metric, found, scores }) => {
  it("finds what faiss finds, with its scores", async () => {
    const index = loadVectorIndex(at(file));
    expect(index.factory).toBe(factory);
    const hits = await index.search(queries, golden.k, { probes: golden.probes, ef: golden.ef });
    for (const [q, row] of hits.entries()) {
      const wanted = scores[q]!.map((s) => (factory === "LSH" ? 1 - (2 * s) / index.dimension : metric === "l2" ? -s : s));
      expect(row).toHaveLength(golden.k);
      row.forEach((hit, i) => {
        expect(hit.score).toBeCloseTo(wanted[i]!, 3);
      });
      // Ids where the scores of neighbours are apart: equal ones come in another order.
      for (const [i, id] of found[q]!.entries()) {
        const apart = [i - 1, i + 1].every((j) => wanted[j] === undefined || Math.abs(wanted[j] - wanted[i]!) > 1e-3);
        if (apart && i < golden.k - 1) expect(row[i]!.id).toBe(String(id));
      }
    }
  });

  it.skipIf(factory.startsWith("HNSW"))("encodes vectors as faiss does: the same vectors, added again, score the same", async () => {
    const index = loadVectorIndex(at(file));
    const ids = index.ids.map((id) => `again ${id}`);
    index.add(ids, vectors);
    for (const row of await index.search(queries, 2 * golden.k, { probes: golden.probes })) {
      const twins = row.filter((hit) => ids.includes(hit.id)).map((hit) => [hit.id.replace("again ", ""), hit.score]);
      const first = new Map(row.map((hit) => [hit.id, hit.score]));
      const pairs = twins.filter(([id]) => first.has(id as string));
      // Signs are equal of many: the last of them may miss their twins.
      expect(pairs.length).toBeGreaterThanOrEqual(factory === "LSH" ? 1 : golden.k - 1);
      for (const [id, score] of pairs) expect(first.get(id as string)).toBe(score);
    }
  });
});

it("an index of our own training is as good as faiss's at the same settings", async () => {
  const exact = createVectorIndex("Flat", 16, { metric: "l2" });
  const ids = Array.from({ length: vectors.shape[0]! }, (_, i) => String(i));
  exact.add(ids, vectors);
  const truth = (await exact.search(queries, golden.k)).map((hits) => new Set(hits.map((hit) => hit.id)));
  const recall = (rows: readonly (readonly string[])[]): number =>
    rows.reduce((sum, row, q) => sum + row.filter((id) => truth[q]!.has(id)).length, 0) / (golden.k * rows.length);
  for (const { factory, metric, found } of golden.cases.filter((c) => c.metric === "l2" && c.factory !== "LSH")) {
    const index = createVectorIndex(factory, 16, { metric, efConstruction: 40 });
    index.train(vectors);
    index.add(ids, vectors);
    const hits = await index.search(queries, golden.k, { probes: golden.probes, ef: golden.ef });
    const [ours, theirs] = [recall(hits.map((row) => row.map((hit) => hit.id))), recall(found.map((row) => row.map(String)))];
    expect(ours, factory).toBeGreaterThan(theirs - 0.06);
  }
});
