/**
 * ROME (arXiv 2202.05262): the MLP of one block is a memory of keys and values; write one pair with a rank-one update.
 *   k* = mean input of the output projection at the subject's last token, over prefixes
 *   v* = v₀ + δ, δ by Adam on NLL(answer) + kl·KL(after ‖ before at the bare subject) + decay·‖δ‖/‖v₀‖², ‖δ‖ ≤ clamp·‖v₀‖ (equation 4)
 *   Ŵ = W + (v* − Wk*)·(C⁻¹k*)ᵀ / (C⁻¹k*)ᵀk*,  C = E[kkᵀ] (equation 2)
 * As R-ROME (arXiv 2403.07175), the same averaged k* stands in numerator and denominator. Steps, stop and clamp as in the authors' code:
 * the last evaluation is not followed by an update, the ball is enforced after each update.
 */
import {
  add,
  compile,
  concat,
  defineMethod,
  dimEqual,
  dimSub,
  div,
  f32,
  full,
  type HostTensor,
  klDivergence,
  type MethodContext,
  type Model,
  makeDelta,
  maximum,
  modelInput,
  mul,
  type ParamTree,
  parentInput,
  reshape,
  type Site,
  slice,
  sqrt,
  square,
  sum,
  sym,
  type Tensor,
  withDeltas,
} from "@lfm/core";
import { cholesky } from "@lfm/core/linalg";
import { z } from "zod";
import {
  answerLoss,
  type EditBatch,
  type EditingInputs,
  type EditingOutput,
  editBatch,
  editBatchSpec,
  editRequestInput,
  essenceRow,
  gramInput,
  keyCorpusInput,
  promptRows,
} from "../inputs.js";
import { captureSite, keyCovariance, mlpOutSite, positionMask } from "../keys.js";
import { compileEditStep, type EditStep, editThreads, runEditStep } from "../optimise.js";
import { rankOneHooks, rankOneTensors, rankOneUpdate } from "../rank-one.js";
import { withSessions } from "../sessions.js";

const config = z.strictObject({
  layer: z.number().int().min(0).optional().describe("block to write into; default the middle one"),
  steps: z.number().int().positive().default(20).describe("evaluations of the value's loss, one Adam step after each but the last"),
  lr: z.number().positive().default(0.5).describe("step size of Adam on δ"),
  klFactor: z.number().min(0).default(0.0625).describe("weight of staying the same at the subject itself"),
  weightDecay: z.number().min(0).default(0.5).describe("weight of ‖δ‖/‖v₀‖²"),
  clamp: z.number().positive().default(4).describe("largest ‖δ‖ in units of ‖v₀‖"),
  stopLoss: z.number().min(0).default(0.05).describe("stop when the whole loss is below"),
  ridge: z.number().min(0).default(1e-3).describe("added to C, in units of its mean diagonal"),
});
export type RomeConfig = z.output<typeof config>;

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
  inputs: {
    model: modelInput,
    request: editRequestInput,
    corpus: { kind: keyCorpusInput, optional: true, about: "to take the statistics of keys from" },
    statistics: { kind: gramInput, optional: true, about: "of keys, instead of a corpus" },
    parent: parentInput,
  },
  config,
  delta: { hooks: (_c, tensors) => rankOneHooks(tensors) },
  run: (inputs: EditingInputs, c, context): Promise<EditingOutput> =>
    withSessions(inputs.sessions, async (sessions) => {
      const { model, request, corpus, statistics } = inputs;
      const { engine } = context;
      const site = mlpOutSite(model, c.layer ?? Math.floor(model.info.layers / 2));
      const keys = [engine, model, ...(statistics ? [statistics] : corpus ? [corpus] : [])];
      const factor = await sessions.get(`rome factor ${site.path} ${c.ridge}`, keys, async () => {
        const covariance = await sessions.get(`covariance ${site.path}`, keys, () => keyCovariance(engine, model, site, inputs, context));
        return cholesky(covariance, c.ridge);
      });
      const rows = promptRows(request, [[], ...(inputs.prefixes ?? [])]);
      const batch = editBatch([...rows, essenceRow(request)]);
      const reader = await sessions.get(`rome read ${site.path}`, [engine, model], () => compileReader(context, model, site));
      const memory = await readMemory(reader, batch);
      const step = await sessions.get(`rome value ${site.path}`, [engine, model], () => compileValueStep(context, model, site));
      const v0 = memory.values[0]!;
      const run = { start: f32(new Float32Array(v0.length)), batch, updateLast: false, phase: "rome" };
      const extra = {
        before: memory.before,
        norm: f32([Math.sqrt(v0.reduce((s, v) => s + v * v, 0))], []),
        clamp: f32([c.clamp], []),
        klFactor: f32([c.klFactor], []),
        weightDecay: f32([c.weightDecay], []),
      };
      const { value, curves } = await runEditStep(step, { ...run, extra, steps: c.steps, lr: c.lr, stopLoss: c.stopLoss }, context);
      const wanted = v0.map((v, i) => v + (value.data[i] as number));
      // The projection is linear: its mean output over the prefixes is what it gives (bias, adapters and earlier edits included) for the mean key.
      const prompts = rows.length;
      const update = rankOneUpdate(meanOf(memory.keys.slice(0, prompts)), meanOf(memory.values.slice(0, prompts)), wanted, factor);
      const patch = makeDelta(rome, c, rankOneTensors(site, update), { parent: inputs.parent ?? null });
      return { delta: patch, model: withDeltas(model, [patch]), curves };
    }),
});

interface Reader {
  run(batch: EditBatch): Promise<{ readonly keys: HostTensor; readonly values: HostTensor; readonly before: HostTensor }>;
  dispose(): Promise<void>;
}

/** What flows in and out of the projection at each row's subject, and the logits at the subject of the last row. */
async function compileReader({ engine }: MethodContext, model: Model, site: Site): Promise<Reader> {
  const f = await compile(
    engine,
    editBatchSpec,
    (b, params: ParamTree) => {
      let [x, y]: [Tensor | undefined, Tensor | undefined] = [undefined, undefined];
      const capture = captureSite(site, (input, output) => {
        [x, y] = [input, output];
      });
      const out = model.forward(params, { tokens: b.tokens, mask: b.mask }, { mode: "eval", hooks: [capture] });
      const at = positionMask(b.subject, b.tokens);
      return {
        keys: sum(mul(ownPositions(x!, at), at), 1),
        values: sum(mul(ownPositions(y!, at), at), 1),
        before: lastRow(out.logits!, at),
      };
    },
    { frozen: model.params, ...editThreads(model) },
  );
  return { run: (batch) => f(batch as never) as ReturnType<Reader["run"]>, dispose: () => f.dispose() };
}

async function readMemory(
  reader: Reader,
  batch: EditBatch,
): Promise<{ readonly keys: readonly Float64Array[]; readonly values: readonly Float64Array[]; readonly before: HostTensor }> {
  const { keys, values, before } = await reader.run(batch);
  const rows = ({ data, shape }: HostTensor): Float64Array[] =>
    Array.from({ length: shape[0]! }, (_, r) => Float64Array.from((data as Float32Array).subarray(r * shape[1]!, (r + 1) * shape[1]!)));
  return { keys: rows(keys), values: rows(values), before };
}

function meanOf(vectors: readonly Float64Array[]): Float64Array {
  return vectors[0]!.map((_, i) => vectors.reduce((s, v) => s + v[i]!, 0) / vectors.length);
}

/** δ that makes the answer likely when it is added to the projection's output at the subject's last token of every row. */
function compileValueStep({ engine }: MethodContext, model: Model, site: Site): Promise<EditStep> {
  const scalar = { dtype: "f32", shape: [] } as const;
  const d = site.weight!.out;
  return compileEditStep(engine, model, {
    shape: [d],
    extra: {
      before: { dtype: "f32", shape: [1, model.info.vocabSize ?? sym("vocab")] },
      norm: scalar,
      clamp: scalar,
      klFactor: scalar,
      weightDecay: scalar,
    },
    loss: (params, delta, b, { before, norm, klFactor, weightDecay }) => {
      const at = positionMask(b.subject!, b.tokens!);
      const hook = {
        matches: (s: Site) => s.path === site.path,
        output: (y: Tensor) => add(y, mul(padPositions(at, y), reshape(delta, [1, 1, d]))),
      };
      const { logits } = model.forward(params, { tokens: b.tokens!, mask: b.mask! }, { mode: "eval", hooks: [hook] });
      const drift = sum(klDivergence(lastRow(logits!, at), before!));
      // The tiny term keeps the derivative of the length finite at δ = 0.
      const decay = div(mul(sqrt(add(sum(square(delta)), 1e-12)), weightDecay!), square(norm!));
      return add(add(answerLoss(logits!, b.labels!), mul(drift, klFactor!)), decay);
    },
    project: (_params, delta, { norm, clamp }) => {
      const limit = mul(norm!, clamp!);
      return mul(delta, div(limit, maximum(sqrt(sum(square(delta))), limit)));
    },
  });
}

/** The positions of the tokens alone: what prompts put in front left out. x — f32[batch, prefix + seq, d], at — f32[batch, seq, 1]. */
function ownPositions(x: Tensor, at: Tensor): Tensor {
  const seq = at.dim(1);
  return dimEqual(x.dim(1), seq) ? x : slice(x, 1, dimSub(x.dim(1), seq), seq);
}

/** Zero for what prompts put in front. */
function padPositions(at: Tensor, y: Tensor): Tensor {
  const front = dimSub(y.dim(1), at.dim(1));
  return dimEqual(front, 0) ? at : concat([full([at.dim(0), front, 1], 0), at], 1);
}

/** Logits at the subject of the last row, f32[1, vocab]. */
function lastRow(logits: Tensor, at: Tensor): Tensor {
  const last = dimSub(at.dim(0), 1);
  return sum(mul(slice(ownPositions(logits, at), 0, last, 1), slice(at, 0, last, 1)), 1);
}
