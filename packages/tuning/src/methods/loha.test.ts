import { f32, type HostTensor, makeDelta, parseConfig, plainWeights, Rng, referenceEngine } from "@lfm/core";
import { convnet, gpt2, initWeights, mlp } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { expectPeftSteps, learnedOf } from "../../test/peft-steps.js";
import { hasPeftForm, toPeft } from "../peft.js";
import { loha } from "./loha.js";

describe("LoHa", () => {
  it.each(["loha-llama", "loha-bert"])("five steps as PEFT, and its files: %s", async (name) => {
    await expectPeftSteps(loha, name);
  });

  it("is α/r times an elementwise product of two products, as by hand; ranks and scales by pattern", async () => {
    const net = mlp({ input_size: 2, hidden_sizes: [], output_size: 2 });
    const model = { ...net, params: { "fc1.weight": f32([0, 0, 0, 0], [2, 2]), "fc1.bias": f32([0, 0]) } };
    const tensors = {
      "fc1.hada_w1_a": f32([1, 2], [2, 1]),
      "fc1.hada_w1_b": f32([3, 4], [1, 2]),
      "fc1.hada_w2_a": f32([5, 6], [2, 1]),
      "fc1.hada_w2_b": f32([1, -1], [1, 2]),
    };
    const config = parseConfig(loha, { r: 4, alpha: 4, targetModules: ["fc1"], rankPattern: { fc1: 1 }, alphaPattern: { "f.1": 2 } });
    const plain = await plainWeights(referenceEngine(), model, [makeDelta(loha, config, tensors)]);
    // 2/1 · [[3, 4], [6, 8]] ∘ [[5, −5], [6, −6]]
    expect(Array.from(plain["fc1.weight"]!.data, Number)).toEqual([30, -40, 72, -96]);
  });

  it("lies on kernels, flat or around a core: Σᵢⱼ core[i, j, …]·a[i, out]·b[j, in] as by hand", async () => {
    const size = { channels: 1, image_size: 4, widths: [2], classes: 2 };
    const net = convnet(size, initWeights(convnet(size).info, { seed: 4 }));
    const site = net.info.sites.find((s) => s.kind === "conv")!;
    for (const useEffectiveConv2d of [false, true]) {
      const options = { r: 3, targetModules: [site.path], useEffectiveConv2d };
      const fresh = learnedOf(loha, net, options);
      const drawn = new Rng(2);
      const t = Object.fromEntries(
        Object.entries(fresh).map(([name, { shape, data }]) => [name, f32(drawn.normalArray(data.length), shape)]),
      );
      const get = (part: string): HostTensor => t[`${site.path}.hada_${part}`]!;
      const plain = await plainWeights(referenceEngine(), net, [makeDelta(loha, parseConfig(loha, options), t)]);
      const name = site.params!.weight!;
      const [out, y, x] = [1, 2, 0];
      const [kh, kw] = site.conv!.kernel;
      const one = (which: 1 | 2): number => {
        let s = 0;
        for (let i = 0; i < 3; i++)
          if (useEffectiveConv2d)
            for (let j = 0; j < 3; j++)
              s +=
                Number(get(`t${which}`).data[((i * 3 + j) * kh + y) * kw + x]) *
                Number(get(`w${which}_a`).data[i * 2 + out]) *
                Number(get(`w${which}_b`).data[j]);
          else s += Number(get(`w${which}_a`).data[out * 3 + i]) * Number(get(`w${which}_b`).data[(i * kh + y) * kw + x]);
        return s;
      };
      const at = (out * kh + y) * kw + x;
      const before = (net.params[name] as HostTensor).data;
      expect(Number(plain[name]!.data[at]) - Number(before[at])).toBeCloseTo((8 / 3) * one(1) * one(2), 4);
    }
  });

  it("has no form in PEFT on layers that lie input first", async () => {
    const net = gpt2({ vocab_size: 11, n_embd: 4, n_layer: 1, n_head: 2, n_positions: 8 });
    const model = { ...net, params: initWeights(net.info, { seed: 2 }) };
    const delta = makeDelta(
      loha,
      parseConfig(loha, { r: 2, targetModules: ["c_attn"] }),
      learnedOf(loha, model, { r: 2, targetModules: ["c_attn"] }),
    );
    expect(hasPeftForm(delta, model)).toBe(false);
    await expect(toPeft("/nowhere", delta, model)).rejects.toMatchObject({
      code: "CONFIG_INVALID",
      message: expect.stringContaining("c_attn"),
    });
  });
});
