import { compile, f32, hostTensor, type ParamTree, Rng, referenceEngine, sub } from "@lfm/core";
import { mlp } from "@lfm/models";
import { initLora, loraHooks, targetSites } from "@lfm/tuning";
import { expect, it } from "vitest";

it("stacked LoRAs of equal weights drop different elements", async () => {
  const config = { input_size: 64, hidden_sizes: [], output_size: 3 };
  const rng = new Rng(1);
  const model = mlp(config, { "fc1.weight": f32(rng.normalArray(192), [3, 64]), "fc1.bias": f32([0, 0, 0]) });
  const adapter = { r: 4, loraAlpha: 4, useRslora: false, loraDropout: 0.5 };
  const sites = targetSites(model, ["fc1"]);
  const tensors = { ...initLora(sites, adapter.r, rng), "fc1.lora_B.weight": f32(rng.normalArray(12), [3, 4]) };
  const run = await compile(
    referenceEngine(),
    { x: { dtype: "f32", shape: [1, 64] }, key: { dtype: "i32", shape: [] } },
    ({ x, key }, { base, lora }: { base: ParamTree; lora: ParamTree }) => {
      const hooks = loraHooks(lora, adapter);
      const added = (stack: typeof hooks): ReturnType<typeof sub> => {
        const answer = (h: typeof hooks): ReturnType<typeof sub> =>
          model.forward(base, { features: x }, { mode: "train", key, hooks: h }).logits!;
        return sub(answer(stack), answer([]));
      };
      return { one: added(hooks), again: added(hooks), two: added([...hooks, ...hooks]) };
    },
    { frozen: { base: model.params, lora: tensors } },
  );
  const out = await run({ x: f32(rng.normalArray(64), [1, 64]), key: hostTensor("i32", [], Int32Array.of(9)) });
  const [one, again, two] = [out.one, out.again, out.two].map((t) => Array.from(t.data as Float32Array)) as [number[], number[], number[]];
  expect(again).toEqual(one);
  // With the same elements dropped, two would be twice the one.
  expect(Math.max(...two.map((v, i) => Math.abs(v - 2 * one[i]!)))).toBeGreaterThan(0.1);
});
