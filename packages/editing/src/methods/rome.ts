/**
 * ROME (arXiv 2202.05262): the MLP of one block is a memory of keys and values; write one pair with a rank-one update.
 *   k* = mean input of the output projection at the subject's last token, over prefixes
 *   v* = v₀ + δ, δ by Adam on NLL(answer) + kl·KL(before ‖ after at the bare subject) + decay·‖δ‖/‖v₀‖², ‖δ‖ ≤ clamp·‖v₀‖
 *   Ŵ = W + (v* − Wk*)·(C⁻¹k*)ᵀ / (C⁻¹k*)ᵀk*,  C = E[kkᵀ]
 * As R-ROME (arXiv 2403.07175), the same averaged k* stands in numerator and denominator.
 */
import {
  adam,
  add,
  compile,
  type Delta,
  defineMethod,
  div,
  f32,
  type HostTensor,
  klDivergence,
  LfmError,
  loadWeight,
  type MethodContext,
  type Model,
  maximum,
  mean,
  mul,
  reshape,
  sqrt,
  square,
  sum,
  type Tensor,
  widenToF32,
  withDeltas,
} from "@lfm/core";
import { fit } from "@lfm/train";
import { z } from "zod";
import { answerLoss, type EditingInputs, type EditingOutput, editBatch, editBatchSpec } from "../inputs.js";
import { keyCovariance, mlpOutSite, positionMask, solveSpd } from "../keys.js";

const config = z.strictObject({
  layer: z.number().int().min(0).optional().describe("block to write into; default the middle one"),
  steps: z.number().int().positive().default(20).describe("Adam steps for the value"),
  lr: z.number().positive().default(0.5).describe("step size of Adam on δ"),
  klFactor: z.number().min(0).default(0.0625).describe("weight of staying the same at the subject itself"),
  weightDecay: z.number().min(0).default(0.5).describe("weight of ‖δ‖/‖v₀‖²"),
  clamp: z.number().positive().default(4).describe("largest ‖δ‖ in units of ‖v₀‖"),
  stopLoss: z.number().min(0).default(0.05).describe("stop when the answer's loss is below"),
  ridge: z.number().min(0).default(1e-3).describe("added to C, in units of its mean diagonal"),
});
export type RomeConfig = z.output<typeof config>;

/** W + (v − Wk)·uᵀ/(uᵀk) with u = C⁻¹k; W in the layout of the checkpoint. All f64 inside. */
export function rankOneUpdate(
  w: HostTensor,
  layout: "out-in" | "in-out",
  k: Float64Array,
  v: Float64Array,
  c: Float64Array,
  ridge: number,
): HostTensor {
  const [inner, outer] = [k.length, v.length];
  const u = solveSpd(c, k, ridge);
  const scale = u.reduce((s, x, i) => s + x * k[i]!, 0);
  const data = Float32Array.from(w.data as Float32Array);
  const at = (o: number, i: number): number => (layout === "out-in" ? o * inner + i : i * outer + o);
  for (let o = 0; o < outer; o++) {
    let now = 0;
    for (let i = 0; i < inner; i++) now += data[at(o, i)]! * k[i]!;
    const gain = (v[o]! - now) / scale;
    for (let i = 0; i < inner; i++) data[at(o, i)] = data[at(o, i)]! + gain * u[i]!;
  }
  return f32(data, w.shape);
}

export const rome = defineMethod({
  id: "rome",
  paradigm: "editing",
  summary: "Writes one fact into the MLP of one block with a rank-one update.",
  paper: {
    title: "Locating and Editing Factual Associations in GPT",
    arxiv: "2202.05262",
    year: 2022,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad", "activations"],
  config,
  hooksFor: () => () => [],
  run: async (inputs: EditingInputs, c, context): Promise<EditingOutput> => {
    const { model, request, corpus } = inputs;
    const site = mlpOutSite(model, c.layer ?? Math.floor(model.info.layers / 2));
    const weight = site.weight!;
    if (!corpus) throw new LfmError("CONFIG_INVALID", "[@lfm/editing] rome estimates the covariance of keys: give a corpus");
    const covariance = await cachedCovariance(model, site.path, () => keyCovariance(context.engine, model, site, corpus));
    const batch = editBatch(request, [[], ...(inputs.prefixes ?? [])]);
    const { key, value } = await readMemory(context, model, site.path, weight, batch);
    const { delta, curves } = await optimiseValue(context, model, c, site.path, value, batch);
    const target = Float64Array.from(value, (v, i) => v + delta[i]!);
    const base = widenToF32(loadWeight(model.params[weight.name]!));
    // The bias adds to W·k on the way out: v* is the output with the bias, so take it off before solving for W.
    const bias = weight.bias ? (widenToF32(loadWeight(model.params[weight.bias]!)).data as Float32Array) : undefined;
    const updated = rankOneUpdate(base, weight.layout, key, bias ? target.map((v, i) => v - bias[i]!) : target, covariance, c.ridge);
    const patch: Delta = {
      kind: "weights",
      method: "editing/rome",
      config: c,
      parent: inputs.parent ?? null,
      tensors: { [weight.name]: updated },
      hooks: () => [],
    };
    return { delta: patch, model: withDeltas(model, [patch]), curves };
  },
});

/** C belongs to the model and the layer, not to the edit: kept as long as the model lives. */
const covariances = new WeakMap<Model, Map<string, Promise<Float64Array>>>();

function cachedCovariance(model: Model, path: string, make: () => Promise<Float64Array>): Promise<Float64Array> {
  let own = covariances.get(model);
  if (!own) {
    own = new Map();
    covariances.set(model, own);
  }
  let c = own.get(path);
  if (!c) {
    c = make();
    own.set(path, c);
  }
  return c;
}

/** Mean key over prefixes and the value at the bare prompt. */
async function readMemory(
  context: MethodContext,
  model: Model,
  path: string,
  weight: { readonly in: number; readonly out: number },
  batch: ReturnType<typeof editBatch>,
): Promise<{ key: Float64Array; value: Float64Array }> {
  const f = await compile(
    context.engine,
    editBatchSpec,
    (b, w) => {
      let [x, y]: [Tensor | undefined, Tensor | undefined] = [undefined, undefined];
      const hook = {
        matches: (s: { path: string }) => s.path === path,
        output: (out: Tensor, input: Tensor) => {
          [x, y] = [input, out];
          return out;
        },
      };
      model.forward(w as never, { tokens: b.tokens as never, mask: b.mask as never }, { mode: "eval", hooks: [hook] });
      const at = positionMask(b.subject as never, b.tokens as never);
      return { keys: sum(mul(x!, at), 1), values: sum(mul(y!, at), 1) };
    },
    { frozen: model.params as never },
  );
  const out = (await f(batch as never)) as unknown as { keys: HostTensor; values: HostTensor };
  await f.dispose();
  const rows = out.keys.shape[0]!;
  const key = new Float64Array(weight.in);
  for (let r = 0; r < rows; r++) for (let i = 0; i < weight.in; i++) key[i] = key[i]! + (out.keys.data[r * weight.in + i] as number) / rows;
  return { key, value: Float64Array.from((out.values.data as Float32Array).subarray(0, weight.out)) };
}

/** δ that makes the answer likely when it is added to the projection's output at the subject's last token. */
async function optimiseValue(
  context: MethodContext,
  model: Model,
  c: RomeConfig,
  path: string,
  value: Float64Array,
  batch: ReturnType<typeof editBatch>,
): Promise<{ delta: Float32Array; curves: EditingOutput["curves"] }> {
  const norm = Math.sqrt(value.reduce((s, v) => s + v * v, 0));
  const hookOf = (delta: Tensor, at: Tensor) => ({
    matches: (s: { path: string }) => s.path === path,
    output: (y: Tensor) => add(y, mul(at, reshape(delta, [1, 1, value.length]))),
  });
  const result = await fit({
    engine: context.engine,
    trainable: { delta: f32(new Float32Array(value.length)) },
    frozen: model.params,
    batch: editBatchSpec,
    batches: () => batch as never,
    loss: (params, b) => {
      const at = positionMask(b.subject, b.tokens);
      // Clamping inside the graph: δ beyond the ball is scaled back before it is used, as the reference does after each step.
      const length = sqrt(add(sum(square(params.delta!)), 1e-12));
      const limit = c.clamp * norm;
      const delta = mul(params.delta!, div(limit, maximum(length, limit)));
      const input = { tokens: b.tokens, mask: b.mask };
      const after = model.forward(params, input, { mode: "eval", hooks: [hookOf(delta, at)] }).logits!;
      const before = model.forward(params, input, { mode: "eval" }).logits!;
      const answer = answerLoss(after, b.labels);
      const atSubject = (logits: Tensor): Tensor => sum(mul(logits, at), 1);
      const drift = mean(klDivergence(atSubject(before), atSubject(after)));
      const decay = mul(length, c.weightDecay / (norm * norm));
      return { loss: add(add(answer, mul(drift, c.klFactor)), decay), metrics: { answer } };
    },
    optimizer: adam(),
    lr: c.lr,
    steps: c.steps,
    rng: context.rng.split("value"),
    threads: 1,
    ...(context.signal ? { signal: context.signal } : {}),
    progress: (p) => context.progress(p),
    phase: "rome",
    onStep: (_s, v) => (v.answer! < c.stopLoss ? "stop" : undefined),
  });
  const raw = result.params.delta!.data as Float32Array;
  const length = Math.sqrt(raw.reduce((s, x) => s + x * x, 0));
  const scale = length > c.clamp * norm ? (c.clamp * norm) / length : 1;
  return { delta: raw.map((x) => x * scale), curves: result.curves };
}
