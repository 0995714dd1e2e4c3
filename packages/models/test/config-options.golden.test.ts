import { readFileSync } from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { compile, type Engine, f32, type HostTensor, i32, loadWeight, ortEngine, type ParamTree, type Spec, type Tensor } from "@lfm/core";
import { readSafetensors } from "@lfm/formats";
import { modelFromConfig } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { readRotary, rotaryFields } from "../src/rotary.js";
import { goldenFolder, maxDifference } from "./golden-fixture.js";

const folder = goldenFolder("config-options");
const { configs } = JSON.parse(readFileSync(join(folder, "golden.json"), "utf8")) as { configs: Record<string, Record<string, unknown>> };
const { tensors } = readSafetensors(join(folder, "golden.safetensors"));
const golden = (name: string): HostTensor | undefined => (tensors[name] ? loadWeight(tensors[name]) : undefined);

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

/** As config_options.py draws it. */
function drawn(name: string, shape: readonly number[]): HostTensor {
  let state = crc32(name);
  const values = Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    const u = Math.fround(state / 2 ** 31 - 1);
    return shape.length > 1 ? u / 2 : (name.endsWith("weight") ? 1 : 0) + Math.fround(u / 3);
  });
  return f32(values, shape);
}

/** What `f` makes of some inputs. */
async function run(
  given: Record<string, HostTensor>,
  f: (input: Record<string, Tensor>, params: ParamTree) => Record<string, Tensor>,
  frozen: Record<string, HostTensor> = {},
): Promise<Record<string, HostTensor>> {
  const specs = Object.fromEntries(Object.entries(given).map(([n, { dtype, shape }]): [string, Spec] => [n, { dtype, shape }]));
  const compiled = await compile(engine, specs, (input, params: ParamTree) => f(input, params), { frozen });
  const out = await compiled(given);
  await compiled.dispose();
  return out;
}

const inputs = (name: string): Record<string, HostTensor> =>
  Object.fromEntries(["tokens", "pixels", "decoder"].flatMap((n) => (golden(`${name}/in/${n}`) ? [[n, golden(`${name}/in/${n}`)!]] : [])));

it.each(Object.entries(configs))("%s gives what transformers gives", async (name, config) => {
  const { info } = modelFromConfig(config);
  const params = Object.fromEntries(Object.entries(info.params).map(([n, { shape }]) => [n, drawn(n, shape)]));
  const model = modelFromConfig(config, params);
  const out = await run(
    inputs(name),
    ({ decoder, ...rest }, tree) => {
      const { logits, pooled } = model.forward(tree, { ...rest, ...(decoder ? { decoder: { tokens: decoder } } : {}) }, { mode: "eval" });
      return { y: logits ?? pooled! };
    },
    params,
  );
  const wanted = (golden(`${name}/out/logits`) ?? golden(`${name}/out/pooled`))!;
  expect(out.y!.shape).toEqual(wanted.shape);
  expect(maxDifference(out.y!, wanted)).toBeLessThanOrEqual(1e-4);
});

const rotaries = Object.keys(configs).filter((name) => name.startsWith("rope-"));

describe("rotary frequencies", () => {
  it.each(rotaries)("of %s are transformers'", async (name) => {
    const c = z.looseObject({ ...rotaryFields, max_position_embeddings: z.number(), head_dim: z.number() }).parse(configs[name]);
    const rotary = readRotary(c, { architecture: "llama", headDim: c.head_dim, theta: 10_000 });
    const positions = i32(
      Array.from({ length: 10 }, (_, i) => i),
      [1, 10],
    );
    const { frequencies } = await run({ positions }, (input) => ({ frequencies: rotary.frequencies(input.positions!) }));
    const wanted = golden(`${name}/out/inv_freq`)!.data as Float32Array;
    for (const [i, value] of (frequencies!.data as Float32Array).entries()) expect(value / wanted[i]! - 1).toBeCloseTo(0, 6);
    expect(rotary.scale).toBeCloseTo(Number(golden(`${name}/out/attention_scaling`)!.data[0]), 6);
  });
});
