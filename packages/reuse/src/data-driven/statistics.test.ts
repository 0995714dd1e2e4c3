import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  cast,
  constant,
  expandDims,
  f32,
  gather,
  type HostTensor,
  i32,
  iota,
  isLfmError,
  less,
  loadWeight,
  referenceEngine,
  sym,
} from "@lfm/core";
import { writeSafetensors } from "@lfm/formats";
import { gpt2, initWeights, mlp } from "@lfm/models";
import { afterAll, describe, expect, it } from "vitest";
import { base, probe, tuned } from "../../test/llama-setting.js";
import { gramSites } from "./gram-statistics.js";
import { collectStats, loadStats, saveStats, verifyStats } from "./statistics.js";
import type { TaskProbe } from "./task-probe.js";

const engine = referenceEngine();
const folder = mkdtempSync(join(tmpdir(), "lfm-statistics-"));
afterAll(() => rmSync(folder, { recursive: true }));
const few: TaskProbe = {
  ...probe("a", 0),
  batches: () => ({ tokens: { dtype: "i32", shape: [2, 3], data: Int32Array.of(1, 2, 3, 4, 5, 6) } }),
};
const code = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "finished",
    (e: unknown) => (isLfmError(e) ? e.code : String(e)),
  );
const flat = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
const model = { ...flat, params: { "fc1.weight": f32([0, 0, 0, 0], [2, 2]), "fc1.bias": f32([0, 0]) } };
const rows = (x: readonly number[]): TaskProbe => ({
  name: "rows",
  batch: { x: { dtype: "f32", shape: [sym("batch"), 2] } },
  batches: () => ({ x: f32(x, [x.length / 2, 2]) }),
  input: (batch) => ({ features: batch.x! }),
  logits: (outputs) => outputs.logits!,
});

describe("statistics of a model", () => {
  it("squared gradients, hand-worked: p = ½, ∂ log p₀ = ±½x, so E = ¼x²", async () => {
    const { tensors } = await collectStats(engine, model, rows([1, 2, 3, 0]), { kind: "fisher", samples: 2 });
    const mean = [(1 + 9) / 8, 4 / 8];
    const got = Array.from((tensors["fc1.weight"] as HostTensor).data as Float32Array);
    for (const [i, v] of [...mean, ...mean].entries()) expect(got[i]).toBeCloseTo(v, 6);
    expect(Array.from((tensors["fc1.bias"] as HostTensor).data as Float32Array)).toEqual([0.25, 0.25]);
  });

  it("several rows of logits in an example are one weighted log p: ∂(log p₀ + ½ log p₁) = ±¼x", async () => {
    const twice: TaskProbe = {
      ...rows([1, 2, 3, 0]),
      logits: ({ logits }) => gather(logits!, constant(i32([0, 0])), 0),
      labels: () => constant(i32([0, 1])),
      weights: () => constant(f32([1, 0.5])),
    };
    const { tensors } = await collectStats(engine, model, twice, { kind: "fisher", samples: 2, estimator: "empirical" });
    const mean = [(1 + 9) / 32, 4 / 32];
    const got = Array.from((tensors["fc1.weight"] as HostTensor).data as Float32Array);
    for (const [i, v] of [...mean, ...mean].entries()) expect(got[i]).toBeCloseTo(v, 6);
    expect(await code(collectStats(engine, model, twice, { kind: "fisher", samples: 2 }))).toBe("CONFIG_INVALID");
  });

  it("Gram matrices, hand-worked, and no more examples than were asked for", async () => {
    // (1, 2) and (3, 0): [[10, 2], [2, 4]] / 2; the third row is not read.
    const { tensors, samples } = await collectStats(engine, model, rows([1, 2, 3, 0, 9, 9]), { kind: "gram", samples: 2 });
    expect(Array.from((tensors["fc1.weight"] as HostTensor).data as Float32Array)).toEqual([5, 1, 1, 2]);
    expect(samples).toBe(2);
  });

  it("padding does not count", async () => {
    const counted: TaskProbe = {
      ...probe("a", 0),
      counted: ({ tokens }) => expandDims(cast(less(iota(tokens!.dim(1)), 3), "f32"), 0),
    };
    const cut = probe("a", 0);
    const short: TaskProbe = {
      ...cut,
      batches: (step) => {
        const { tokens } = cut.batches(step);
        const data = Int32Array.from({ length: 9 }, (_, i) => Number(tokens!.data[Math.floor(i / 3) * 5 + (i % 3)]));
        return { tokens: { dtype: "i32", shape: [3, 3], data } };
      },
    };
    const [x, y] = [
      await collectStats(engine, base, counted, { kind: "gram", samples: 3 }),
      await collectStats(engine, base, short, { kind: "gram", samples: 3 }),
    ];
    for (const [name, t] of Object.entries(x.tensors))
      for (const [i, v] of (t as HostTensor).data.entries()) expect(v).toBeCloseTo(Number((y.tensors[name] as HostTensor).data[i]), 4);
  });

  it("leaves out the head that is the embedding, and knows how weights lie", async () => {
    const planned = gpt2({ vocab_size: 11, n_positions: 8, n_embd: 4, n_layer: 1, n_head: 1 });
    expect(gramSites(planned).map((s) => s.path)).not.toContain("lm_head");
    const found = await collectStats(engine, { ...planned, params: initWeights(planned.info, { seed: 1 }) }, few, {
      kind: "gram",
      samples: 2,
    });
    expect(found.layouts["transformer.h.0.mlp.c_proj.weight"]).toBe("in-out");
    expect(found.tensors["transformer.h.0.mlp.c_proj.weight"]!.shape).toEqual([16, 16]);
  });

  it.each(["fisher", "gram"] as const)("%s: a file keeps everything and is read when it is needed", async (kind) => {
    const found = await collectStats(engine, model, rows([1, 2, 3, 0]), { kind, samples: 2 });
    const path = join(folder, `${kind}.safetensors`);
    await saveStats(path, found);
    const read = loadStats(path);
    expect({ ...read, tensors: {} }).toEqual({ ...found, tensors: {} });
    for (const [name, t] of Object.entries(read.tensors)) {
      expect(t).not.toHaveProperty("data");
      expect(loadWeight(t)).toEqual(found.tensors[name]);
    }
    await verifyStats(read, model.params, "a");
    expect(await code(verifyStats(read, tuned(2), "a"))).toBe("PARENT_MISMATCH");
  });

  it("refuses other files, no examples, and labels that are not there", async () => {
    const path = join(folder, "other.safetensors");
    await writeSafetensors(path, model.params);
    expect(() => loadStats(path)).toThrow(expect.objectContaining({ code: "FILE_FORMAT" }));
    expect(await code(collectStats(engine, model, rows([1, 2]), { kind: "gram", samples: 0 }))).toBe("CONFIG_INVALID");
    expect(await code(collectStats(engine, model, rows([1, 2]), { kind: "fisher", estimator: "empirical" }))).toBe("CONFIG_INVALID");
    const stop = AbortSignal.abort();
    expect(await code(collectStats(engine, model, rows([1, 2]), { kind: "fisher", signal: stop }))).toBe("ABORTED");
  });
});
