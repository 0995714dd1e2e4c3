import { readFileSync } from "node:fs";
import { f32, type HostTensor, i32, type Model, ortEngine, referenceEngine } from "@lfm/core";
import { bert, convnet, mlp } from "@lfm/models";
import { arrayClassification, arrayRegression, type TaskShape, tokenClassification } from "@lfm/train";
import { describe, expect, it } from "vitest";
import { plainDescent } from "../src/gradient/moves.js";
import { type Order, outerLoss } from "../src/gradient/outer-loss.js";
import type { Episode } from "../src/inputs.js";
import { deviation, metaGradient, type Numbers } from "./meta-gradient.js";

interface Golden {
  readonly rate: number;
  readonly config: Record<string, unknown>;
  readonly params: Record<string, Numbers>;
  readonly tasks: readonly Record<"sx" | "sy" | "qx" | "qy", Numbers>[];
  readonly cases: readonly {
    readonly steps: number;
    readonly loss: number;
    readonly grad: Record<string, Numbers>;
    readonly f32: number;
  }[];
}

interface Network {
  readonly model: Model;
  readonly task: TaskShape;
  half(x: Numbers, y: Numbers): Episode["support"];
}

const tensor = ({ shape, data }: Numbers): HostTensor => f32(data, shape);
const classes = (x: HostTensor, y: Numbers): Episode["support"] => ({ x, labels: i32(y.data, y.shape) });

const networks: Readonly<Record<string, (params: Record<string, HostTensor>, golden: Golden) => Network>> = {
  "tanh-mlp": (params) => ({
    model: mlp({ input_size: 2, hidden_sizes: [6, 5], output_size: 1, activation: "tanh" }, params),
    task: arrayRegression("golden", "features", [2], 1),
    half: (x, y) => ({ x: tensor(x), y: tensor(y) }),
  }),
  "conv-net": (params) => {
    const still = (name: string, n: number, value: number) => ({ [name]: f32(new Float32Array(n).fill(value)) });
    const running = [3, 4].map((n, i) => ({
      ...still(`features.${i}.norm.running_mean`, n, 7),
      ...still(`features.${i}.norm.running_var`, n, 9),
    }));
    return {
      model: convnet({ image_size: 8, widths: [3, 4], classes: 2 }, Object.assign({ ...params }, ...running)),
      task: arrayClassification("golden", "pixels", [1, 8, 8]),
      half: (x, y) => classes(tensor(x), y),
    };
  },
  "attention-block": (params, { config }) => ({
    model: bert({ ...config, architectures: ["BertForSequenceClassification"] }, params),
    task: tokenClassification("golden"),
    half: (x, y) => ({
      tokens: i32(x.data, x.shape),
      mask: f32(new Float32Array(x.data.length).fill(1), x.shape),
      labels: i32(y.data, y.shape),
    }),
  }),
};

describe.each(Object.keys(networks))("MAML through a %s, 1 to 5 steps", (name) => {
  const golden = JSON.parse(readFileSync(new URL(`golden/${name}/golden.json`, import.meta.url), "utf8")) as Golden;
  const params = Object.fromEntries(Object.entries(golden.params).map(([n, t]) => [n, tensor(t)]));
  const { model, task, half } = networks[name]!(params, golden);
  const episodes = golden.tasks.map(({ sx, sy, qx, qy }) => ({ support: half(sx, sy), query: half(qx, qy) }));

  async function errors(engine: Parameters<typeof metaGradient>[0], order: Order, cases = golden.cases): Promise<number[]> {
    const found: number[] = [];
    for (const { steps, loss, grad } of cases) {
      const loop = { steps, move: plainDescent(golden.rate) };
      const reader = { model, task, norm: "transductive" } as const;
      const got = await metaGradient(engine, reader, Object.keys(params), params, episodes, (groups, learned) =>
        outerLoss(groups, loop, learned, order),
      );
      const scale = Math.max(...Object.values(grad).flatMap((g) => g.data.map(Math.abs)));
      const each = Object.entries(grad).map(([n, g]) => deviation(got.grad[n]!, g, scale));
      found.push(Math.max(Math.abs(got.loss - loss) / Math.abs(loss), ...each));
    }
    return found;
  }

  it("in f64 it is torch's", async () => {
    for (const order of ["exact", "hvp"] as const)
      for (const error of await errors(referenceEngine({ unrounded: true }), order)) expect(error, order).toBeLessThan(1e-8);
  });

  it("in f32 it is as near as torch's f32", async () => {
    const engine = await ortEngine({ threads: 1 });
    for (const [i, error] of (await errors(engine, "exact")).entries())
      expect(error).toBeLessThan(Math.max(1e-5, 2 * golden.cases[i]!.f32));
    for (const error of await errors(engine, "hvp", golden.cases.slice(1, 3))) expect(error).toBeLessThan(1e-3);
  });
});
