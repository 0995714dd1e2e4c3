import {
  compileModel,
  deltaSize,
  type Engine,
  f32,
  type HostTensor,
  i32,
  type MethodContext,
  type Model,
  makeDelta,
  parseConfig,
  Rng,
  runMethod,
  sym,
  withDeltas,
} from "@lfm/core";
import { mlp, vit } from "@lfm/models";
import { arrayClassificationTask } from "@lfm/train";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenModel, goldenRun, goldenSteps, worst } from "../../test/golden-case.js";
import { testContext } from "../../test/test-context.js";
import { vpt } from "./vpt.js";

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  context = await testContext();
  engine = context.engine;
});

const golden = goldenSteps("vision-inputs");
const task = arrayClassificationTask("golden", "pixels", [3, 24, 24], (step) => ({
  x: golden.get(`pixels.${step}`),
  labels: i32([0, 1, 2]),
}));

async function logits(model: Model): Promise<HostTensor> {
  const f = await compileModel(engine, model, { pixels: { dtype: "f32", shape: [sym("batch"), 3, 24, 24] } }, (input, params, at) => ({
    logits: at.forward(params, input, { mode: "eval" }).logits!,
  }));
  const found = await f({ pixels: golden.get("pixels.0") });
  await f.dispose();
  return found.logits;
}

describe.each(["vit", "dinov2"])("the small %s", (kind) => {
  const model = goldenModel(kind);
  it.each(["shallow", "deep"])("%s: five AdamW steps with its head as in torch, prompts behind the class token there", async (name) => {
    const [start, end] = [golden.all(`${kind}-${name}/in/`), golden.all(`${kind}-${name}/out/`)];
    const given = { model, task, alsoTrain: ["classifier.weight", "classifier.bias"] };
    const options = { deep: name === "deep", numVirtualTokens: 2 };
    const { delta, model: tuned } = await goldenRun(vpt, given, start, options, golden.losses[`${kind}-${name}`]!, context);
    for (const [tensor, t] of Object.entries(delta.tensors)) expect(worst(t, end[tensor]!), tensor).toBeLessThan(1e-4);
    expect(worst(await logits(tuned), end.logits!)).toBeLessThan(1e-3);
  });
});

it("deep prompts on top of shallow ones are cut off again, whatever their lengths and order", async () => {
  const model = goldenModel("vit");
  const of = (deep: boolean, v: number, seed: number) =>
    makeDelta(vpt, parseConfig(vpt, { deep, numVirtualTokens: v }), {
      prompts: f32(new Rng(seed).normalArray((deep ? 2 : 1) * v * 32), deep ? [2, v, 32] : [v, 32]),
    });
  const [a, b, c] = [of(true, 2, 1), of(false, 3, 2), of(true, 1, 3)];
  const one = await logits(withDeltas(model, [a, b, c]));
  for (const stack of [
    [b, a, c],
    [c, b, a],
  ])
    expect(worst(await logits(withDeltas(model, stack)), one)).toBeLessThan(1e-5);
  expect(worst(one, await logits(withDeltas(model, [a, b])))).toBeGreaterThan(1e-3);
});

it("learns v·d values, or as many for every block; a model without patches is refused", async () => {
  const large = vit({ num_hidden_layers: 12, hidden_size: 768 });
  const count = (deep: boolean): number => {
    const { learned } = vpt.start({ model: large, task }, parseConfig(vpt, { deep, numVirtualTokens: 50 }), context);
    return learned.prompts!.data.length;
  };
  expect([count(false), count(true)]).toEqual([38_400, 460_800]);
  const { delta } = await runMethod(vpt, { model: goldenModel("vit"), task }, { steps: 1, promptDropout: 0.5 }, context);
  expect(deltaSize(delta)).toBe(2 * 10 * 32);
  const net = mlp({ input_size: 3, hidden_sizes: [], output_size: 2 });
  await expect(runMethod(vpt, { model: net, task }, { steps: 1 }, context)).rejects.toMatchObject({ code: "CAPABILITY_MISSING" });
});
