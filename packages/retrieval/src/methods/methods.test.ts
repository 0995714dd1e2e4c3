import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32, type Method, Rng, referenceEngine, runMethod } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import type { Run } from "@lfm/data";
import { readTrecRun, writeTrecRun } from "@lfm/data";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { z } from "zod";
import { generatorAnswerer, searchRetriever } from "../answerers.js";
import { buildBm25, loadBm25 } from "../index/bm25-index.js";
import type { SearchInputs, SearchOutput } from "../inputs.js";
import type { TextEncoder } from "../text-encoder.js";
import { loadVectorIndex } from "../vectors/vector-index.js";
import { approximate } from "./approximate.js";
import { bm25 } from "./bm25.js";
import { bm25f } from "./bm25f.js";
import { flat } from "./flat.js";
import { hybrid } from "./hybrid.js";
import { retrievalMethods } from "./index.js";
import { queryLikelihood } from "./query-likelihood.js";
import { fillPrompt, type RagAnswer, rag } from "./rag.js";
import { rm3 } from "./rm3.js";

const engine = referenceEngine();
let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "lfm-retrieval-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const passages = [
  { id: "1", title: "Cats", text: "cats chase mice" },
  { id: "2", text: "dogs chase cats" },
  { id: "3", text: "the moon is made of rock" },
];
const queries = [
  { id: "a", text: "who chases mice" },
  { id: "b", text: "rock of the moon" },
  { id: "c", text: "cats" },
];
/** Counts of the letters a to z. */
const letters: TextEncoder = {
  encode: async (texts) =>
    f32(
      texts.flatMap((text) =>
        Array.from({ length: 26 }, (_, i) => [...text.toLowerCase()].filter((c) => c.charCodeAt(0) === 97 + i).length),
      ),
      [texts.length, 26],
    ),
};
const context = { engine, rng: new Rng(1), access: ["labels", "activations"] as const, log: () => {}, progress: () => {} };
const seen = ({ run }: { readonly run: Run }): unknown => [...run];

describe("the methods keep the contract", () => {
  it("bm25", async () => {
    await conformMethod(bm25, {
      engine,
      inputs: () => ({ passages, queries }),
      observe: (output) => seen(output),
      reload: async ({ index }) => {
        await index.save(join(folder, "bm25"));
        const again = loadBm25(join(folder, "bm25"));
        return { run: new Map(queries.map((q) => [q.id, again.search(q.text, 1000)])), index: again };
      },
    });
  });

  it("flat", async () => {
    await conformMethod(flat, {
      engine,
      inputs: () => ({ passages, queries, encoder: letters }),
      config: { batch: 1 },
      observe: (output) => seen(output),
      reload: async ({ index }) => {
        await index.save(join(folder, "flat"));
        const again = loadVectorIndex(join(folder, "flat"));
        const found = await again.search(await letters.encode(queries.map((q) => q.text)), 1000, { engine });
        return { run: new Map(queries.map((q, i) => [q.id, found[i]!])), index: again };
      },
    });
  });

  it("approximate", async () => {
    await conformMethod(approximate, {
      engine,
      inputs: () => ({ passages, queries, encoder: letters }),
      config: { batch: 1, index: "HNSW4,SQ8,RFlat" },
      observe: (output) => seen(output),
      reload: async ({ index }) => {
        await index.save(join(folder, "approximate"));
        const again = loadVectorIndex(join(folder, "approximate"));
        const found = await again.search(await letters.encode(queries.map((q) => q.text)), 100);
        return { run: new Map(queries.map((q, i) => [q.id, found[i]!])), index: again };
      },
    });
  });

  it("bm25f, query-likelihood and rm3", async () => {
    const conform = <Index, Schema extends z.ZodObject>(method: Method<SearchInputs, SearchOutput<Index>, Schema>): Promise<unknown> =>
      conformMethod(method, {
        engine,
        inputs: () => ({ passages, queries }),
        observe: (output) => seen(output),
        reload: async ({ run, index }) => {
          writeTrecRun(join(folder, "run"), run);
          return { run: readTrecRun(join(folder, "run")), index };
        },
      });
    await conform(bm25f);
    await conform(queryLikelihood);
    await conform(rm3);
  });

  it("hybrid", async () => {
    const { run: first } = await runMethod(bm25, { passages, queries }, {}, context);
    const { run: second } = await runMethod(flat, { passages, queries, encoder: letters }, {}, context);
    await conformMethod(hybrid, {
      engine,
      inputs: () => ({ first, second }),
      observe: (output) => seen(output),
      instant: true,
      reload: async ({ run }) => {
        writeTrecRun(join(folder, "run"), run);
        return { run: readTrecRun(join(folder, "run")) };
      },
    });
  });

  it("rag", async () => {
    const index = buildBm25(passages);
    await conformMethod(rag, {
      engine,
      inputs: () => ({
        questions: queries,
        retrieve: searchRetriever(passages, (text, k) => index.search(text, k)),
        answer: async (prompts: readonly string[]) => prompts.map((prompt) => prompt.split(" ").at(-1)!),
      }),
      config: { batch: 1 },
      observe: (answers) => answers,
      reload: async (answers) => JSON.parse(JSON.stringify(answers)) as readonly RagAnswer[],
    });
  });

  it("are listed", () => {
    expect(retrievalMethods.map((method) => method.id)).toEqual([
      "bm25",
      "bm25f",
      "query-likelihood",
      "rm3",
      "flat",
      "approximate",
      "hybrid",
      "rag",
    ]);
  });
});

describe("bm25 and flat find", () => {
  it("by words", async () => {
    const { run } = await runMethod(bm25, { passages, queries }, {}, context);
    expect(run.get("a")!.map((hit) => hit.id)).toEqual(["1", "2"]);
    expect(run.get("b")!.map((hit) => hit.id)).toEqual(["3"]);
  });

  it("by likelihood, by fields, and by words of what was found first", async () => {
    const idsOf = ({ run }: { readonly run: Run }, query: string): string[] => run.get(query)!.map((hit) => hit.id);
    const words = idsOf(await runMethod(bm25, { passages, queries }, {}, context), "a");
    expect(idsOf(await runMethod(queryLikelihood, { passages, queries }, {}, context, "jelinek-mercer"), "a")).toEqual(words);
    // "Cats" stands in the title of 1 alone.
    expect(idsOf(await runMethod(bm25f, { passages, queries }, { title: 9, b: 0 }, context), "c")).toEqual(["1", "2"]);
    const own = await runMethod(rm3, { passages, queries }, { originalWeight: 1 }, context);
    expect(idsOf(own, "a")).toEqual(words);
  });

  it("by vectors, with every passage ranked", async () => {
    const { run } = await runMethod(flat, { passages, queries, encoder: letters }, {}, context);
    expect(run.get("b")!).toHaveLength(3);
    expect(run.get("b")![0]!.id).toBe("3");
  });

  it("by a graph or by lists what exact search finds, where they look at everything", async () => {
    const inputs = { passages, queries, encoder: letters };
    const { run } = await runMethod(flat, inputs, {}, context);
    for (const index of ["HNSW4", "IVF2,Flat", "LSH,RFlat"]) {
      const found = await runMethod(approximate, inputs, { index, rescore: 3 }, context);
      expect([...found.run], index).toEqual([...run]);
    }
    await expect(runMethod(approximate, inputs, { index: "tree" }, context)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it("refuses queries that share an id", async () => {
    await expect(runMethod(bm25, { passages, queries: [...queries, queries[0]!] }, {}, context)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
    });
  });
});

describe("rag", () => {
  const index = buildBm25(passages);
  const inputs = {
    questions: [{ id: "q", text: "cats" }],
    retrieve: searchRetriever(passages, (text, k) => index.search(text, k)),
    answer: async (prompts: readonly string[]) => prompts.map((prompt) => (prompt.includes("mice") ? "seen" : "blind")),
  };

  it("puts the best passage next to the question, or first", async () => {
    const [last] = await runMethod(rag, inputs, { order: "best-last", template: "{passages} | {question}", separator: "; " }, context);
    expect(last!.prompt).toBe("dogs chase cats; Cats cats chase mice | cats");
    expect(last!.passages).toEqual(["2", "1"]);
    const [first] = await runMethod(rag, inputs, { passages: 1 }, context, "plain");
    expect(first!.prompt).toBe("Cats cats chase mice cats");
    expect(first!.answer).toBe("seen");
  });

  it("asks without retrieval when no passage is wanted", async () => {
    const [alone] = await runMethod(rag, inputs, { passages: 0 }, context, "plain");
    expect(alone).toEqual({ id: "q", answer: "blind", passages: [], prompt: "cats" });
  });

  it("fills a template once: slots inside texts stay", () => {
    expect(fillPrompt("{passages}/{question}", "", [{ id: "x", text: "{question} $&" }], "{passages}")).toBe("{question} $&/{passages}");
  });

  it("refuses a template without its slots, and an answerer that loses prompts", async () => {
    await expect(runMethod(rag, inputs, { template: "{question}" }, context)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    await expect(runMethod(rag, { ...inputs, answer: async () => [] }, {}, context)).rejects.toMatchObject({ code: "SHAPE_MISMATCH" });
  });

  it("takes a generator with its tokenizer", async () => {
    const answerer = generatorAnswerer(
      { generate: async (prompt, { maxNewTokens, eos }) => ({ tokens: [...prompt.slice(0, maxNewTokens), eos as number] }) },
      { encode: (text) => ({ ids: [...text].map((c) => c.charCodeAt(0)) }), decode: (ids) => String.fromCharCode(...ids) },
      () => ({ maxNewTokens: 4, eos: 10 }),
    );
    expect(await answerer(["abcdef", " x"])).toEqual(["abcd", "x"]);
  });
});
