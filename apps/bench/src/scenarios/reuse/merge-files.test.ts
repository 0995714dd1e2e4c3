import { existsSync, readdirSync } from "node:fs";
import { type AnyMethod, type CellOutcome, isLfmError, needs, parseConfig, Rng, referenceEngine } from "@lfm/core";
import { ensemble, mergeMethods, parseMergeConfig, planMerge, reuseMethods } from "@lfm/reuse";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readSuite } from "../../suite.js";
import { type LlamaFiles, writeLlamaFiles } from "./llama-files.js";
import { configuration, mergeFiles } from "./merge-files.js";

const size = { vocab: 64, hidden: 32, intermediate: 48, layers: 2 };
let files: LlamaFiles;
beforeAll(async () => {
  files = await writeLlamaFiles({ progress: () => {} }, size);
});
afterAll(() => files.remove());

const methodOf = (id: string) => mergeMethods.find((m) => m.id === id)!;
const parsed = (method: AnyMethod, config = {}, preset?: string) => parseConfig(method, config, preset);
const run = (method: AnyMethod, config = parsed(method), signal?: AbortSignal): Promise<CellOutcome> =>
  mergeFiles.run(
    { method, config },
    {
      engine: referenceEngine(),
      rng: new Rng(1),
      seed: 1,
      access: needs,
      folders: { data: undefined, models: undefined },
      shared: async (_key, _make, release) => {
        expect(release).toBeTypeOf("function");
        // A cell asks for any type under a key: this one asks for these files.
        return files as never;
      },
      log: () => {},
      progress: () => {},
      ...(signal ? { signal } : {}),
    },
  );

describe("merge-files", () => {
  it("moves each input once for an average, reports what it cost, and leaves nothing", async () => {
    const { metrics } = await run(methodOf("average"));
    const elements = 2 * 64 * 32 + 32 + 2 * (3 * 32 * 32 + 2 * 32 + 3 * 32 * 48);
    expect(metrics.moved!.value).toBe((3 + 1) * 2 * elements);
    expect(metrics.rate!.value).toBeCloseTo(metrics.moved!.value! / 1e3 / metrics.mergeTime!.value!, 6);
    expect(metrics.peakMemory!.value).toBeGreaterThan(30 * 2 ** 20);
    expect(metrics.peakMemory!.value).toBeLessThan(metrics.plannedMemory!.value!);
    expect(readdirSync(files.folder).sort()).toEqual(["base", "model-1", "model-2", "model-3"]);
  });

  it("brings an error of the merge over with its code", async () => {
    const dare = methodOf("dare");
    await expect(run(dare, { ...parsed(dare), density: [0.5, 2, 0.5] })).rejects.toSatisfy((e) => isLfmError(e, "CONFIG_INVALID"));
  });

  it("stops when it is asked to", async () => {
    const stop = new AbortController();
    setTimeout(() => stop.abort(), 50);
    await expect(run(methodOf("ties"), undefined, stop.signal)).rejects.toSatisfy((e) => isLfmError(e, "ABORTED"));
  });

  it("refuses what does not merge from files", async () => {
    await expect(run(ensemble)).rejects.toSatisfy((e) => isLfmError(e, "OP_UNSUPPORTED"));
  });

  it.each(readSuite("reuse").cells.filter((c) => c.scenario === "merge-files"))(
    "plans $method $preset with the cell's options",
    async (cell) => {
      const method = methodOf(cell.method);
      const config = parsed(method, cell.config, cell.preset);
      const [document] = parseMergeConfig(configuration(method, config));
      const plan = await planMerge(document!, { folder: files.folder, methods: reuseMethods });
      const merged = plan.tensors.find((t) => t.name === "lm_head.weight")!;
      expect(merged.method).toBe(method.id);
      expect({ ...merged.models[0]!.parameters, ...merged.parameters }).toEqual(config);
      expect(merged.base !== undefined).toBe(method.merging.base === "required");
    },
  );

  it("takes its folder away", async () => {
    const own = await writeLlamaFiles({ progress: () => {} }, { ...size, layers: 1 });
    own.remove();
    expect(existsSync(own.folder)).toBe(false);
  });
});
