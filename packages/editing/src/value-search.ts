import {
  add,
  div,
  type Engine,
  f32,
  klDivergence,
  type MethodContext,
  type Model,
  maximum,
  mul,
  reshape,
  type Site,
  slice,
  sqrt,
  square,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited } from "./editor.js";
import { answerLoss, type EditingOutput, type EditRequest, editBatch, essenceRow, promptRows } from "./inputs.js";
import { positionMask } from "./keys.js";
import { compileEditStep, type EditStep } from "./optimise.js";
import { compileReaderBefore, lastRow, padFront, type ReadSites, type SubjectReadings } from "./subject-reader.js";

/** Numbers with defaults. */
export type NumberFields<K extends string> = Record<K, z.ZodDefault<z.ZodNumber>>;

/** Options of the search for a value; defaults are ROME's for GPT-2 XL but for those that are given. */
export function valueFields({
  steps = 20,
  lr = 0.5,
  klFactor = 0.0625,
  clamp = 4,
}: Partial<ValueOptions> = {}): NumberFields<keyof ValueOptions> {
  return {
    steps: z.number().int().positive().default(steps).describe("evaluations of the value's loss, one Adam step after each but the last"),
    lr: z.number().positive().default(lr).describe("step size of Adam on δ"),
    klFactor: z.number().min(0).default(klFactor).describe("weight of staying the same at the subject itself"),
    weightDecay: z.number().min(0).default(0.5).describe("weight of ‖δ‖/‖v₀‖²"),
    clamp: z.number().positive().default(clamp).describe("largest ‖δ‖ in units of ‖v₀‖"),
    stopLoss: z.number().min(0).default(0.05).describe("stop when the whole loss is below"),
  };
}
export type ValueOptions = Readonly<Record<"steps" | "lr" | "klFactor" | "weightDecay" | "clamp" | "stopLoss", number>>;

/** A value that makes one fact come true, and what was read on the way. */
export interface FoundValue {
  /** v* at each value site, f64[out]. */
  readonly wanted: readonly Float64Array[];
  /** What the model gave before, at the rows of the prompt: alone first, then behind each prefix. */
  readonly read: SubjectReadings;
  readonly losses: EditingOutput["curves"][string];
}

/** One search, of the facts that one after the other are searched for. */
export interface SearchRun {
  readonly request: EditRequest;
  /** The model that the fact is written into. */
  readonly on: Model;
  /** Whether edits lie on it. */
  readonly which: "clean" | "edited";
  readonly phase: string;
  /** Which of how many, from 0. */
  readonly part: readonly [number, number];
}

/**
 * v* = v₀ + δ at one site or several at once, at the subject's last token of every row: δ by Adam on NLL(answer) + kl·KL(after ‖ before at the
 * bare subject) + decay·Σ‖δ‖/‖v₀‖², ‖δ‖ ≤ clamp·‖v₀‖ (arXiv 2202.05262, equation 4). Steps, stop and clamp as in the authors' code: the last
 * evaluation is not followed by an update, the ball is enforced after each update.
 */
export class ValueSearch {
  private readonly readers;
  private readonly searches;

  /** @param sites `outputs`: where values are looked for; `inputs`: what is read beside */
  constructor(
    engine: Engine,
    sites: ReadSites,
    private readonly options: ValueOptions,
    private readonly prefixes: readonly (readonly number[])[] = [],
  ) {
    this.readers = new CleanAndEdited((at) => compileReaderBefore(engine, at, sites));
    this.searches = new CleanAndEdited((at) => compileSearch(engine, at, sites.outputs));
  }

  /** @throws {LfmError} CONFIG_INVALID, ABORTED, NUMERIC_DIVERGED */
  async find({ request, on, which, phase, part }: SearchRun, context: MethodContext): Promise<FoundValue> {
    const { steps, lr, stopLoss, clamp, klFactor, weightDecay } = this.options;
    const rows = promptRows(request, [[], ...this.prefixes]);
    const batch = editBatch([...rows, essenceRow(request)]);
    const { before, inputs, outputs } = await (await this.readers.on(on, which)).read(batch);
    const starts = outputs.map((rows) => rows[0]!);
    const norms = starts.map((v0) => Math.sqrt(v0.reduce((s, v) => s + v * v, 0)));
    const extra = { before, norms: f32(norms), klFactor: f32([klFactor], []), weightDecay: f32([weightDecay], []) };
    const limit = f32(norms.map((norm) => clamp * norm));
    const run = { batch, extra, limit, steps, lr, stopLoss, updateLast: false, phase, part };
    const { change, losses } = await (await this.searches.on(on, which)).run(run, context);
    const width = starts[0]!.length;
    const own = (seen: SubjectReadings["inputs"]): SubjectReadings["inputs"] => seen.map((all) => all.slice(0, rows.length));
    return {
      wanted: starts.map((v0, s) => v0.map((v, i) => v + Number(change.data[s * width + i]))),
      read: { inputs: own(inputs), outputs: own(outputs) },
      losses,
    };
  }

  async dispose(): Promise<void> {
    await this.readers.dispose();
    await this.searches.dispose();
  }
}

/** δ f32[sites, d] that makes the answer likely when its rows are added to what the sites give at the subject's last token. */
function compileSearch(engine: Engine, model: Model, sites: readonly Site[]): Promise<EditStep> {
  const scalar = { dtype: "f32", shape: [] } as const;
  const [n, d] = [sites.length, model.info.hiddenSize];
  return compileEditStep(engine, model, {
    shape: [n, d],
    limit: [n],
    extra: {
      before: { dtype: "f32", shape: [1, model.info.vocabSize ?? sym("vocab")] },
      norms: { dtype: "f32", shape: [n] },
      klFactor: scalar,
      weightDecay: scalar,
    },
    loss: (on, params, delta, { tokens, mask, labels, subject, before, norms, klFactor, weightDecay }) => {
      const at = positionMask(subject!, tokens!);
      const hooks = sites.map(({ path }, i) => ({
        matches: (s: Site) => s.path === path,
        output: (y: Tensor) => add(y, mul(padFront(at, y), reshape(slice(delta, 0, i, 1), [1, 1, d]))),
      }));
      const { logits } = on.forward(params, { tokens: tokens!, mask: mask! }, { mode: "eval", hooks });
      const drift = sum(klDivergence(lastRow(logits!, at), before!));
      // The tiny term keeps the derivative of the length finite at δ = 0.
      const lengths = sqrt(add(sum(square(delta), 1), 1e-12));
      const decay = sum(div(mul(lengths, weightDecay!), square(norms!)));
      return add(add(answerLoss(logits!, labels!), mul(drift, klFactor!)), decay);
    },
    project: (delta, limit) => mul(delta, reshape(div(limit, maximum(sqrt(sum(square(delta), 1)), limit)), [n, 1])),
  });
}
