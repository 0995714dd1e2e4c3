import { adamw, add, dropoutAt, f32, gather, type Hook, i32, ortEngine, Rng, reshape, sym, type Tensor } from "@lfm/core";
import { gpt2, initWeights, mlp } from "@lfm/models";
import { arrayClassification, defineTask, fit, languageModeling, modelTraining, withBatches } from "@lfm/train";
import { describe, expect, it } from "vitest";

const training = { optimizer: adamw(), lr: 0.1, rng: new Rng(0) } as const;

describe("a fit of a model on a task", () => {
  it("shows hooks the tensors of the batch: every example trains its own shift", async () => {
    const config = { input_size: 2, hidden_sizes: [], output_size: 2 };
    const model = mlp(config, { "fc1.weight": f32([0, 0, 0, 0], [2, 2]), "fc1.bias": f32([0, 0]) });
    const shape = arrayClassification("routed", "features", [2]);
    const routed = defineTask({ ...shape, batch: { ...shape.batch, tenant: { dtype: "i32", shape: [sym("batch")] } } });
    const x = f32([1, 1, 1, 1], [2, 2]);
    // The examples are equal but for their tenants, and so must be what tells their classes apart.
    const task = withBatches(routed, () => ({ x, labels: i32([0, 1]), tenant: i32([1, 0]) }));
    const what = {
      learned: { shifts: f32([0, 0, 0, 0], [2, 2]) },
      hooks: (t: { readonly shifts?: Tensor }): Hook[] => [
        { matches: (s) => s.path === "fc1", output: (y, _x, _s, { batch }) => add(y, gather(t.shifts!, batch!.tenant!)) },
      ],
    };
    const { params, curves } = await fit({ ...training, ...modelTraining(model, task, what), engine: await ortEngine(), steps: 30 });
    const [a, b, c, d] = params.shifts!.data as Float32Array;
    expect(b! - a!).toBeGreaterThan(2);
    expect(c! - d!).toBeGreaterThan(2);
    expect(curves.loss!.at(-1)![1]).toBeLessThan(0.1);
  });

  it("without the model's dropout keeps that of hooks", async () => {
    const config = { vocab_size: 11, n_positions: 8, n_embd: 8, n_layer: 1, n_head: 2 };
    const model = gpt2(config, initWeights(gpt2(config).info, { seed: 1 }));
    const tokens = i32([1, 2, 3, 4], [1, 4]);
    const batch = { tokens, weights: f32([1, 1, 1, 1], [1, 4]), scored: i32([0, 1, 2]) };
    const task = withBatches(languageModeling("words"), () => batch);
    const losses = async (dropout: boolean, rate: number): Promise<Set<number>> => {
      const hooks = (): Hook[] => [{ matches: (s) => s.kind === "block", output: (y, _x, _s, context) => dropoutAt(y, rate, context) }];
      const parts = modelTraining(model, task, { learned: { unused: f32([0]) }, hooks, dropout });
      const loss: typeof parts.loss = (params, b, context) => {
        const found = parts.loss(params, b, context);
        return { ...found, loss: add(found.loss, reshape(params.unused!, [])) };
      };
      const { curves } = await fit({ ...training, ...parts, loss, lr: 1e-9, engine: await ortEngine(), steps: 4 });
      return new Set(curves.loss!.map(([, v]) => Math.round(v * 1e5)));
    };
    expect((await losses(false, 0)).size).toBe(1);
    expect((await losses(true, 0)).size).toBe(4);
    expect((await losses(false, 0.5)).size).toBe(4);
  });
});
