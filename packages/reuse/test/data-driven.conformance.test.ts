import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createRegistry, type Delta, type Engine, f32, type HostTensor, loadWeight, ortEngine, Rng, withDeltas } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { loadDelta, readSafetensors, saveDelta, writeSafetensors } from "@lfm/formats";
import { collectFisher, collectGrams, type Statistics } from "@lfm/statistics";
import { languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AdaMergingOutput,
  adaMerging,
  fisher,
  type LoraHubInputs,
  type LoraHubOutput,
  loraHub,
  type MergeInputs,
  type MergeOutput,
  regmean,
  regmeanPlusPlus,
  type SmileInputs,
  type SmileOutput,
  smile,
  type WemoeInputs,
  type WemoeOutput,
  wemoe,
} from "../src/index.js";
import { base, probe, tokens, tuned } from "./llama-setting.js";
import { loraModule } from "./lora-module.js";

const models = { a: tuned(2), b: tuned(3) };
const tasks = { a: probe("a", 0), b: probe("b", 4) };
const folder = mkdtempSync(join(tmpdir(), "lfm-data-merges-"));
const parent = "0".repeat(64);
let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});
afterAll(async () => {
  rmSync(folder, { recursive: true });
  await engine.dispose();
});

const written = async (name: string, { params }: MergeOutput): Promise<Record<string, HostTensor>> => {
  const path = join(folder, `${name}.safetensors`);
  await writeSafetensors(path, params);
  return Object.fromEntries(Object.entries(readSafetensors(path).tensors).map(([k, t]) => [k, loadWeight(t)]));
};
const reloaded = async (name: string, delta: Delta): Promise<Delta> => {
  await saveDelta(join(folder, name), delta);
  return loadDelta(join(folder, name), createRegistry([smile, wemoe]), { parentHash: parent });
};
const withoutHooks = ({ delta }: { readonly delta: Delta }): unknown => ({ ...delta, hooks: undefined });

describe("the contract of methods", () => {
  it.each([
    ["fisher", fisher],
    ["regmean", regmean],
  ] as const)("%s", async (id, method) => {
    const collect = id === "fisher" ? collectFisher : collectGrams;
    const of = (name: "a" | "b"): Promise<Statistics> =>
      collect(engine, { ...base, params: models[name] }, tasks[name], { samples: 6, model: parent });
    const statistics = { a: await of("a"), b: await of("b") };
    await conformMethod<MergeInputs, MergeOutput, typeof fisher.config>(method, {
      engine,
      inputs: () => ({ models, statistics }),
      observe: ({ params }) => params,
      reload: async (output) => ({ params: await written(id, output) }),
    });
  });

  it("ada-merging", async () => {
    await conformMethod(adaMerging, {
      engine,
      inputs: () => ({ model: base, models, tasks }),
      config: { steps: 3 },
      observe: ({ params }: AdaMergingOutput) => params,
      reload: async (output) => ({ ...output, params: await written("ada-merging", output) }),
    });
  });

  it("regmean-plus-plus", async () => {
    await conformMethod(regmeanPlusPlus, {
      engine,
      inputs: () => ({ model: base, models, tasks }),
      config: { samples: 6 },
      observe: ({ params }: MergeOutput) => params,
      reload: async (output) => ({ params: await written("regmean-plus-plus", output) }),
    });
  });

  it("wemoe", async () => {
    await conformMethod(wemoe, {
      engine,
      inputs: (): WemoeInputs => ({ model: base, models, tasks, parent }),
      config: { steps: 3 },
      observe: withoutHooks,
      reload: async (output: WemoeOutput) => {
        const delta = await reloaded("wemoe", output.delta);
        return { ...output, delta, model: withDeltas(base, [delta]) };
      },
    });
  });

  it("smile", async () => {
    await conformMethod(smile, {
      engine,
      inputs: (): SmileInputs => ({ model: base, models, parent }),
      config: { k: 2 },
      observe: withoutHooks,
      reload: async (output: SmileOutput) => {
        const delta = await reloaded("smile", output.delta);
        return { delta, model: withDeltas(base, [delta]) };
      },
    });
  });

  it("lora-hub", async () => {
    const module = (seed: number): Delta => {
      const rng = new Rng(seed);
      const [a, b] = [f32(rng.normalArray(16), [2, 8]), f32(rng.normalArray(16), [8, 2])];
      return loraModule("model.layers.0.self_attn.q_proj", a, b, 4, parent);
    };
    const task = languageModelTask("few", (step) => ({ tokens: tokens(step), weights: f32(new Float32Array(15).fill(1), [3, 5]) }));
    await conformMethod(loraHub, {
      engine,
      inputs: (): LoraHubInputs => ({ model: base, modules: { a: module(1), b: module(2), c: module(3) }, task }),
      config: { steps: 12 },
      observe: withoutHooks,
      reload: async (output: LoraHubOutput) => {
        const tensors = await written("lora-hub", { params: output.delta.tensors });
        const delta: Delta = { ...output.delta, tensors };
        return { ...output, delta, model: withDeltas(base, [delta]) };
      },
    });
    expect(loraHub.needs).not.toContain("grad");
  });
});
