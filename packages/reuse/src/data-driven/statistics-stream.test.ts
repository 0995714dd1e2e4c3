import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type FileTensor, f32, type HostTensor, loadWeight, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import { afterAll, describe, expect, it } from "vitest";
import { distance } from "../../test/mlp-setting.js";
import type { MergeTensor } from "../merging/define-merge.js";
import { kernels } from "../merging/kernels.js";
import { nodeIo } from "../merging/node-io.js";
import { openSource } from "../merging/sources.js";
import { tensorRun, type ValueSource } from "../merging/tensor-run.js";
import { fisher, mergeFisher } from "../methods/fisher.js";
import { mergeRegmean, regmean } from "../methods/regmean.js";
import { loadStats, type Statistics, saveStats } from "./statistics.js";

/** More than one chunk: 330 rows of 200. */
const [ROWS, WIDTH] = [330, 200];
const folder = mkdtempSync(join(tmpdir(), "lfm-stream-"));
afterAll(() => rmSync(folder, { recursive: true }));
const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const names = ["a", "b"] as const;
const models = Object.fromEntries(names.map((n, i) => [n, { w: f32(new Rng(i).normalArray(ROWS * WIDTH), [ROWS, WIDTH]) }]));

function gram(seed: number): HostTensor {
  const x = new Rng(seed).normalArray(3 * WIDTH);
  const g = new Float32Array(WIDTH * WIDTH);
  for (let i = 0; i < WIDTH; i++)
    for (let j = 0; j < WIDTH; j++) {
      g[i * WIDTH + j] = i === j ? 1 : 0;
      for (let r = 0; r < 3; r++) g[i * WIDTH + j] = g[i * WIDTH + j]! + x[r * WIDTH + i]! * x[r * WIDTH + j]!;
    }
  return f32(g, [WIDTH, WIDTH]);
}
const statisticsOf = (kind: Statistics["kind"], seed: number): Statistics => ({
  kind,
  tensors: { w: kind === "gram" ? gram(seed) : f32(new Rng(seed).uniformArray(ROWS * WIDTH), [ROWS, WIDTH]) },
  layouts: kind === "gram" ? { w: "out-in" } : {},
  model: "0",
  samples: 1,
  estimator: kind === "gram" ? "" : "expected",
});

describe("merges with statistics over files", () => {
  it.each(["fisher", "gram"] as const)("%s: chunk by chunk from files gives what it gives in memory", async (kind) => {
    const statistics = Object.fromEntries(names.map((n, i) => [n, statisticsOf(kind, 10 + i)]));
    for (const n of names) {
      await writeSafetensors(join(folder, `${n}.safetensors`), models[n]!);
      await saveStats(join(folder, `${n}.${kind}.safetensors`), statistics[n]!);
    }
    const inMemory =
      kind === "fisher"
        ? await runMethod(fisher, { models, statistics }, { normalize: false }, context)
        : await runMethod(regmean, { models, statistics }, {}, context);

    const io = nodeIo(folder);
    const source = (t: FileTensor): ValueSource =>
      openSource(io, { kind: "stored", file: t.file.path, name: "w", position: t.file.offset, dtype: t.dtype, shape: t.shape });
    writeFileSync(join(folder, "out.bin"), new Uint8Array(4 * ROWS * WIDTH));
    const out = io.writer("out.bin");
    // Room for the chunks of two models, of the result and of two statistics, and not for three whole tensors.
    const k = kernels();
    const limit = k.limit;
    k.limit = 6 * 4 * (1 << 15) + 4096;
    let writes = 0;
    const tensor: MergeTensor = tensorRun({
      name: "w",
      shape: [ROWS, WIDTH],
      parameters: {},
      models: names.map((n) => ({
        name: n,
        parameters: {},
        source: source(readSafetensors(join(folder, `${n}.safetensors`)).tensors.w!),
      })),
      base: undefined,
      sink: {
        write: (start, values) => {
          writes++;
          out.write(new Uint8Array(values.buffer, values.byteOffset, values.byteLength), 4 * start);
        },
      },
      rng: new Rng(0),
      totals: [],
    });
    const known = names.map((n) => source(loadStats(join(folder, `${n}.${kind}.safetensors`)).tensors.w as FileTensor));
    try {
      if (kind === "fisher") mergeFisher(tensor, known, { coefficients: [1, 1], weights: [1, 1], floor: 1e-6 });
      else mergeRegmean(tensor, known, "out-in", { offDiagonal: 0.95, ridge: 1e-6 });
    } finally {
      k.limit = limit;
    }
    expect(writes).toBeGreaterThan(1);
    const bytes = new Uint8Array(4 * ROWS * WIDTH);
    io.reader(join(folder, "out.bin")).read(bytes, 0);
    io.close();
    expect(distance(f32(new Float32Array(bytes.buffer), [ROWS, WIDTH]), inMemory.params.w!)).toBeLessThan(1e-6);
    expect(distance(loadWeight(inMemory.params.w!), models.a!.w)).toBeGreaterThan(0.1);
  });
});
