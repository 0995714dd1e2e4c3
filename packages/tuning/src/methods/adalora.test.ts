import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32, i32, loadWeight, makeDelta, ortEngine, parseConfig, plainWeights, Rng, referenceEngine, runMethod } from "@lfm/core";
import { readPeftAdapter } from "@lfm/formats";
import { initWeights, llama } from "@lfm/models";
import { languageModelTask } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { expectPeftSteps } from "../../test/peft-steps.js";
import { fromPeft, toPeft } from "../peft.js";
import { ranksTakenOff } from "../rank-budget.js";
import { adalora } from "./adalora.js";

const sizes = { vocab_size: 11, hidden_size: 4, intermediate_size: 6, num_hidden_layers: 2, num_attention_heads: 2 };
const model = llama(sizes, initWeights(llama(sizes).info, { seed: 1 }));
const task = languageModelTask("count", () => ({ tokens: i32([1, 2, 3, 4], [1, 4]), weights: f32([1, 1, 1, 1], [1, 4]) }));

describe("AdaLoRA", () => {
  it.each(["adalora-llama", "adalora-gpt2", "adalora-bert"])("five steps as PEFT with its allocator, and its files: %s", async (name) => {
    await expectPeftSteps(adalora, name);
  });

  it("plans a budget that falls by the cube, as by hand", () => {
    const plan = { initR: 4, targetR: 2, tinit: 1, tfinal: 1, deltaT: 1, beta1: 0.85, beta2: 0.85, totalStep: 5 };
    // 3 layers: from 12 to 6; ⌊6 + 6·(2/3)³⌋ = 7, ⌊6 + 6·(1/3)³⌋ = 6.
    expect(ranksTakenOff(plan, 3)).toEqual([-1, -1, 5, 6, 6]);
    expect(ranksTakenOff({ ...plan, deltaT: 3 }, 3)).toEqual([-1, -1, -1, 6, 6]);
    expect(ranksTakenOff({ ...plan, tinit: 0, tfinal: 0, totalStep: 2 }, 3)).toEqual([-1, 6, 6]);
  });

  it("ends with as many ranks as its target asks for, on the layers that need them", async () => {
    const context = {
      engine: await ortEngine({ threads: 1 }),
      rng: new Rng(1),
      access: ["weights", "grad"] as const,
      log: () => {},
      progress: () => {},
    };
    const options = { steps: 6, lr: 0.05, initR: 3, targetR: 1, targetModules: ["q", "out"] };
    const { delta, curves } = await runMethod(adalora, { model, task }, options, context);
    const ranks = Object.entries(delta.tensors).flatMap(([name, t]) => (name.endsWith(".lora_E") ? [t.shape[0]!] : []));
    expect(ranks.reduce((a, b) => a + b, 0)).toBe(4);
    // The penalty is part of the loss: A and B are far from orthonormal at first.
    expect(curves.loss![0]![1] - curves.taskLoss![0]![1]).toBeCloseTo(0.5 * Math.sqrt(3), 1);
    await expect(runMethod(adalora, { model, task }, { ...options, tinit: 6 }, context)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
  });

  it("divides by the rank of the start, and keeps layers in PEFT's files that have no rank left", async () => {
    const [q, v] = ["q_proj", "v_proj"].map((name) => `model.layers.0.self_attn.${name}`) as [string, string];
    const tensors = {
      [`${q}.lora_A`]: f32([1, 2, 3, 4], [1, 4]),
      [`${q}.lora_E`]: f32([0.5], [1, 1]),
      [`${q}.lora_B`]: f32([1, 0, 0, 2], [4, 1]),
    };
    const rankPattern = { [q]: [false, true], [v]: [false, false] };
    const config = parseConfig(adalora, { initR: 2, targetR: 1, loraAlpha: 8, rankPattern, targetModules: [q, v] });
    const delta = makeDelta(adalora, config, tensors);
    const plain = await plainWeights(referenceEngine(), model, [delta]);
    const before = loadWeight(model.params[`${q}.weight`]!).data;
    // α/r·B(E ∘ A) = 4·2·0.5·[1, 2, 3, 4] in the last row.
    for (const i of [0, 1, 2, 3]) expect(Number(plain[`${q}.weight`]!.data[12 + i]) - Number(before[12 + i])).toBeCloseTo(4 * (i + 1), 3);
    const folder = mkdtempSync(join(tmpdir(), "lfm-adalora-"));
    try {
      await toPeft(folder, delta, model);
      const written = readPeftAdapter(folder);
      expect(written.tensors[`${v}.lora_A`]!.shape).toEqual([0, 4]);
      expect(written.config).toMatchObject({ rank_pattern: { [`${q}.lora_E`]: [false, true], [`${v}.lora_E`]: [false, false] } });
      const back = fromPeft(folder, model);
      expect(back.tensors).toEqual(tensors);
      expect(back.config).toMatchObject({ rankPattern, initR: 2 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});
