import { add, type Delta, f32, type Hook, type HostTensor, linear, makeDelta, mul, type ParamTree } from "@lfm/core";

/** A LoRA as the tuning package makes it: y + α/r·B(Ax) at the layer `path`. a — [r, in], b — [out, r] */
export function loraModule(path: string, a: HostTensor, b: HostTensor, loraAlpha: number, parent: string | null = null): Delta {
  const r = a.shape[0]!;
  const lora = {
    id: "lora",
    paradigm: "tuning",
    delta: {
      hooks: (_config: unknown, tensors: ParamTree): readonly Hook[] => [
        {
          matches: (site) => `${site.path}.lora_A.weight` in tensors,
          output: (y, x, site) => {
            const low = linear(x, tensors[`${site.path}.lora_A.weight`]!, undefined);
            return add(y, mul(linear(low, tensors[`${site.path}.lora_B.weight`]!, undefined), loraAlpha / r));
          },
        },
      ],
    },
  };
  const tensors = { [`${path}.lora_A.weight`]: a, [`${path}.lora_B.weight`]: b };
  return makeDelta(lora, { r, loraAlpha, useRslora: false }, tensors, { parent });
}

export const row = (values: readonly number[]): HostTensor => f32(values, [1, values.length]);
export const column = (values: readonly number[]): HostTensor => f32(values, [values.length, 1]);
