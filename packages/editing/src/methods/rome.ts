/**
 * ROME (arXiv 2202.05262): the MLP of one block is a memory of keys and values; write one pair with a rank-one update.
 *   k* = mean input of the output projection at the subject's last token, over prefixes
 *   v* = v₀ + δ, δ by Adam on NLL(answer) + kl·KL(after ‖ before at the bare subject) + decay·‖δ‖/‖v₀‖², ‖δ‖ ≤ clamp·‖v₀‖ (equation 4)
 *   Ŵ = W + (v* − Wk*)·(C⁻¹k*)ᵀ / (C⁻¹k*)ᵀk*,  C = E[kkᵀ] (equation 2)
 * As R-ROME (arXiv 2403.07175), the same averaged k* stands in numerator and denominator. Steps, stop and clamp as in the authors' code:
 * the last evaluation is not followed by an update, the ball is enforced after each update. Several facts are written one after the other, each
 * into the model with those before it.
 */
import {
  add,
  compileModel,
  concat,
  type Delta,
  dimEqual,
  dimSub,
  div,
  type Engine,
  f32,
  full,
  type HostTensor,
  klDivergence,
  type Model,
  makeDelta,
  maximum,
  modelInput,
  mul,
  parentInput,
  previousInput,
  reshape,
  type Site,
  slice,
  sqrt,
  square,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { cholesky } from "@lfm/core/linalg";
import { z } from "zod";
import { CleanAndEdited, defineEditingMethod, type Editor, editedModel, type OnModel } from "../editor.js";
import {
  answerLoss,
  type EditBatch,
  type EditingOutput,
  type EditRequest,
  editBatch,
  editBatchSpec,
  editRequestsInput,
  essenceRow,
  gramInput,
  keyCorpusInput,
  promptRows,
  requireRequests,
} from "../inputs.js";
import { captureSite, keyCovariance, mlpOutSite, positionMask } from "../keys.js";
import { compileEditStep, type EditStep, editThreads } from "../optimise.js";
import { type RankOne, rankOneForm, rankOneTensors, rankOneUpdate } from "../rank-one.js";

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

export const rome = defineEditingMethod({
  id: "rome",
  summary: "Writes facts into the MLP of one block, each with a rank-one update.",
  paper: {
    title: "Locating and Editing Factual Associations in GPT",
    arxiv: "2202.05262",
    year: 2022,
    survey: "7.2 parameter-based editing",
  },
  needs: ["weights", "grad", "activations"],
  inputs: {
    model: modelInput,
    requests: editRequestsInput,
    corpus: { kind: keyCorpusInput, optional: true, about: "to take the statistics of keys from" },
    statistics: { kind: gramInput, optional: true, about: "of keys, instead of a corpus" },
    previous: { kind: previousInput, optional: true, about: "earlier edits" },
    parent: parentInput,
  },
  config,
  delta: rankOneForm,
  prepare: (inputs, c, context): Editor => {
    const { model } = inputs;
    const site = mlpOutSite(model, c.layer ?? Math.floor(model.info.layers / 2));
    const readers = new CleanAndEdited((at) => compileReader(context.engine, at, site));
    const searches = new CleanAndEdited((at) => compileValueSearch(context.engine, at, site));
    let factor: Float64Array | undefined;
    const write = async (request: EditRequest, previous: readonly Delta[], part: readonly [number, number]): Promise<Written> => {
      factor ??= cholesky(await keyCovariance(context.engine, model, site, inputs, context), c.ridge);
      const [on, which] = [editedModel(model, previous), previous.length > 0 ? "edited" : "clean"] as const;
      const rows = promptRows(request, [[], ...(inputs.prefixes ?? [])]);
      const batch = editBatch([...rows, essenceRow(request)]);
      const { keys, values, before } = await (await readers.on(on, which)).read(batch);
      const v0 = values[0]!;
      const norm = Math.sqrt(v0.reduce((s, v) => s + v * v, 0));
      const extra = { before, norm: f32([norm], []), klFactor: f32([c.klFactor], []), weightDecay: f32([c.weightDecay], []) };
      const { steps, lr, stopLoss } = c;
      const run = { batch, extra, limit: c.clamp * norm, steps, lr, stopLoss, updateLast: false, phase: "rome", part };
      const { change, losses } = await (await searches.on(on, which)).run(run, context);
      const wanted = v0.map((v, i) => v + Number(change.data[i]));
      // The projection is linear: its mean output over the prefixes is what it gives (bias, adapters and earlier edits included) for the mean key.
      const [key, now] = [meanOf(keys.slice(0, rows.length)), meanOf(values.slice(0, rows.length))];
      return { update: rankOneUpdate(key, now, wanted, factor), losses };
    };
    const patch = (written: readonly Written[]): Delta =>
      makeDelta(
        rome,
        c,
        rankOneTensors(
          site,
          written.map((w) => w.update),
        ),
        { parent: inputs.parent ?? null },
      );
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        const written: Written[] = [];
        for (const [i, request] of requests.entries()) {
          const below = written.length > 0 ? [...previous, patch(written)] : previous;
          written.push(await write(request, below, [i, requests.length]));
        }
        const delta = patch(written);
        const curves = written.map((w, i) => [written.length > 1 ? `loss.${i + 1}` : "loss", w.losses] as const);
        return { delta, model: editedModel(model, [...previous, delta]), curves: Object.fromEntries(curves) };
      },
      dispose: async () => {
        await readers.dispose();
        await searches.dispose();
      },
    };
  },
});

interface Written {
  readonly update: RankOne;
  readonly losses: EditingOutput["curves"][string];
}

/** What flows in and out of the projection at each row's subject, f64 a row, and the logits at the subject of the last row. */
interface Reader extends OnModel {
  read(batch: EditBatch): Promise<{
    readonly keys: readonly Float64Array[];
    readonly values: readonly Float64Array[];
    readonly before: HostTensor;
  }>;
}

async function compileReader(engine: Engine, model: Model, site: Site): Promise<Reader> {
  const f = await compileModel(
    engine,
    model,
    editBatchSpec,
    (b, params, at) => {
      let [x, y]: [Tensor | undefined, Tensor | undefined] = [undefined, undefined];
      const capture = captureSite(site, (input, output) => {
        [x, y] = [input, output];
      });
      const out = at.forward(params, { tokens: b.tokens, mask: b.mask }, { mode: "eval", hooks: [capture] });
      const subject = positionMask(b.subject, b.tokens);
      return {
        keys: sum(mul(ownPositions(x!, subject), subject), 1),
        values: sum(mul(ownPositions(y!, subject), subject), 1),
        before: lastRow(out.logits!, subject),
      };
    },
    editThreads(model),
  );
  return {
    read: async (batch) => {
      const { keys, values, before } = await f({ ...batch });
      return { keys: rowsOf(keys), values: rowsOf(values), before };
    },
    model: () => f.bound().model,
    swap: f.swap,
    dispose: f.dispose,
  };
}

function rowsOf({ data, shape }: HostTensor): Float64Array[] {
  return Array.from({ length: shape[0]! }, (_, r) =>
    Float64Array.from((data as Float32Array).subarray(r * shape[1]!, (r + 1) * shape[1]!)),
  );
}

function meanOf(vectors: readonly Float64Array[]): Float64Array {
  return vectors[0]!.map((_, i) => vectors.reduce((s, v) => s + v[i]!, 0) / vectors.length);
}

/** δ that makes the answer likely when it is added to the projection's output at the subject's last token of every row. */
function compileValueSearch(engine: Engine, model: Model, site: Site): Promise<EditStep> {
  const scalar = { dtype: "f32", shape: [] } as const;
  const d = site.weight!.out;
  return compileEditStep(engine, model, {
    shape: [d],
    extra: {
      before: { dtype: "f32", shape: [1, model.info.vocabSize ?? sym("vocab")] },
      norm: scalar,
      klFactor: scalar,
      weightDecay: scalar,
    },
    loss: (on, params, delta, { tokens, mask, labels, subject, before, norm, klFactor, weightDecay }) => {
      const at = positionMask(subject!, tokens!);
      const hook = {
        matches: (s: Site) => s.path === site.path,
        output: (y: Tensor) => add(y, mul(padPositions(at, y), reshape(delta, [1, 1, d]))),
      };
      const { logits } = on.forward(params, { tokens: tokens!, mask: mask! }, { mode: "eval", hooks: [hook] });
      const drift = sum(klDivergence(lastRow(logits!, at), before!));
      // The tiny term keeps the derivative of the length finite at δ = 0.
      const decay = div(mul(sqrt(add(sum(square(delta)), 1e-12)), weightDecay!), square(norm!));
      return add(add(answerLoss(logits!, labels!), mul(drift, klFactor!)), decay);
    },
    project: (delta, limit) => mul(delta, div(limit, maximum(sqrt(sum(square(delta))), limit))),
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
