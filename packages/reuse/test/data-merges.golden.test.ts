import {
  compile,
  type Delta,
  type Engine,
  type HostTensor,
  i32,
  type MethodContext,
  type Model,
  needs,
  ortEngine,
  type ParamTree,
  Rng,
  runMethod,
  withDeltas,
} from "@lfm/core";
import { llama } from "@lfm/models";
import { collectFisher, collectGrams, type Statistics, type TaskProbe } from "@lfm/statistics";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { adaMerging, fisher, regmean, regmeanPlusPlus, smile, wemoe } from "../src/index.js";
import { distance, golden, network, part, probe, settingOf } from "./mlp-setting.js";

/** fusion_bench's own functions computed the fixture, see tools/golden/check_fusion_bench.py. */
const TOLERANCE = 1e-5;

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: needs, log: () => {}, progress: () => {} };
});
afterAll(() => engine.dispose());

const near = (got: Readonly<Record<string, HostTensor>>, want: Readonly<Record<string, HostTensor>>): void => {
  expect(Object.keys(got).sort()).toEqual(Object.keys(want).sort());
  for (const [name, t] of Object.entries(want)) expect(distance(got[name]!, t), name).toBeLessThan(TOLERANCE);
};
const statistics = (kind: Statistics["kind"], tensors: Statistics["tensors"]): Statistics => ({
  ...(kind === "gram" ? { kind, layouts: { w: "out-in" }, rows: { w: 1 } } : { kind, estimator: "expected" }),
  tensors,
  model: "",
  samples: 1,
});
const byModel = <T>(f: (name: string) => T): Record<string, T> => Object.fromEntries(golden.models.map((m) => [m, f(m)]));

describe("fusion_bench's formulas", () => {
  const models = byModel((m) => part(`fisher/in/${m}`));

  it("Fisher merging, normalised and weighted", async () => {
    const inputs = { models, statistics: byModel((m) => statistics("fisher", part(`fisher/statistics/${m}`))) };
    near((await runMethod(fisher, inputs, {}, context)).delta.tensors, part("fisher/out/normalized"));
    const weighted = await runMethod(fisher, inputs, { weight: [1, 2, 0.5], normalize: false }, context);
    near(weighted.delta.tensors, part("fisher/out/weighted"));
  });

  it.each([0.95, 0.6, 0])("RegMean, off-diagonals × %s", async (offDiagonal) => {
    const inputs = { models, statistics: byModel((m) => statistics("gram", part(`regmean/statistics/${m}`))) };
    const params = (await runMethod(regmean, inputs, { offDiagonal, ridge: 0 }, context)).delta.tensors;
    near({ w: params.w! }, part(`regmean/out/${offDiagonal === 0 ? "0.0" : offDiagonal}`));
  });

  it.each(["expected", "empirical", "fusion-bench"] as const)("squared gradients: %s", async (estimator) => {
    const found = await collectFisher(engine, network("a"), probe("a"), { samples: golden.samples, estimator });
    near(found.tensors as Record<string, HostTensor>, part(`network/fisher/${estimator}`));
  });

  it("Gram matrices of what flows into each linear layer", async () => {
    const found = await collectGrams(engine, network("a"), probe("a"), { samples: golden.samples });
    near(found.tensors as Record<string, HostTensor>, part("network/gram"));
    expect(found.layouts).toEqual({ "fc1.weight": "out-in", "fc2.weight": "out-in", "fc3.weight": "out-in" });
  });

  it.each(["task", "layer", "clamped"] as const)("AdaMerging, %s: coefficients and losses of every step", async (name) => {
    const { granularity, init, clamp, losses } = golden[`ada-${name}`];
    const out = await runMethod(adaMerging, settingOf(), { ...golden.ada, granularity, init, clamp }, context);
    for (const [i, [step, loss]] of out.curves.loss!.entries()) {
      expect(step).toBe(i);
      expect(loss).toBeCloseTo(losses[i]!, 5);
    }
    const { data, shape } = part("ada")[name]!;
    const names = Object.keys(out.coefficients);
    for (const [m] of golden.models.entries())
      for (const [t, parameter] of names.entries()) {
        const want = Number(granularity === "task" ? data[m] : data[m * shape[1]! + t]);
        const got = out.coefficients[parameter]![m]!;
        expect(Math.abs(got - (clamp ? Math.min(1, Math.max(0, want)) : want)), parameter).toBeLessThan(TOLERANCE);
      }
  });

  it("RegMean++ merges layer after layer", async () => {
    const params = (await runMethod(regmeanPlusPlus, settingOf(), { samples: golden.samples, ridge: 0 }, context)).delta.tensors;
    near(params, part("regmean-plus-plus"));
  });

  it.each(["narrow", "wide"] as const)("SMILE, %s", async (name) => {
    const { k, gate_k: gateK, top_k: topK } = golden.smile[name];
    const { model } = await runMethod(smile, settingOf(), { k, gateK, topK }, context);
    const { x } = part("data/a");
    expect(distance(await logitsOf(model, { features: x! }), part("smile")[name]!)).toBeLessThan(TOLERANCE);
  });

  it.each(["sequence", "token"] as const)("weight-ensembling MLPs, one mixture per %s", async (routing) => {
    const { tokens, models, config, init } = golden.wemoe;
    const base = llama(config, part("wemoe/base"));
    const tuned = Object.fromEntries(models.map((m) => [m, part(`wemoe/${m}`)]));
    const nothing: TaskProbe = { name: "none", batch: {}, batches: () => ({}), input: () => ({}), scored: (o) => ({ logits: o.logits! }) };
    const tasks = Object.fromEntries(models.map((m) => [m, nothing]));
    const { delta } = await runMethod(wemoe, { model: base, models: tuned, tasks }, { init, routing, steps: 0 }, context);
    const routed: Delta = { ...delta, tensors: { ...delta.tensors, ...part("wemoe/routers") } };
    expect(Object.keys(routed.tensors).length).toBe(Object.keys(delta.tensors).length);
    const rows = i32(tokens.flat(), [tokens.length, tokens[0]!.length]);
    const got = await logitsOf(withDeltas(base, [routed]), { tokens: rows });
    expect(distance(got, part("wemoe/logits")[routing]!)).toBeLessThan(TOLERANCE);
  });
});

async function logitsOf(model: Model, input: Readonly<Record<string, HostTensor>>): Promise<HostTensor> {
  const types = Object.fromEntries(Object.entries(input).map(([k, t]) => [k, { dtype: t.dtype, shape: t.shape }]));
  const f = await compile(engine, types, (x, params) => ({ y: model.forward(params as ParamTree, x, { mode: "eval" }).logits! }), {
    frozen: model.params,
  });
  const { y } = await f(input);
  await f.dispose();
  return y;
}
