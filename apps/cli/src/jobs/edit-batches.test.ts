import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type AnyMethod, createRegistry, type Delta, type MethodContext, needs, ortEngine, Rng, runMethod } from "@lfm/core";
import { alphaedit, type EditingOutput, type EditRequest, editingMethods, memit } from "@lfm/editing";
import { loadDelta } from "@lfm/formats";
import { initWeights, llama, loadModel, saveModel } from "@lfm/models";
import { loadZoo } from "@lfm/models/zoo";
import { loadStats } from "@lfm/statistics";
import { afterAll, beforeAll, expect, it } from "vitest";
import { lfmJson, runLfm } from "../../test/run-lfm.js";
import { saveZooTokenizer } from "../inputs/zoo-folder.js";

const folder = mkdtempSync(join(tmpdir(), "lfm-edit-batches-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);
const from = ["--model", at("llama"), "--statistics", at("gram"), "--layers", "0", "--layers", "1", "--steps", "3", "--stop-loss", "0"];

let requests: readonly EditRequest[];
beforeAll(async () => {
  const zoo = await loadZoo();
  const { words } = zoo.world.vocabulary;
  const sizes = { hidden_size: 8, num_hidden_layers: 2, num_attention_heads: 2, intermediate_size: 12, max_position_embeddings: 16 };
  const planned = llama({ ...sizes, vocab_size: words.length });
  await saveModel(at("llama"), { ...planned, params: initWeights(planned.info, { seed: 1, embeddingStd: 0.5 }) });
  saveZooTokenizer(at("llama"), zoo);
  const facts = [0, 1, 2].map((i) => ({ prompt: "say {}", subject: words[20 + i]!, target: words[60 + i]! }));
  for (const [i, name] of ["one", "two"].entries())
    writeFileSync(
      at(`${name}.jsonl`),
      facts
        .slice(0, i + 1)
        .map((f) => JSON.stringify(f))
        .join("\n"),
    );
  writeFileSync(at("third.jsonl"), JSON.stringify(facts[2]));
  const { bos, id } = zoo.world.vocabulary;
  requests = facts.map((f) => ({ prompt: [bos, id("say"), id(f.subject)], subjectEnd: 2, target: [id(f.target)] }));
  writeFileSync(at("texts.jsonl"), facts.map((f) => JSON.stringify({ text: `say ${f.subject} and ${f.target}` })).join("\n"));
  await lfmJson("stats", "gram", at("llama"), "--data", at("texts.jsonl"), "--sites", "down_proj", "--out", at("gram"));
});

/** The same edit without the command line. */
async function direct(
  method: AnyMethod,
  facts: readonly EditRequest[],
  rest: Readonly<Record<string, unknown>>,
  previous: readonly Delta[] = [],
): Promise<Delta> {
  const { model, hash } = await loadModel(at("llama"));
  const [statistics, parent] = [loadStats(at("gram")), await hash()];
  const context: MethodContext = { engine: await ortEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
  const config = { layers: [0, 1], steps: 3, stopLoss: 0, ...rest };
  const output: EditingOutput = await runMethod(method, { model, requests: facts, statistics, parent, previous }, config, context);
  return output.delta;
}

it("a file of facts is one batch, and gives the patch that the method gives; later edits read the keys of earlier ones from their patches", async () => {
  const batch = await lfmJson("edit", "memit", ...from, "--lambda", "1", "--requests", at("two.jsonl"), "--out", at("memit"));
  expect(batch).toMatchObject({ edits: [{ target: expect.any(String) }, { target: expect.any(String) }] });
  const saved = (name: string): Promise<Delta> => loadDelta(at(name), createRegistry(editingMethods));
  const patch = await saved("memit");
  expect(patch.tensors).toEqual((await direct(memit, requests.slice(0, 2), { lambda: 1 })).tensors);
  expect(Object.values(patch.tensors).map((t) => t.shape[0])).toEqual([2, 2, 2, 2]);

  const free = ["--null-share", "0.3", "--l2", "0.001"];
  await lfmJson("edit", "alphaedit", ...from, ...free, "--requests", at("two.jsonl"), "--out", at("first"));
  await lfmJson("edit", "alphaedit", ...from, ...free, "--requests", at("third.jsonl"), "--delta", at("first"), "--out", at("second"));
  const first = await direct(alphaedit, requests.slice(0, 2), { nullShare: 0.3, l2: 0.001 });
  const second = await direct(alphaedit, requests.slice(2), { nullShare: 0.3, l2: 0.001 }, [first]);
  expect((await saved("first")).tensors).toEqual(first.tensors);
  expect((await saved("second")).tensors).toEqual(second.tensors);
  expect([...(await saved("second")).frozen]).toEqual([0, 1].map((l) => `model.layers.${l}.mlp.down_proj.edit.written`));
});

it("refuses layers that do not rise, and a model without a null space, with what to type instead", async () => {
  const refused = async (...argv: string[]): Promise<string> => {
    const { code, err } = await runLfm("edit", ...argv, "--requests", at("one.jsonl"), "--out", at("refused"));
    expect(code).not.toBe(0);
    return err;
  };
  expect(await refused("memit", "--model", at("llama"), "--statistics", at("gram"), "--layers", "1", "--layers", "0")).toContain(
    "layers: 0 1",
  );
  expect(await refused("alphaedit", ...from, "--threshold", "1e-12")).toContain("--null-share 0.02");
});
