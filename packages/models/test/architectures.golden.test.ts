import {
  compile,
  crossEntropy,
  crossEntropyPerItem,
  div,
  type Engine,
  grad,
  type HostTensor,
  loadWeight,
  type ModelInput,
  mul,
  type Outputs,
  ortEngine,
  type ParamTree,
  referenceEngine,
  type Spec,
  slice,
  sum,
  type Tensor,
  widenToF32,
} from "@lfm/core";
import { modelFromConfig, pool, unitLength } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { type GoldenFixture, goldenFixture, maxDifference, maxMagnitude } from "./golden-fixture.js";

interface GoldenCase {
  readonly fixture: string;
  readonly name: string;
  readonly mode?: "train" | "eval";
  readonly loss?: (outputs: Outputs, input: Readonly<Record<string, Tensor>>) => Tensor;
}

const causal = ["gpt2", "llama", "llama-tied", "qwen2", "mixtral", "mistral", "qwen3", "phi3", "gpt-neox", "gemma2", "gemma3"];
const cases: GoldenCase[] = [
  ...causal.flatMap((fixture): GoldenCase[] => [
    { fixture, name: "plain" },
    { fixture, name: "right_padded", loss: causalLoss },
    { fixture, name: "left_padded" },
    { fixture, name: "positions" },
  ]),
  { fixture: "bert-classifier", name: "padded", loss: labelLoss },
  { fixture: "bert-classifier", name: "defaults" },
  { fixture: "bert-encoder", name: "padded", loss: (out, i) => sum(mul(unitLength(pool(out, "mean", i.mask)), i.direction!)) },
  { fixture: "roberta-classifier", name: "padded", loss: labelLoss },
  { fixture: "roberta-classifier", name: "defaults" },
  { fixture: "roberta-classifier", name: "positions" },
  { fixture: "roberta-encoder", name: "padded" },
  { fixture: "roberta-encoder", name: "embeddings" },
  { fixture: "distilbert-classifier", name: "padded", loss: labelLoss },
  { fixture: "distilbert-classifier", name: "defaults" },
  { fixture: "dinov2", name: "plain", loss: labelLoss },
  { fixture: "dinov2", name: "larger" },
  { fixture: "dinov2-swiglu", name: "plain", loss: labelLoss },
  { fixture: "resnet-basic", name: "eval", loss: labelLoss },
  { fixture: "resnet-basic", name: "train", mode: "train" },
  { fixture: "resnet-bottleneck", name: "eval", loss: labelLoss },
  { fixture: "resnet-bottleneck", name: "train", mode: "train" },
  { fixture: "vit", name: "plain", loss: labelLoss },
  { fixture: "convnet", name: "eval", loss: labelLoss },
  { fixture: "convnet", name: "train", mode: "train", loss: labelLoss },
  { fixture: "mlp", name: "plain", loss: labelLoss },
];

const engines: Record<string, () => Promise<Engine>> = {
  ort: () => ortEngine({ threads: 1 }),
  reference: async () => referenceEngine(),
};

describe.each(cases)("$fixture, $name", (c) => {
  const fixture = goldenFixture(c.fixture);
  it.each(Object.keys(engines))("outputs and gradients on %s", async (engine) => {
    const { outputs, gradients } = await runCase(await engines[engine]!(), fixture, c);
    const keep = fixture.all(`${c.name}/in/`).mask;
    let compared = 0;
    for (const [name, wanted] of Object.entries(fixture.all(`${c.name}/out/`))) {
      const got = outputs[name];
      if (!got) continue;
      compared++;
      const rowsAreTokens = keep && wanted.shape.length === 3;
      expect(maxDifference(got, wanted, rowsAreTokens ? keep : undefined), name).toBeLessThanOrEqual(1e-4);
    }
    expect(compared).toBeGreaterThanOrEqual(c.loss ? 2 : 1);
    for (const [name, wanted] of Object.entries(fixture.all(`${c.name}/state/`)))
      expect(maxDifference(outputs[`buffer:${name}`]!, wanted), name).toBeLessThanOrEqual(1e-4);
    if (!c.loss) return;
    const wanted = fixture.all(`${c.name}/grad/`);
    const own = Object.entries(modelFromConfig(fixture.config).info.params).filter(([, p]) => p.trainable);
    // whatever torch gives no gradient for (an unused pooler) has none here
    expect(Object.keys(wanted).length).toBeGreaterThan(0);
    // The bias of keys shifts every score of a query alike, a bias before a batch norm is its mean: their exact gradient is 0, what torch gives is noise.
    const noise = 1e-6 * Math.max(...Object.values(wanted).map(maxMagnitude));
    for (const [name] of own) {
      const golden = wanted[name];
      if (!golden || maxMagnitude(golden) < noise)
        expect(maxMagnitude(gradients[name]!), name).toBeLessThan(golden ? noise : Number.MIN_VALUE);
      else expect(maxDifference(gradients[name]!, golden) / maxMagnitude(golden), name).toBeLessThanOrEqual(1e-4);
    }
    expect(Object.keys(wanted).filter((name) => !own.some(([n]) => n === name))).toEqual([]);
  });
});

async function runCase(
  engine: Engine,
  fixture: GoldenFixture,
  c: GoldenCase,
): Promise<{ outputs: Record<string, HostTensor>; gradients: Record<string, HostTensor> }> {
  const model = modelFromConfig(fixture.config, fixture.weights);
  const inputs = fixture.all(`${c.name}/in/`);
  const params = Object.fromEntries(Object.entries(model.params).map(([name, w]) => [name, widenToF32(loadWeight(w))]));
  const specs = (tree: Record<string, HostTensor>): Record<string, Spec> =>
    Object.fromEntries(Object.entries(tree).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));
  const compiled = await compile(engine, { params: specs(params), input: specs(inputs) }, ({ params: p, input }) => {
    const tree = p as ParamTree;
    const out = model.forward(tree, input as ModelInput, { mode: c.mode ?? "eval", want: { hidden: true, attentions: true } });
    const outputs: Record<string, Tensor> = {
      ...(out.logits ? { logits: out.logits } : {}),
      ...(out.last ? { last: out.last } : {}),
      ...(out.pooled ? { pooled: out.pooled, cls: out.pooled } : {}),
      ...Object.fromEntries((out.hidden ?? []).map((h, i) => [`hidden.${i}`, h])),
      ...Object.fromEntries(Object.entries(out.buffers ?? {}).map(([name, b]) => [`buffer:${name}`, b])),
    };
    if (c.fixture === "bert-encoder") {
      outputs.mean = pool(out, "mean", input.mask);
      outputs.unit = unitLength(outputs.mean);
    }
    if (!c.loss) return { outputs, gradients: {} };
    const loss = c.loss(out, input);
    const trainable = Object.fromEntries(Object.entries(tree).filter(([name]) => model.info.params[name]!.trainable));
    return { outputs: { ...outputs, loss }, gradients: grad(loss, trainable) };
  });
  const result = await compiled({ params, input: inputs });
  await compiled.dispose();
  return result as unknown as { outputs: Record<string, HostTensor>; gradients: Record<string, HostTensor> };
}

function labelLoss(out: Outputs, input: Readonly<Record<string, Tensor>>): Tensor {
  return crossEntropy(out.logits!, input.labels!);
}

function causalLoss(out: Outputs, input: Readonly<Record<string, Tensor>>): Tensor {
  const length = input.tokens!.dim(1) as number;
  const losses = crossEntropyPerItem(slice(out.logits!, 1, 0, length - 1), slice(input.tokens!, 1, 1, length - 1));
  const counted = mul(slice(input.mask!, 1, 1, length - 1), slice(input.mask!, 1, 0, length - 1));
  return div(sum(mul(losses, counted)), sum(counted));
}
