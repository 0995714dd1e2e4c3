import { type Delta, type Engine, f32, type HostTensor, ortEngine, Rng, withDeltas } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { collectFisher, collectGrams, type Statistics } from "@lfm/statistics";
import { languageModelTask } from "@lfm/train";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type AdaMergingOutput,
  type AdaptedMergeInputs,
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
  type WemoeOutput,
  wemoe,
} from "../src/index.js";
import { answers, base, probe, tokens, tuned } from "./llama-setting.js";
import { loraModule } from "./lora-module.js";
import { deltaThroughBytes, throughBytes } from "./through-bytes.js";

const models = { a: tuned(2), b: tuned(3) };
const tasks = { a: probe("a", 0), b: probe("b", 4) };
const parent = "0".repeat(64);
let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});
afterAll(async () => {
  await engine.dispose();
});

const observe = ({ delta }: { readonly delta: Delta }): Delta => delta;
/** What the base answers, and with the delta on it. */
const asked = {
  of: ({ delta }: { readonly delta: Delta }): Promise<HostTensor> => answers(engine, withDeltas(base, [delta]), tokens(1)),
  base: (): Promise<HostTensor> => answers(engine, base, tokens(1)),
};

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
      inputs: () => ({ models, statistics, parent }),
      observe,
      answers: asked,
      reload: async ({ delta }) => ({ delta: await deltaThroughBytes(method, delta) }),
    });
  });

  it("ada-merging", async () => {
    await conformMethod(adaMerging, {
      engine,
      inputs: () => ({ model: base, models, tasks, parent }),
      config: { steps: 3 },
      observe,
      answers: asked,
      reload: async (output: AdaMergingOutput) => ({ ...output, delta: await deltaThroughBytes(adaMerging, output.delta) }),
    });
  });

  it("regmean-plus-plus", async () => {
    await conformMethod(regmeanPlusPlus, {
      engine,
      inputs: () => ({ model: base, models, tasks, parent }),
      config: { samples: 6 },
      observe,
      answers: asked,
      reload: async ({ delta }: MergeOutput) => ({ delta: await deltaThroughBytes(regmeanPlusPlus, delta) }),
    });
  });

  it("wemoe", async () => {
    await conformMethod(wemoe, {
      engine,
      inputs: (): AdaptedMergeInputs => ({ model: base, models, tasks, parent }),
      config: { steps: 3 },
      observe,
      answers: asked,
      reload: async (output: WemoeOutput) => ({ ...output, delta: await deltaThroughBytes(wemoe, output.delta) }),
    });
  });

  it("smile", async () => {
    await conformMethod(smile, {
      engine,
      inputs: (): SmileInputs => ({ model: base, models, parent }),
      config: { k: 2 },
      observe,
      answers: asked,
      reload: async (output: SmileOutput) => ({ ...output, delta: await deltaThroughBytes(smile, output.delta) }),
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
      observe,
      answers: asked,
      reload: async (output: LoraHubOutput) => {
        const delta: Delta = { ...output.delta, tensors: await throughBytes(output.delta.tensors) };
        return { ...output, delta };
      },
    });
    expect(loraHub.needs).not.toContain("grad");
  });
});
