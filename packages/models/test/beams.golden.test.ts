import { readFileSync } from "node:fs";
import { join } from "node:path";
import { type HostTensor, ortEngine } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { createGenerator, modelFromConfig } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { goldenFixture, goldenFolder } from "./golden-fixture.js";

interface Fixture {
  readonly models: readonly string[];
  readonly beams: number;
  readonly cases: Readonly<
    Record<string, { readonly maxNewTokens: number; readonly lengthPenalty: number; readonly earlyStopping: boolean }>
  >;
}

const folder = goldenFolder("beams");
const { models, beams, cases } = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as Fixture;
const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
const NO_TOKEN = 97;

function rows({ shape, data }: HostTensor): number[][] {
  const [n, m] = [shape[0]!, shape[1]!];
  return Array.from({ length: n }, (_, i) => Array.from({ length: m }, (_, j) => Number(data[i * m + j])));
}

describe.each(models)("%s against transformers' beam search", (name) => {
  const { config, weights } = goldenFixture(name);

  it.each(Object.entries(cases))("%s", async (id, options) => {
    const get = (what: string): HostTensor => tensors[`${name}-${id}/${what}`]!.read();
    const mask = rows(get("in/mask"));
    const prompts = rows(get("in/tokens")).map((r, b) => r.filter((_, j) => mask[b]![j] === 1));
    const [eos] = Array.from(get("in/eos").data, Number);
    const generator = await createGenerator(await ortEngine({ threads: 1 }), modelFromConfig(config, weights));
    const found = await generator.generateBatch(prompts, { ...options, beams, logProbs: true, ...(eos === NO_TOKEN ? {} : { eos: eos! }) });
    const scores = get("out/scores").data;
    for (const [b, row] of rows(get("out/tokens")).entries()) {
      const ended = row.indexOf(NO_TOKEN);
      const wanted = ended < 0 ? row : row.slice(0, ended);
      const { tokens, finish, score, logProbs } = found[b]!;
      expect(finish === "eos" ? [...tokens, eos] : tokens).toEqual(wanted);
      expect(Math.abs(score! - Number(scores[b]))).toBeLessThan(1e-4 * Math.max(1, Math.abs(score!)));
      expect(logProbs).toHaveLength(tokens.length);
      if (finish === "length") {
        const sum = logProbs!.reduce((a, p) => a + p, 0);
        expect(Math.abs(score! - sum / tokens.length ** options.lengthPenalty)).toBeLessThan(1e-4 * Math.max(1, Math.abs(score!)));
      }
      expect((await generator.generate(prompts[b]!, { ...options, beams, eos: eos! })).tokens, "alone as together").toEqual(tokens);
    }
    await generator.dispose();
  });
});
