/**
 * T-Patcher (arXiv 2301.09785): beside the last MLP a neuron for each token of a new answer (patch-neurons.ts), which learns alone:
 *   L = −log p(answer) + a·mean exp(−(q·k + b)) + m·(mean exp(M·k + b − β) + mean exp((M·k + b) − (q·k + b) + γ))  (equations 5 to 8)
 * q is what the MLP reads where the token is to be said, M what it reads where the neuron shall be silent: at the prompt's other tokens, and in texts of
 * the corpus. k begins at q/‖q‖², so that the neuron gives 1 there, b and v at 0. Several facts are written one after the other, each beside
 * the neurons of those before.
 */
import {
  add,
  type Delta,
  dimSub,
  type Engine,
  exp,
  f32,
  type Hook,
  type HostTensor,
  LfmError,
  linear,
  type Model,
  makeDelta,
  matmul,
  maximum,
  mean,
  mul,
  neg,
  reshape,
  type Site,
  slice,
  sub,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited, defineEditingMethod, type Editor, editedModel } from "../editor.js";
import {
  answerLossOf,
  type EditRequest,
  editBatch,
  editBatchSpec,
  keyCorpusInput,
  namedCurves,
  promptRows,
  requireRequests,
} from "../inputs.js";
import { compileEditStep, type EditStep } from "../optimise.js";
import { joinNeurons, patchNeuronForm, patchTensors } from "../patch-neurons.js";
import { compileSubjectReader, type SubjectReader } from "../subject-reader.js";
import { textsOf } from "../texts-of.js";

const config = z.strictObject({
  layer: z.number().int().min(0).optional().describe("block beside whose MLP neurons stand; default the last"),
  steps: z.number().int().positive().default(100).describe("Adam steps"),
  lr: z.number().positive().default(0.01).describe("step size of Adam"),
  activation: z.number().min(0).default(1).describe("weight a of being active where the answer is to be said"),
  memory: z.number().min(0).default(10).describe("weight m of being silent elsewhere"),
  beta: z.number().default(-3).describe("bound β of what a neuron is given elsewhere"),
  gamma: z.number().default(3).describe("how much less γ than where the answer is to be said"),
  memories: z.number().int().min(0).default(64).describe("texts of the corpus that neurons shall be silent in, at a token each"),
  stopLoss: z.number().min(0).default(0.01).describe("stop when the whole loss is below"),
});
type PatcherConfig = z.output<typeof config>;

export const tPatcher = defineEditingMethod({
  id: "t-patcher",
  summary: "Puts a neuron for each token of a new answer beside the last MLP.",
  paper: {
    title: "Transformer-Patcher: One Mistake worth One Neuron",
    arxiv: "2301.09785",
    year: 2023,
    survey: "7.2 memory-based editing",
  },
  needs: ["weights", "grad", "activations"],
  inputs: { corpus: { kind: keyCorpusInput, optional: true, about: "that edits have nothing to do with" } },
  config,
  delta: patchNeuronForm,
  prepare: ({ model, parent = null, corpus }, c, context): Editor => {
    const site = mlpSite(model, c.layer ?? model.info.layers - 1);
    const readers = new CleanAndEdited((at) => compileSubjectReader(context.engine, at, { inputs: [site], outputs: [] }));
    const searches = new Map<number, CleanAndEdited<EditStep>>();
    const searchOf = (neurons: number): CleanAndEdited<EditStep> => {
      const there = searches.get(neurons) ?? new CleanAndEdited((at) => compileNeuronStep(context.engine, at, site, neurons, c));
      searches.set(neurons, there);
      return there;
    };
    const patch = (tensors: Readonly<Record<string, HostTensor>>): Delta => makeDelta(tPatcher, c, tensors, { parent });
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        let tensors: Readonly<Record<string, HostTensor>> | undefined;
        const curves = [];
        for (const [i, request] of requests.entries()) {
          const below = tensors ? [...previous, patch(tensors)] : previous;
          const [on, which] = [editedModel(model, below), below.length > 0 ? "edited" : "clean"] as const;
          const texts = corpus ? textsOf(corpus, c.memories, context.rng.split(`texts ${request.prompt} ${request.target}`)) : [];
          const read = await readQueries(await readers.on(on, which), request, texts);
          const [row] = promptRows(request, [[]]);
          const neurons = request.target.length;
          const own = ownPlaces(row!.tokens.length, request.prompt.length - 1, neurons);
          const batch = { ...editBatch([row!]), own, memories: read.memories };
          const { steps, lr, stopLoss } = c;
          const part = [i, requests.length] as const;
          const from = firstNeurons(read.queries, model.info.hiddenSize);
          const run = { batch, from, steps, lr, stopLoss, updateLast: true, phase: "t-patcher", part };
          const { change, losses } = await (await searchOf(neurons).on(on, which)).run(run, context);
          const written = neuronsOf(change.data as Float32Array, site, neurons, model.info.hiddenSize);
          tensors = tensors ? joinNeurons(tensors, written) : written;
          curves.push(losses);
        }
        const delta = patch(tensors!);
        return { delta, model: editedModel(model, [...previous, delta]), curves: namedCurves(curves) };
      },
      dispose: async () => {
        await readers.dispose();
        for (const search of searches.values()) await search.dispose();
      },
    };
  },
});

/** @throws {LfmError} CAPABILITY_MISSING */
function mlpSite({ info }: Model, layer: number): Site {
  const site = info.sites.find((s) => s.layer === layer && s.kind === "mlp");
  if (site) return site;
  throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] t-patcher: ${info.architecture} has no MLP of its own in layer ${layer}`, {
    hint: `layers: 0..${info.layers - 1}`,
  });
}

/** What the MLP reads where tokens of the answer are to be said, and where neurons shall be silent. @throws {LfmError} CONFIG_INVALID where that is nowhere */
async function readQueries(
  reader: SubjectReader,
  { prompt, target }: EditRequest,
  texts: readonly (readonly number[])[],
): Promise<{ readonly queries: readonly Float64Array[]; readonly memories: HostTensor }> {
  const end = prompt.length - 1;
  const at = (tokens: readonly number[], subject: number) => ({ tokens, subject, answer: 0 });
  const said = target.map((_, j) => at([...prompt, ...target], end + j));
  const silent = [...Array.from({ length: end }, (_, j) => at(prompt, j)), ...texts.map((tokens) => at(tokens, tokens.length - 1))];
  if (silent.length === 0)
    throw new LfmError("CONFIG_INVALID", "[@lfm/editing] t-patcher: there is no token that the neuron shall be silent at", {
      hint: "give a corpus: --corpus texts.txt",
    });
  const { inputs } = await reader.read(editBatch([...said, ...silent]));
  const rows = inputs[0]!.slice(said.length);
  const width = rows[0]!.length;
  const memories = new Float32Array(rows.length * width);
  for (const [r, row] of rows.entries()) memories.set(row, r * width);
  return { queries: inputs[0]!.slice(0, said.length), memories: f32(memories, [rows.length, width]) };
}

/** 1 where the token of a neuron is to be said, f32[seq, n]. */
function ownPlaces(seq: number, end: number, neurons: number): HostTensor {
  const places = new Float32Array(seq * neurons);
  for (let j = 0; j < neurons; j++) places[(end + j) * neurons + j] = 1;
  return f32(places, [seq, neurons]);
}

/** Keys f32[n, d], biases f32[n] and values f32[n, d] behind each other. */
function firstNeurons(queries: readonly Float64Array[], width: number): HostTensor {
  const n = queries.length;
  const values = new Float32Array(n * (2 * width + 1));
  for (const [j, q] of queries.entries()) {
    const squares = q.reduce((s, v) => s + v * v, 0);
    values.set(
      q.map((v) => v / squares),
      j * width,
    );
  }
  return f32(values);
}

function neuronsOf(values: Float32Array, site: Site, n: number, width: number): Record<string, HostTensor> {
  const [biases, up] = [n * width, n * width + n];
  return patchTensors(
    site,
    f32(values.slice(0, biases), [n, width]),
    f32(values.slice(biases, up), [n]),
    f32(values.slice(up), [n, width]),
  );
}

function compileNeuronStep(engine: Engine, model: Model, site: Site, n: number, c: PatcherConfig): Promise<EditStep> {
  const width = model.info.hiddenSize;
  return compileEditStep(engine, model, {
    shape: [n * (2 * width + 1)],
    batch: {
      ...editBatchSpec,
      own: { dtype: "f32", shape: [sym("seq"), n] },
      memories: { dtype: "f32", shape: [sym("memories"), width] },
    },
    loss: (on, params, change, { own, memories, ...batch }) => {
      const keys = reshape(slice(change, 0, 0, n * width), [n, width]);
      const biases = slice(change, 0, n * width, n);
      const values = reshape(slice(change, 0, n * width + n, n * width), [n, width]);
      const given = (x: Tensor): Tensor => add(linear(x, keys, undefined), biases);
      let asked: Tensor | undefined;
      const hook: Hook = {
        matches: ({ path }) => path === site.path,
        output: (y, x) => {
          const activations = given(x);
          const seq = own!.dim(0);
          asked = sum(mul(slice(activations, 1, dimSub(x.dim(1), seq), seq), own!), [0, 1]);
          return add(y, matmul(maximum(activations, 0), values));
        },
      };
      const answer = answerLossOf(on, params, batch, { mode: "eval", hooks: [hook] });
      const elsewhere = given(memories!);
      const active = mean(exp(neg(asked!)));
      const silent = add(mean(exp(sub(elsewhere, c.beta))), mean(exp(add(sub(elsewhere, asked!), c.gamma))));
      return { loss: add(answer, add(mul(active, c.activation), mul(silent, c.memory))) };
    },
  });
}
