import { readFileSync } from "node:fs";
import { join } from "node:path";
import { compile, type Engine, i32, ortEngine, type ParamTree, padRows, sym } from "@lfm/core";
import { countingEngine } from "@lfm/core/testing";
import { readSafetensors } from "@lfm/formats";
import { createGenerator, type Generator, modelFromConfig } from "@lfm/models";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { goldenFixture, goldenFolder } from "./golden-fixture.js";

interface Fixture {
  readonly models: readonly string[];
  readonly maxNewTokens: number;
  readonly cases: Readonly<
    Record<
      string,
      { readonly beams: number; readonly repetitionPenalty: number; readonly ends: 1 | "own" | null; readonly lengthPenalty: number }
    >
  >;
}

const folder = goldenFolder("t5-answers");
const { models, maxNewTokens, cases } = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Fixture;
const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
const NO_TOKEN = 97;

function rows(name: string): number[][] {
  const { shape, data } = tensors[name]!.read();
  const [n, m] = [shape[0]!, shape[1] ?? 1];
  return Array.from({ length: n }, (_, i) => Array.from({ length: m }, (_, j) => Number(data[i * m + j])));
}

const mask = rows("in/mask");
const sources = rows("in/tokens").map((r, b) => r.filter((_, j) => mask[b]![j] === 1));

/** An engine that counts the runs of what reads the source, and of what does not. */
async function watched(): Promise<{ readonly engine: Engine; readonly runs: { source: number; steps: number } }> {
  const inner = countingEngine(await ortEngine({ threads: 1 }));
  const runs = { source: 0, steps: 0 };
  const compileWatched: Engine["compile"] = async (graph, options) => {
    const executable = await inner.compile(graph, options);
    const readsSource = graph.frozen.some(({ name }) => name.includes("encoder.block"));
    return {
      ...executable,
      run: (feeds, into) => {
        runs[readsSource ? "source" : "steps"]++;
        return executable.run(feeds, into);
      },
    };
  };
  return { engine: { ...inner, compile: compileWatched }, runs };
}

describe.each(models)("%s answers as transformers' generate", (name) => {
  const { config, weights } = goldenFixture(name);
  const model = modelFromConfig(config, weights);
  let generator: Generator;
  beforeAll(async () => {
    generator = await createGenerator(await ortEngine({ threads: 1 }), model);
  });
  afterAll(() => generator.dispose());

  it.each(Object.entries(cases))("%s", async (id, { ends, ...options }) => {
    const [[own]] = rows(`${name}/in/eos`) as [[number]];
    const eos = ends === "own" ? own : (ends ?? NO_TOKEN);
    const asked = { ...options, maxNewTokens, eos };
    const found = await generator.generateBatch(sources, asked);
    for (const [b, row] of rows(`${name}/out/${id}`).entries()) {
      const { tokens, finish } = found[b]!;
      const ended = row.indexOf(NO_TOKEN);
      expect(finish === "eos" ? [...tokens, eos] : tokens, `source ${b}`).toEqual(ended < 0 ? row : row.slice(0, ended));
    }
    const last = sources.length - 1;
    expect(await generator.generate(sources[last]!, asked), "alone as together").toMatchObject({ tokens: found[last]!.tokens });
  });

  it("answers that the caller steers are what the whole model says of them", async () => {
    const whole = await compile(
      await ortEngine({ threads: 1 }),
      {
        tokens: { dtype: "i32", shape: [sym("batch"), sym("source")] },
        mask: { dtype: "f32", shape: [sym("batch"), sym("source")] },
        answer: { dtype: "i32", shape: [sym("batch"), sym("target")] },
      },
      ({ answer, ...source }, params: ParamTree) => ({
        logits: model.forward(params, { ...source, decoder: { tokens: answer } }, { mode: "eval" }).logits!,
      }),
      { frozen: model.params },
    );
    const g = await generator.open(sources.slice(0, 3), { room: 2 });
    let asked = [0, 1, 2];
    const check = async (): Promise<void> => {
      const own = g.tokens;
      for (const [b, tokens] of own.entries()) {
        const { logits } = await whole({ ...padRows([sources[asked[b]!]!]), answer: i32(tokens, [1, tokens.length]) });
        const last = (logits.data as Float32Array).slice(-97);
        const worst = Math.max(...g.logits(b).map((v, i) => Math.abs(v - last[i]!)));
        expect(worst, `row ${b} of ${JSON.stringify(own)}`).toBeLessThan(1e-4);
      }
    };
    await check();
    for (const pieces of [
      [[5, 6, 7], [], [8]],
      [[1], [2], [3]],
      [[], [9, 10], []],
    ]) {
      await g.push(pieces);
      await check();
    }
    g.fork([2, 0, 0, 1]);
    asked = [2, 0, 0, 1];
    await g.push([[11], [12], [13], [14]]);
    await check();
    await g.rewind([2, 3, 3, 1]);
    await check();
    await whole.dispose();
  });
});

it("the encoder runs once for an answer of any length, and steps do not know it", async () => {
  const { config, weights } = goldenFixture("t5");
  const { engine, runs } = await watched();
  const generator = await createGenerator(engine, modelFromConfig(config, weights));
  await generator.generateBatch(sources, { maxNewTokens: 9, beams: 2 });
  await generator.dispose();
  expect(runs).toEqual({ source: 1, steps: 9 });
});

it("a model whose config names no token to begin with says so, and takes one that it is given", async () => {
  const { config, weights } = goldenFixture("t5");
  const { decoder_start_token_id: _, ...silent } = config;
  const generator = await createGenerator(await ortEngine({ threads: 1 }), modelFromConfig(silent, weights));
  const asked = { maxNewTokens };
  await expect(generator.generate(sources[0]!, asked)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  const { tokens } = await generator.generate(sources[0]!, { ...asked, answerStart: 0 });
  await generator.dispose();
  expect(tokens).toEqual(rows("t5/out/greedy")[0]);
});
