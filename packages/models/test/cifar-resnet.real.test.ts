import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { compileModel, f32, ortEngine, sym } from "@lfm/core";
import { loadModel } from "@lfm/models";
import { describe, expect, it } from "vitest";

const pictures = join(process.env.LFM_DATA ?? "", "cifar10/test-2k.bin");
const SIZE = 3 * 32 * 32;
const BATCH = 100;

// Right ones of the first 1,000 pictures, and of all 2,000: those of torch with the same weights.
describe.each([
  ["cifar10-resnet20", 804, 1627],
  ["cifar10-resnet32", 840, 1676],
])("%s", (name, first, all) => {
  const folder = join(process.env.LFM_MODELS ?? "", name);
  const there = process.env.LFM_MODELS !== undefined && existsSync(join(folder, "config.json")) && existsSync(pictures);
  const title = `names ${first} of 1,000 pictures as torch does`;

  it.skipIf(!there)(there ? title : `${title} (skipped: LFM_MODELS has no ${name}, or LFM_DATA no cifar10)`, async () => {
    const { model, config } = await loadModel(folder);
    expect(model.info).toMatchObject({ architecture: "cifar_resnet", task: "classifier", classes: 10 });
    const { image_mean: mean, image_std: std } = config as { readonly image_mean: number[]; readonly image_std: number[] };
    const bytes = readFileSync(pictures);
    const specs = { pixels: { dtype: "f32", shape: [sym("batch"), 3, 32, 32] } } as const;
    const run = await compileModel(await ortEngine({ threads: 1 }), model, specs, (input, params, at) => ({
      logits: at.forward(params, input, { mode: "eval" }).logits!,
    }));
    const right: number[] = [];
    for (let from = 0; from < bytes.length / (SIZE + 1); from += BATCH) {
      const values = Float32Array.from({ length: BATCH * SIZE }, (_, i) => {
        const [picture, at] = [from + Math.floor(i / SIZE), i % SIZE];
        const channel = Math.floor(at / 1024);
        return (bytes[picture * (SIZE + 1) + 1 + at]! / 255 - mean[channel]!) / std[channel]!;
      });
      const { data } = (await run({ pixels: f32(values, [BATCH, 3, 32, 32]) })).logits;
      for (let b = 0; b < BATCH; b++) {
        const row = Array.from((data as Float32Array).subarray(b * 10, b * 10 + 10));
        right.push(row.indexOf(Math.max(...row)) === bytes[(from + b) * (SIZE + 1)] ? 1 : 0);
      }
    }
    await run.dispose();
    const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
    expect([sum(right.slice(0, 1000)), sum(right)]).toEqual([first, all]);
  });
});
