import { f32, i32, type Model, Rng, runMethod } from "@lfm/core";
import { bert, initWeights } from "@lfm/models";
import { tokenClassificationTask } from "@lfm/train";
import { expect, it } from "vitest";
import { asExamples, context, drawPoints, linearModel, range, trainLinear } from "../../test/linear-models.js";
import { fgm } from "./fgm.js";

const points = drawPoints(80, 5, 6);
const victim = trainLinear(points, range(0, 80));
const examples = asExamples(points, range(0, 80));
const w = Array.from({ length: 6 }, (_, i) => Number((victim.params["fc1.weight"] as { data: Float32Array }).data[6 + i]) * 2);

it("flips an input of a linear model exactly where ε is above |margin| / ‖w‖₁", async () => {
  const sum = w.reduce((n, v) => n + Math.abs(v), 0);
  const margins = points.x.map((x, r) => x.reduce((n, v, i) => n + v * w[i]!, 0) * (points.labels[r] === 1 ? 1 : -1));
  const edges = margins
    .filter((m) => m > 0)
    .map((m) => m / sum)
    .toSorted((a, b) => a - b);
  // Just below and just above some of the edges: one more input flips each time.
  const curve = [3, 20, 45].flatMap((k) => [edges[k]! - 1e-5, edges[k]! + 1e-5]);
  const { findings } = await runMethod(fgm, { victim, examples }, { epsilon: 0.05, curve }, context);
  const left = new Map(findings.curves!.accuracy!);
  for (const epsilon of curve) expect(left.get(epsilon)! * 80, `at ${epsilon}`).toBeCloseTo(edges.filter((e) => e > epsilon).length, 6);
  expect(findings.measured.cleanAccuracy! * 80).toBeCloseTo(edges.length, 6);
  const flipped = edges.filter((e) => e < 0.05).length;
  expect(findings.risks.success).toMatchObject({ hits: flipped, of: edges.length });
  expect(findings.queries).toBe(80 * 8);
});

it("with norm 2 it flips where ε is above |margin| / ‖w‖₂; ε 0 changes nothing", async () => {
  const length = Math.hypot(...w);
  const one = { x: [Float64Array.from(w, (v) => v / length)], labels: [1] };
  const at = async (epsilon: number) =>
    (await runMethod(fgm, { victim, examples: asExamples(one, [0]) }, { epsilon, norm: "2" }, context)).findings.risks.success;
  expect([await at(0), await at(0.999), await at(1.001)].map((s) => s!.value)).toEqual([0, 0, 1]);
});

it("keeps pixels in their range", async () => {
  const one = { x: [Float64Array.of(0.2)], labels: [0] };
  const inputs = { victim: linearModel([[1], [0]], [0.1, 0]), examples: asExamples(one, [0]) };
  expect((await runMethod(fgm, inputs, { epsilon: 1 }, context)).findings.risks.success!.value).toBe(1);
  expect((await runMethod(fgm, inputs, { epsilon: 1, low: 0, high: 1 }, context)).findings.risks.success!.value).toBe(0);
});

it("moves what tokens are embedded as, in mean lengths of their vectors", async () => {
  const config = {
    vocab_size: 12,
    hidden_size: 8,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    intermediate_size: 8,
    max_position_embeddings: 6,
  };
  const plain = bert({ ...config, num_labels: 2, architectures: ["BertForSequenceClassification"] });
  const model: Model = { ...plain, params: initWeights(plain.info, { seed: 3 }) };
  const rng = new Rng(2);
  const batch = {
    tokens: i32(
      Array.from({ length: 40 }, () => rng.int(12)),
      [10, 4],
    ),
    mask: f32(
      Array.from({ length: 40 }, (_, i) => (i % 4 < 3 ? 1 : 0)),
      [10, 4],
    ),
    labels: i32(Array.from({ length: 10 }, () => 0)),
  };
  const inputs = { victim: model, examples: tokenClassificationTask("texts", () => batch, 1) };
  const robust = async (epsilon: number) => (await runMethod(fgm, inputs, { epsilon }, context)).findings.measured;
  const [none, much] = [await robust(0), await robust(30)];
  expect(none.robustAccuracy).toBe(none.cleanAccuracy);
  expect(none.cleanAccuracy!).toBeGreaterThan(0);
  expect(much.robustAccuracy!).toBeLessThan(none.cleanAccuracy!);
});
