import {
  add,
  cast,
  concat,
  crossEntropyPerItem,
  dimMul,
  dimScalar,
  dimSub,
  div,
  type Engine,
  klDivergence,
  type MethodContext,
  type Model,
  maximum,
  mean,
  mul,
  reshape,
  type Site,
  slice,
  sqrt,
  square,
  sum,
  type Tensor,
} from "@lfm/core";
import { scoredHead } from "@lfm/train";
import { z } from "zod";
import { behindFront, cutMask, cutRows, cutSpec } from "./cut-rows.js";
import { CleanAndEdited } from "./editor.js";
import { type EditingOutput, type EditRequest, essenceRow, promptRows } from "./inputs.js";
import { captureSite } from "./keys.js";
import { compileEditStep, type EditStep } from "./optimise.js";
import { type ReadSites, rowsOf, type SubjectReadings } from "./subject-reader.js";

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
 * evaluation is not followed by an update, the ball is enforced after each update. What stands before the subject's last token, and all that
 * does not depend on δ, is computed once.
 */
export class ValueSearch {
  private readonly searches;

  /** @param sites `outputs`: where values are looked for; `inputs`: what is read beside */
  constructor(
    engine: Engine,
    private readonly sites: ReadSites,
    private readonly options: ValueOptions,
    private readonly prefixes: readonly (readonly number[])[] = [],
  ) {
    this.searches = new CleanAndEdited((at) => compileSearch(engine, at, sites, options));
  }

  /** @throws {LfmError} CONFIG_INVALID, ABORTED, NUMERIC_DIVERGED */
  async find({ request, on, which, phase, part }: SearchRun, context: MethodContext): Promise<FoundValue> {
    const { steps, lr, stopLoss } = this.options;
    const rows = promptRows(request, [[], ...this.prefixes]);
    const batch = cutRows([...rows, essenceRow(request)], on.info);
    const run = { batch, steps, lr, stopLoss, updateLast: false, phase, part };
    const { change, losses, readings } = await (await this.searches.on(on, which)).run(run, context);
    const seen = (kind: keyof ReadSites): SubjectReadings[keyof ReadSites] =>
      this.sites[kind].map((_, i) => rowsOf(readings[`${kind}/${i}`]!).slice(0, rows.length));
    const read = { inputs: seen("inputs"), outputs: seen("outputs") };
    const width = on.info.hiddenSize;
    return { wanted: read.outputs.map(([v0], s) => v0!.map((v, i) => v + Number(change.data[s * width + i]))), read, losses };
  }

  dispose(): Promise<void> {
    return this.searches.dispose();
  }
}

/** δ f32[sites, d] that makes the answer likely when its rows are added to what the sites give at the subject's last token. */
function compileSearch(
  engine: Engine,
  model: Model,
  { inputs, outputs }: ReadSites,
  { klFactor, weightDecay, clamp }: ValueOptions,
): Promise<EditStep> {
  const [n, d] = [outputs.length, model.info.hiddenSize];
  return compileEditStep(engine, model, {
    shape: [n, d],
    batch: cutSpec,
    loss: (on, params, delta, rows) => {
      const at = cutMask(rows);
      const atSubject = (x: Tensor): Tensor => sum(mul(x, at), 1);
      const seen: Record<string, Tensor> = {};
      const looking = [
        ...inputs.map((site, i) =>
          captureSite(site, (x) => {
            seen[`inputs/${i}`] = atSubject(x);
          }),
        ),
        ...outputs.map((site, i) =>
          captureSite(site, (_x, y) => {
            seen[`outputs/${i}`] = atSubject(y);
          }),
        ),
      ];
      const moving = outputs.map(({ path }, i) => ({
        matches: (s: Site) => s.path === path,
        output: (y: Tensor) => add(y, mul(at, reshape(slice(delta, 0, i, 1), [1, 1, d]))),
      }));
      const run = behindFront(on, params, rows);
      run(looking);
      const { last, scored, targets, tokens } = rows;
      const before = run([scoredHead(last!, tokens!)], "last").logits!;
      const rowsAbove = dimMul(dimSub(tokens!.dim(0), 1), tokens!.dim(1));
      const places = concat([scored!, add(last!, cast(dimScalar(rowsAbove), "i32"))], 0);
      const { logits } = run([...moving, scoredHead(places, tokens!)]);
      const answers = scored!.dim(0);
      const answer = mean(crossEntropyPerItem(slice(logits!, 0, 0, answers), targets!));
      const drift = sum(klDivergence(slice(logits!, 0, answers, 1), before));
      // ‖v₀‖² of each site: the first row is the prompt alone.
      const squares = concat(
        outputs.map((_, i) => sum(square(slice(seen[`outputs/${i}`]!, 0, 0, 1)), 1)),
        0,
      );
      // The tiny term keeps the derivative of the length finite at δ = 0.
      const lengths = sqrt(add(sum(square(delta), 1), 1e-12));
      const decay = sum(div(mul(lengths, weightDecay), squares));
      const limit = mul(sqrt(squares), clamp);
      return {
        loss: add(add(answer, mul(drift, klFactor)), decay),
        project: (moved) => mul(moved, reshape(div(limit, maximum(sqrt(sum(square(moved), 1)), limit)), [n, 1])),
        readings: seen,
      };
    },
  });
}
