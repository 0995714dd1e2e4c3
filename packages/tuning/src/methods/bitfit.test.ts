import { f32, type Model, ortEngine, Rng, runMethod } from "@lfm/core";
import { bert, mlp } from "@lfm/models";
import { arrayRegression, withBatches } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { goldenModel } from "../../test/golden-case.js";
import { learnedOf } from "../../test/peft-steps.js";
import { bitfit } from "./bitfit.js";

describe("BitFit", () => {
  it("learns a bias as a step of SGD does by hand, and no weight", async () => {
    // y = w·x + b with squared error: ∂L/∂b = 2(y − t) = 2·(0.5·2 + b − 3) = −4 at b = 0.
    const net = mlp({ input_size: 1, hidden_sizes: [], output_size: 1 });
    const model: Model = { ...net, params: { "fc1.weight": f32([0.5], [1, 1]), "fc1.bias": f32([0]) } };
    const hidden: Model = { ...model, info: { ...model.info, sites: model.info.sites.map((s) => ({ ...s, kind: "linear" as const })) } };
    const task = withBatches(arrayRegression("values", "features", [1], 1), () => ({ x: f32([2], [1, 1]), y: f32([3], [1, 1]) }));
    const context = {
      engine: await ortEngine({ threads: 1 }),
      rng: new Rng(1),
      access: ["weights", "grad"] as const,
      log: () => {},
      progress: () => {},
    };
    const { delta } = await runMethod(bitfit, { model: hidden, task }, { steps: 1, lr: 0.1, optimizer: "sgd", trainHead: false }, context);
    expect(Object.keys(delta.tensors)).toEqual(["fc1.bias"]);
    expect(Number(delta.tensors["fc1.bias"]!.data[0])).toBeCloseTo(0.4, 6);
  });

  it("takes the biases of layers and norms, and the head of a classifier unless it is told not to", () => {
    const model = goldenModel("bert-classifier");
    const names = Object.keys(learnedOf(bitfit, model, {}));
    expect(names.filter((name) => !name.endsWith(".bias"))).toEqual(["classifier.weight"]);
    expect(names).toContain("bert.encoder.layer.1.attention.output.LayerNorm.bias");
    expect(names).not.toContain("bert.pooler.dense.bias");
    expect(Object.keys(learnedOf(bitfit, model, { trainHead: false })).some((name) => name.startsWith("classifier"))).toBe(false);
    expect(Object.keys(learnedOf(bitfit, model, { targetModules: ["q", "in"], trainHead: false })).sort()).toEqual(
      [0, 1]
        .flatMap((i) => [`bert.encoder.layer.${i}.attention.self.query.bias`, `bert.encoder.layer.${i}.intermediate.dense.bias`])
        .sort(),
    );
    expect(() => learnedOf(bitfit, goldenModel("llama"), {})).toThrow(/has no biases/);
  });

  it("has the paper's count on BERT-base without its head: 102,144", () => {
    const net = bert({
      architectures: ["BertModel"],
      hidden_size: 768,
      num_hidden_layers: 12,
      num_attention_heads: 12,
      intermediate_size: 3072,
    });
    const shapes = Object.entries(net.info.params).flatMap(([name, { shape }]) =>
      name.endsWith(".bias") ? [[name, f32(new Float32Array(shape[0]!))] as const] : [],
    );
    const learned = learnedOf(bitfit, { ...net, params: Object.fromEntries(shapes) }, {});
    expect(Object.values(learned).reduce((n, t) => n + t.data.length, 0)).toBe(102_144);
  });
});
