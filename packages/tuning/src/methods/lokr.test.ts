import {
  compile,
  f32,
  type HostTensor,
  makeDelta,
  type ParamTree,
  parseConfig,
  plainWeights,
  Rng,
  referenceEngine,
  withDeltas,
} from "@lfm/core";
import { convnet, initWeights, mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { expectPeftSteps, learnedOf } from "../../test/peft-steps.js";
import { factorsOf, lokr } from "./lokr.js";

describe("LoKr", () => {
  it.each(["lokr-llama", "lokr-bert"])("five steps as PEFT, and its files: %s", async (name) => {
    await expectPeftSteps(lokr, name);
  });

  it("splits sides as LyCORIS does", () => {
    expect([factorsOf(256, -1), factorsOf(128, -1), factorsOf(127, -1), factorsOf(128, 4), factorsOf(512, 12)]).toEqual([
      [16, 16],
      [8, 16],
      [1, 127],
      [4, 32],
      [8, 64],
    ]);
  });

  it("is α/r · w1 ⊗ w2, as by hand, and the layer never forms it", async () => {
    const net = mlp({ input_size: 4, hidden_sizes: [], output_size: 4 });
    const model = { ...net, params: { "fc1.weight": f32(new Float32Array(16), [4, 4]), "fc1.bias": f32(new Float32Array(4)) } };
    const options = { r: 2, alpha: 2, targetModules: ["fc1"] };
    const tensors = { "fc1.lokr_w1": f32([1, 2, 3, 4], [2, 2]), "fc1.lokr_w2": f32([0, 1, 10, 100], [2, 2]) };
    expect(Object.entries(learnedOf(lokr, model, options)).map(([name, t]) => [name, t.shape])).toEqual(
      Object.entries(tensors).map(([name, t]) => [name, t.shape]),
    );
    const delta = makeDelta(lokr, parseConfig(lokr, options), tensors);
    const plain = await plainWeights(referenceEngine(), model, [delta]);
    const weight = [
      [0, 1, 0, 2],
      [10, 100, 20, 200],
      [0, 3, 0, 4],
      [30, 300, 40, 400],
    ];
    expect(Array.from(plain["fc1.weight"]!.data, Number)).toEqual(weight.flat());
    const tuned = withDeltas(model, [delta]);
    const f = await compile(
      referenceEngine(),
      { x: { dtype: "f32", shape: [1, 4] } },
      ({ x }, params: ParamTree) => ({ y: tuned.forward(params, { features: x }, { mode: "eval" }).logits! }),
      { frozen: tuned.params },
    );
    const { y } = await f({ x: f32([1, 2, 3, 5], [1, 4]) });
    expect(Array.from(y.data, Number)).toEqual(weight.map((row) => row[0]! + 2 * row[1]! + 3 * row[2]! + 5 * row[3]!));
  });

  it("has PEFT's shapes on kernels, and starts from zero in the factor that it is told", async () => {
    const size = { channels: 4, image_size: 4, widths: [16], classes: 2 };
    const net = convnet(size, initWeights(convnet(size).info, { seed: 4 }));
    const { path, params } = net.info.sites.find((s) => s.kind === "conv")!;
    const shapes = (options: object): object =>
      Object.fromEntries(
        Object.entries(learnedOf(lokr, net, { targetModules: [path], r: 1, ...options })).map(([name, t]) => [
          name.slice(path.length + 6),
          t.shape,
        ]),
      );
    expect(shapes({})).toEqual({ w1: [4, 2], w2_a: [4, 1], w2_b: [1, 18] });
    expect(shapes({ useEffectiveConv2d: true })).toEqual({ w1: [4, 2], t2: [1, 1, 3, 3], w2_a: [1, 4], w2_b: [1, 2] });
    expect(shapes({ r: 8, decomposeBoth: true })).toEqual({ w1: [4, 2], w2: [4, 2, 3, 3] });
    const zero = (initWeights: "default" | "lycoris"): readonly string[] =>
      Object.entries(learnedOf(lokr, net, { targetModules: [path], r: 1, initWeights })).flatMap(([name, t]) =>
        t.data.some(Boolean) ? [] : [name],
      );
    expect([zero("default"), zero("lycoris")]).toEqual([[`${path}.lokr_w1`], [`${path}.lokr_w2_b`]]);
    // What the kernels become: the same whether the second factor is given whole or as a product around a core of 1.
    const random = new Rng(3);
    const draw = (shape: number[]): HostTensor => f32(random.normalArray(shape.reduce((a, b) => a * b, 1)), shape);
    const [w1, a, b, core] = [draw([4, 2]), draw([1, 4]), draw([1, 2]), draw([1, 1, 3, 3])];
    const whole = f32(
      [0, 1, 2, 3].flatMap((i) =>
        [0, 1].flatMap((j) => Array.from(core.data, Number).map((v) => v * Number(a.data[i]) * Number(b.data[j]))),
      ),
      [4, 2, 3, 3],
    );
    const merged = async (options: object, tensors: Record<string, HostTensor>): Promise<HostTensor> => {
      const own = Object.fromEntries(Object.entries(tensors).map(([part, t]) => [`${path}.lokr_${part}`, t]));
      const delta = makeDelta(lokr, parseConfig(lokr, { targetModules: [path], alpha: 1, r: 1, ...options }), own);
      return (await plainWeights(referenceEngine(), net, [delta]))[params!.weight!]!;
    };
    const around = await merged({ useEffectiveConv2d: true }, { w1, t2: core, w2_a: a, w2_b: b });
    const given = await merged({}, { w1, w2: whole });
    for (const [i, v] of given.data.entries()) expect(Number(around.data[i])).toBeCloseTo(Number(v), 5);
  });
});
