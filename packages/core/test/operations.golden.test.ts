import { readFileSync } from "node:fs";
import { beforeAll, describe, expect, it } from "vitest";
import {
  attention,
  avgPool2d,
  cayley,
  compile,
  conv2d,
  type Engine,
  f32,
  grad,
  type HostTensor,
  inverse,
  maxPool2d,
  mul,
  ortEngine,
  resize2d,
  sum,
  type Tensor,
} from "../src/index.js";
import { deviation } from "../src/testing/index.js";

interface Numbers {
  readonly shape: readonly number[];
  readonly data: readonly number[];
}
interface Case {
  readonly in: Readonly<Record<string, Numbers>>;
  readonly weight: Numbers;
  readonly out: Numbers;
  readonly grad: Readonly<Record<string, Numbers>>;
}
const golden = JSON.parse(readFileSync(new URL("golden/operations/golden.json", import.meta.url), "utf8")) as {
  readonly cases: Readonly<Record<string, Case>>;
};

type Inputs = Readonly<Record<string, Tensor>>;
const attend = ({ q, k, v, bias }: Inputs): Tensor => attention(q!, k!, v!, { bias }).mixed;
const ours: Readonly<Record<string, (inputs: Inputs) => Tensor>> = {
  inverse: ({ x }) => inverse(x!),
  cayley: ({ x }) => cayley(x!),
  "convolution in groups": ({ x, w }) => conv2d(x!, w!, undefined, { stride: 2, padding: 1, groups: 2 }),
  "depthwise convolution": ({ x, w }) => conv2d(x!, w!, undefined, { padding: 1, groups: 3 }),
  "max pool": ({ x }) => maxPool2d(x!, 3, { stride: 2, padding: 1 }),
  "average pool": ({ x }) => avgPool2d(x!, 3, { stride: 2, padding: 1 }),
  "average pool of what is inside": ({ x }) => avgPool2d(x!, 3, { stride: 2, padding: 1, countPadding: false }),
  "resize nearest": ({ x }) => resize2d(x!, [8, 3], "nearest"),
  "resize bilinear": ({ x }) => resize2d(x!, [8, 3], "bilinear"),
  "resize bicubic": ({ x }) => resize2d(x!, [8, 3], "bicubic"),
  "cross attention": attend,
  "cross attention of shared heads with a bias": attend,
  "attention with a bias that hides keys": attend,
};

describe("operations follow torch, values and gradients to 1e-5", () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await ortEngine({ threads: 1 });
  });

  it("all cases are ours", () => expect(Object.keys(golden.cases)).toEqual(Object.keys(ours)));

  it.each(Object.keys(ours))("%s", async (name) => {
    const { in: given, weight, out, grad: gradients } = golden.cases[name]!;
    const host = ({ shape, data }: Numbers): HostTensor => f32(data, shape);
    const inputs = Object.fromEntries(Object.entries(given).map(([k, t]) => [k, host(t)]));
    const specs = Object.fromEntries(Object.entries(given).map(([k, t]) => [k, { dtype: "f32" as const, shape: t.shape }]));
    const f = await compile(engine, { inputs: specs, weight: { dtype: "f32", shape: weight.shape } }, ({ inputs, weight }) => {
      const y = ours[name]!(inputs);
      return { y, gradients: grad(sum(mul(y, weight)), inputs) };
    });
    const got = await f({ inputs, weight: host(weight) });
    expect(got.y.shape).toEqual(out.shape);
    expect(deviation(got.y.data as Float32Array, out.data)).toBeLessThan(1e-5);
    for (const [k, g] of Object.entries(gradients)) expect(deviation(got.gradients[k]!.data as Float32Array, g.data), k).toBeLessThan(1e-5);
    await f.dispose();
  });
});
