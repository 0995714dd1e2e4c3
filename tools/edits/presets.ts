/**
 * `npm run edits:presets -- METHOD… [--edits 8] [--threads 1]`: what the presets smollm2 of editing methods are chosen by: single edits of SmolLM2-135M on
 * development records of CounterFact (the first quarter of the file, which suite editing-real leaves out), with each of the settings that are tried.
 * Writes docs/results/editing-presets.{json,md}; settings that stand there with as many edits are kept. Needs LFM_DATA and LFM_MODELS.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { createEngine, needs, parseConfig, Rng } from "@lfm/core";
import { readEdits } from "@lfm/data";
import { answerTokens, createAnswerScorer, editingMethods, prepareEditor } from "@lfm/editing";
import { openReal } from "../../apps/bench/src/scenarios/editing/real-model.js";
import { type RecordEdit, recordEdits } from "../../apps/bench/src/scenarios/editing/record-edits.js";
import { keptStatistics } from "./key-statistics.js";

type Config = Readonly<Record<string, unknown>>;

/** Settings that are tried of each method, over its defaults. */
const tried: Readonly<Record<string, readonly Config[]>> = {
  rome: [5, 10, 15, 8, 3].map((layer) => ({ layer })),
  memit: [...[5, 8, 12].map((last) => ({ layers: [4, 3, 2, 1, 0].map((k) => last - k) }))],
};

interface Row {
  readonly method: string;
  readonly config: Config;
  readonly edits: number;
  /** Shares of 100. */
  readonly scores: Readonly<Record<string, number>>;
  readonly msPerEdit: number;
}

const SEED = 11;
/** Kinds of questions by the names of ROME's results. */
const KINDS = { efficacy: "ES", paraphrase: "PS", "same-value": "NS" } as const;
const root = join(import.meta.dirname, "../..");
const target = join(root, "docs/results/editing-presets");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { edits: { type: "string", default: "8" }, threads: { type: "string" } },
});
const { LFM_DATA: data, LFM_MODELS: models } = process.env;
if (data === undefined || models === undefined) throw new Error("set LFM_DATA and LFM_MODELS");
const count = Number(values.edits);
let rows = existsSync(`${target}.json`) ? (JSON.parse(readFileSync(`${target}.json`, "utf8")) as readonly Row[]) : [];

const engine = await createEngine("ort", values.threads === undefined ? {} : { threads: Number(values.threads) });
const real = await openReal({ folders: { data, models } });
const { edits: all } = recordEdits(readEdits(join(data, "counterfact/counterfact-edit-4k.json")), real.base.rules);
const edits = new Rng(SEED).split("presets").sample(all.slice(0, all.length / 4), count);
const scorer = await createAnswerScorer(engine, real.base.model);
const before: (readonly Asked[])[] = [];
for (const edit of edits) before.push(await likelihoods(edit));
for (const method of positionals.length > 0 ? positionals : Object.keys(tried))
  for (const config of tried[method] ?? []) {
    const same = (row: Row): boolean => row.method === method && JSON.stringify(row.config) === JSON.stringify(config);
    if (rows.some((row) => same(row) && row.edits >= count)) continue;
    const row = await measured(method, config);
    console.log(lineOf(row));
    rows = [...rows.filter((other) => !same(other)), row];
    write();
  }
await scorer.dispose();
process.exit();

async function measured(id: string, config: Config): Promise<Row> {
  const method = editingMethods.find((m) => m.id === id);
  if (!method) throw new Error(`no editing method "${id}"`);
  const context = { engine, rng: new Rng(SEED), access: needs, log: () => {}, progress: () => {} };
  const parsed: Config = parseConfig(method, config);
  const layers = Array.isArray(parsed.layers) ? parsed.layers.map(Number) : "ridge" in parsed ? [Number(parsed.layer)] : [];
  const statistics = layers.length > 0 ? { statistics: await keptStatistics(real, layers, context) } : {};
  const editor = await prepareEditor(method, { ...real.inputs, ...statistics }, config, context);
  const sums: Record<string, number[]> = {};
  const add = (name: string, value: number): void => {
    sums[name] = [...(sums[name] ?? []), value];
  };
  let ms = 0;
  for (const [i, edit] of edits.entries()) {
    const began = performance.now();
    const { model } = await editor.edit([edit.request]);
    if (i > 0) ms += performance.now() - began;
    process.stderr.write(`${id} ${JSON.stringify(config)} ${i + 1}/${edits.length} ${((performance.now() - began) / 1000).toFixed(1)} s\n`);
    await scorer.swap(model);
    for (const [k, asked] of (await likelihoods(edit)).entries()) {
      const kind = KINDS[asked.kind as keyof typeof KINDS];
      if (!kind) continue;
      add(kind, asked.answer > asked.rival ? 100 : 0);
      add(`${kind} margin`, asked.answer - asked.rival);
      if (kind === "NS") add("NS kept", asked.said === before[i]![k]!.said ? 100 : 0);
      else add(`${kind} first`, asked.first ? 100 : 0);
    }
    await scorer.swap(real.base.model);
  }
  await editor.dispose();
  const scores = Object.fromEntries(Object.entries(sums).map(([name, all]) => [name, all.reduce((a, b) => a + b, 0) / all.length]));
  return { method: id, config, edits: edits.length, scores, msPerEdit: ms / Math.max(1, edits.length - 1) };
}

interface Asked {
  readonly kind: string;
  /** log p per token. */
  readonly answer: number;
  readonly rival: number;
  /** Whether the answer is what the model names first, token for token behind the right ones. */
  readonly first: boolean;
  /** The first token that it names. */
  readonly said: number;
}

/** What the model at hand makes of the questions of an edit that have a rival. */
async function likelihoods({ probes }: RecordEdit): Promise<readonly Asked[]> {
  const { rules } = real.base;
  const asked = probes.filter((probe) => probe.rival !== undefined);
  const items = asked.flatMap(({ prompt, answer, rival }) => [answerTokens(rules, prompt, answer), answerTokens(rules, prompt, rival!)]);
  const scores = await scorer.score(items);
  const perToken = (i: number): number => scores[i]!.logProbs.reduce((a, b) => a + b, 0) / scores[i]!.logProbs.length;
  return asked.map(({ kind }, i) => ({
    kind,
    answer: perToken(2 * i),
    rival: perToken(2 * i + 1),
    first: items[2 * i]!.answer.every((token, k) => scores[2 * i]!.said[k] === token),
    said: scores[2 * i]!.said[0]!,
  }));
}

function lineOf({ method, config, edits, scores, msPerEdit }: Row): string {
  const shown = (name: string, digits = 1): string => (name in scores ? scores[name]!.toFixed(digits) : "–");
  const settings = Object.entries(config).map(([name, value]) => `${name} ${Array.isArray(value) ? value.join(" ") : String(value)}`);
  const cells = ["ES", "ES first", "PS", "PS first", "NS", "NS kept"].map((name) => shown(name));
  return `| ${[method, settings.join(", "), edits, ...cells, shown("ES margin", 2), shown("PS margin", 2), shown("NS margin", 2), (msPerEdit / 1000).toFixed(1)].join(" | ")} |`;
}

function write(): void {
  writeFileSync(`${target}.json`, `${JSON.stringify(rows, null, 2)}\n`);
  writeFileSync(
    `${target}.md`,
    `${[
      "# Settings of editing methods on SmolLM2-135M",
      "",
      "Written by `npm run edits:presets`: single edits on development records of CounterFact, the first quarter of the file, seed 11; suite editing-real",
      "takes the others. ES, PS, NS: the answer is likelier per token than its rival, after the prompt, a paraphrase, and for a neighbour. First: it is what the",
      "model names, token for token; kept: the neighbour's first token is what it was. Margins are log p per token of the answer less the rival's.",
      "",
      "| method | settings | edits | ES | first | PS | first | NS | kept | ES margin | PS margin | NS margin | s an edit |",
      "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
      ...rows.map(lineOf),
    ].join("\n")}\n`,
  );
}
