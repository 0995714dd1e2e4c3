/**
 * WISE (arXiv 2405.14768): facts are written into a side memory, a copy W′ of one MLP projection W, and what flows in says which of the two
 * a token takes (side-memory.ts). Found by SGD on −log p(answer) with W′ + L_a (equation 4), which keeps apart how much what is in scope (e) and
 * what is not (i) activates the memory, token by token:
 *   L_a = [Δ(x_i) − α]₊ + [β − Δ(x_e)]₊ + [γ − (Δ(x_e) − Δ(x_i))]₊
 * Only a random share ρ of the entries of a memory learns. A memory takes so many facts, then a new one with entries of its own begins; so many
 * full ones are merged into one by TIES (equation 6).
 *
 * In scope are the tokens that say something of the answer: the prompt's last one, and those of the answer but for its last. All others are not, nor
 * are texts of the corpus. The authors' code takes the mean over a whole text instead, which a text that is read piece by piece does not have.
 */
import {
  add,
  cast,
  clip,
  dimSub,
  div,
  type Engine,
  expandDims,
  f32,
  greater,
  greaterEqual,
  type Hook,
  type Model,
  makeDelta,
  matmul,
  maximum,
  mul,
  pad,
  type Rng,
  type Site,
  sgd,
  slice,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
} from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited, defineEditingMethod, type Editor } from "../editor.js";
import { answerLossOf, editBatch, editBatchSpec, keyCorpusInput, namedCurves, promptRows, requireRequests } from "../inputs.js";
import { mlpOutSite } from "../keys.js";
import { lateLayer } from "../late-layer.js";
import { compileEditStep, type EditStep } from "../optimise.js";
import { memoryMask, mergeChanges, mergedId, SideMemories, type SideMemory, sideMemoryForm } from "../side-memory.js";
import { type MemoryForm, StandingMemory } from "../standing-memory.js";
import { compileSubjectReader, type SubjectReader } from "../subject-reader.js";
import { textsOf } from "../texts-of.js";

const count = (least: number): z.ZodNumber => z.number().int().min(least);

const config = z.strictObject({
  layer: count(0)
    .optional()
    .describe(
      "block whose MLP output projection gets side memories; default the one at three quarters of the depth, of several never the last",
    ),
  steps: count(1).default(70).describe("SGD steps for a fact"),
  lr: z.number().positive().default(1).describe("step size of SGD"),
  alpha: z.number().min(0).default(5).describe("margin α: what is not in scope activates the memory by less"),
  beta: z.number().min(0).default(20).describe("margin β: what is in scope activates it by more"),
  gamma: z.number().min(0).default(10).describe("margin γ: how far both are apart"),
  ratio: z.number().positive().max(1).default(0.2).describe("share ρ of the entries of a memory that learn"),
  bound: z.number().positive().default(1).describe("largest change of any entry"),
  actRatio: z.number().positive().max(1).default(0.88).describe("threshold of a memory, in units of the least activation of its facts"),
  stopLoss: z.number().min(0).default(0.02).describe("stop when the whole loss is below"),
  irrelevant: count(0).default(1).describe("texts of the corpus, drawn for each fact, that are not in scope"),
  shardEdits: count(1).default(500).describe("facts that a memory takes"),
  shards: count(1).default(2).describe("full memories that are merged into one; 1: none are"),
  density: z.number().positive().max(1).default(0.53).describe("share of the entries of each memory that a merge keeps"),
});
type WiseConfig = z.output<typeof config>;

export const wise = defineEditingMethod({
  id: "wise",
  summary: "Writes facts into copies of one MLP projection, taken by the tokens that activate them.",
  paper: {
    title: "WISE: Rethinking the Knowledge Memory for Lifelong Model Editing of Large Language Models",
    arxiv: "2405.14768",
    year: 2024,
    survey: "7.2 memory-based editing",
  },
  needs: ["weights", "grad", "activations"],
  inputs: { corpus: { kind: keyCorpusInput, optional: true, about: "that edits have nothing to do with" } },
  config,
  presets: {
    zoo: {
      summary: "for the zoo's language model, whose projections read 2,048 units",
      config: { layer: 3, lr: 0.004, alpha: 1, beta: 4, gamma: 2, steps: 40 },
    },
  },
  delta: sideMemoryForm,
  prepare: ({ model, parent = null, corpus, prefixes = [] }, c, context): Editor => {
    const site = mlpOutSite(model, c.layer ?? lateLayer(model));
    const { in: width, out } = site.weight!;
    const readers = new CleanAndEdited((at) => compileSubjectReader(context.engine, at, { inputs: [site], outputs: [] }));
    const searches = new CleanAndEdited((at) => compileMemoryStep(context.engine, at, site, c));
    const masks = new LastMask(width * out, c.ratio);
    const form: MemoryForm<SideMemories> = {
      method: "editing/wise",
      infix: ".side.",
      read: SideMemories.of,
      delta: (tensors) => makeDelta(wise, c, tensors, { parent }),
    };
    const standing = new StandingMemory(model, site, form);
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        const stands = standing.open(previous);
        const reader = await readers.on(stands.below, stands.which);
        const search = await searches.on(stands.below, stands.which);
        let memories = stands.memory?.begun() ?? new SideMemories(width);
        const touched = new Set<number>();
        const curves = [];
        for (const [i, request] of requests.entries()) {
          const rows = promptRows(request, [[], ...prefixes]);
          const rng = context.rng.split(`${request.prompt} ${request.target}`);
          const open = memories.open ?? emptyMemory(rng.split("side memory"), width * out);
          const texts = corpus ? textsOf(corpus, c.irrelevant, rng.split("texts")) : [];
          const facts = editBatch([...rows, ...texts.map((tokens) => ({ tokens, subject: 0, answer: 0 }))]);
          const batch = { ...facts, entries: f32(masks.of(open.id), [width, out]) };
          const from = f32(open.change, [width, out]);
          const { steps, lr, stopLoss } = c;
          const part = [i, requests.length] as const;
          const run = { batch, from, steps, lr, stopLoss, updateLast: true, phase: "wise", part };
          const { change, losses } = await search.run(run, context);
          const written = change.data as Float32Array;
          const least = await leastActivation(reader, rows, written);
          const edits = open.edits + 1;
          const threshold = Math.min(open.threshold, c.actRatio * least);
          const stage = edits < c.shardEdits ? "open" : "full";
          memories = mergedWhereFull(memories.with({ ...open, edits, threshold, stage, change: written }, []), c);
          touched.add(memories.all.at(-1)!.id);
          curves.push(losses);
        }
        const delta = form.delta(memories.only(touched).tensors(site.path));
        const edited = standing.keep(stands, previous, delta, memories, memories.tensors(site.path));
        return { delta, model: edited, curves: namedCurves(curves) };
      },
      dispose: async () => {
        await readers.dispose();
        await searches.dispose();
      },
    };
  },
});

function emptyMemory(rng: Rng, size: number): SideMemory {
  // As it lies in a file: i32.
  return { id: rng.seed | 0, stage: "open", edits: 0, threshold: Number.POSITIVE_INFINITY, change: new Float32Array(size) };
}

function mergedWhereFull(memories: SideMemories, { shards, density }: WiseConfig): SideMemories {
  const full = memories.all.filter((m) => m.stage === "full");
  if (shards === 1 || full.length < shards) return memories;
  const change = mergeChanges(
    full.map((m) => m.change),
    density,
  );
  const edits = full.reduce((n, m) => n + m.edits, 0);
  const threshold = Math.min(...full.map((m) => m.threshold));
  const ids = full.map((m) => m.id);
  return memories.with({ id: mergedId(ids), stage: "merged", edits, threshold, change }, ids);
}

/** The mask of a memory, which is the same for as many facts as it takes. */
class LastMask {
  private last: { readonly id: number; readonly mask: Float32Array } | undefined;

  constructor(
    private readonly size: number,
    private readonly ratio: number,
  ) {}

  of(id: number): Float32Array {
    if (this.last?.id !== id) this.last = { id, mask: memoryMask(id, this.size, this.ratio) };
    return this.last.mask;
  }
}

/** The least ‖x·(W′ − W)‖ of tokens in scope. change — f32[in·out] */
async function leastActivation(
  reader: SubjectReader,
  rows: readonly Parameters<typeof editBatch>[0][number][],
  change: Float32Array,
): Promise<number> {
  const scope = rows.flatMap(({ tokens, answer }) =>
    Array.from({ length: answer }, (_, k) => ({ tokens, subject: tokens.length - 1 - answer + k, answer: 0 })),
  );
  const { inputs } = await reader.read(editBatch(scope));
  return Math.min(...inputs[0]!.map((x) => activationOf(x, change)));
}

function activationOf(x: Float64Array, change: Float32Array): number {
  const out = change.length / x.length;
  const given = new Float64Array(out);
  for (const [i, v] of x.entries()) if (v !== 0) for (let j = 0; j < out; j++) given[j]! += v * change[i * out + j]!;
  return Math.sqrt(given.reduce((s, v) => s + v * v, 0));
}

/** Keeps the derivative of a length finite where nothing has changed yet. */
const TINY = 1e-12;

/** W′ − W f32[in, out] with which the answer is likely, and the margins hold. */
function compileMemoryStep(engine: Engine, model: Model, site: Site, c: WiseConfig): Promise<EditStep> {
  const shape = [site.weight!.in, site.weight!.out];
  return compileEditStep(engine, model, {
    shape,
    batch: { ...editBatchSpec, entries: { dtype: "f32", shape } },
    optimizer: sgd(),
    loss: (on, params, change, { entries, ...batch }) => {
      const { mask, labels } = batch;
      const seq = labels!.dim(1);
      const inside = pad(cast(greaterEqual(slice(labels!, 1, 1, dimSub(seq, 1)), 0), "f32"), 1, 0, 1);
      let apart: Tensor | undefined;
      const hook: Hook = {
        matches: ({ path }) => path === site.path,
        output: (y, x) => {
          const front = dimSub(x.dim(1), seq);
          const given = matmul(x, mul(change, entries!));
          const activation = slice(sqrt(add(sum(square(given), -1), TINY)), 1, front, seq);
          apart = marginLoss(activation, inside, sub(mask!, inside), c);
          return add(y, mul(given, expandDims(pad(inside, 1, front, 0), -1)));
        },
      };
      const answer = answerLossOf(on, params, batch, { mode: "eval", hooks: [hook] });
      return { loss: add(answer, apart!), project: (moved) => clip(moved, -c.bound, c.bound) };
    },
  });
}

type Margins = Pick<WiseConfig, "alpha" | "beta" | "gamma">;

/** L_a; each part the mean over those that break its margin, as in the authors' code. All f32[batch, seq] → f32[] */
function marginLoss(activation: Tensor, inside: Tensor, outside: Tensor, { alpha, beta, gamma }: Margins): Tensor {
  const over = (excess: Tensor, counted: Tensor): Tensor => {
    const breaks = mul(cast(greater(excess, 0), "f32"), counted);
    return div(sum(mul(excess, breaks)), maximum(sum(breaks), 1));
  };
  const mean = (counted: Tensor): Tensor => div(sum(mul(activation, counted)), maximum(sum(counted), 1));
  const near = maximum(sub(gamma, sub(mean(inside), mean(outside))), 0);
  return add(add(over(sub(activation, alpha), outside), over(sub(beta, activation), inside)), near);
}
