import {
  adam,
  cosineSchedule,
  type HostTensor,
  itemShapeInput,
  logSoftmax,
  type MethodContext,
  mean,
  modelInput,
  mul,
  neg,
  type Offer,
  selectRows,
  studentInput,
  sum,
  sym,
  type Tensor,
} from "@lfm/core";
import { createBlackBox, type OwnedBlackBox } from "@lfm/models";
import { type Batch, fit, fitContext, sideBySide } from "@lfm/train";
import { z } from "zod";
import type { Learned } from "../define-student-method.js";
import type { GeneratorShape } from "../generator.js";
import type { DistillationInputs } from "../inputs.js";
import { inventedItems } from "../invented-items.js";
import { collapseVerdict, countClasses } from "../mode-collapse.js";
import { requirePair } from "../pair.js";
import { compileInventor, type Inventor, type InventorLoss } from "./inventor.js";
import { planQueries } from "./plan-queries.js";

/** Options of every method that asks a black box about what it invents. */
export const queryFields = {
  queries: z.number().int().positive().default(20000).describe("examples that the teacher is asked about, in all; spent to the last one"),
  batch: z.number().int().positive().default(64).describe("invented examples of a batch"),
  studentSteps: z
    .number()
    .int()
    .positive()
    .default(4)
    .describe("steps of the student for each batch that was asked about: the first on it, others on answers from before"),
  memory: z.number().int().positive().default(4096).describe("answers that are kept to be learned again"),
  noise: z.number().int().positive().default(64).describe("size of the generator's noise"),
  width: z.number().int().positive().multipleOf(2).default(64).describe("channels (or units) of the generator"),
  generatorLr: z.number().positive().default(1e-3).describe("learning rate of the generator (Adam)"),
  lr: z.number().positive().default(2e-3).describe("peak learning rate of the student (Adam, half a cosine down to 0)"),
};

export type QueryConfig = z.output<z.ZodObject<typeof queryFields>>;

/** What every method is given that asks a black box. */
export const queryInputs = { teacher: modelInput, student: studentInput, itemShape: itemShapeInput } as const;

/** How a method asks. */
export interface Asking {
  /** What the teacher tells of each example. */
  readonly offers: Offer;
  /** Examples that a step of the generator asks about. */
  readonly exploring: number;
  readonly inventorLoss: InventorLoss;
  /** Moves the generator, before a batch is invented. @param student parameters and buffers as they are now */
  readonly move: (inventor: Inventor, box: OwnedBlackBox, key: number, student: Readonly<Record<string, HostTensor>>) => Promise<void>;
  /** How the student is compared with what the teacher told, f32[n, classes] each. */
  readonly compare: (told: Tensor, student: Tensor) => Tensor;
}

/**
 * A student learns what a black box tells of invented inputs. The budget is spent to the last query; then the student is what it has become. What was
 * asked is not asked again: such a run is not taken up where it was stopped, but begun anew.
 */
export async function learnFromAnswers(
  id: string,
  { teacher, student, itemShape }: DistillationInputs,
  c: QueryConfig,
  context: MethodContext,
  asking: Asking,
): Promise<Learned> {
  const { item, field } = inventedItems(id, teacher, itemShape);
  requirePair(teacher, student, "answers");
  const shape: GeneratorShape = { noise: c.noise, width: c.width, item };
  const box = await createBlackBox(context.engine, teacher, { budget: c.queries, offers: asking.offers });
  const inventor = await compileInventor({
    engine: context.engine,
    student,
    field,
    shape,
    samples: c.batch,
    lr: c.generatorLr,
    rng: context.rng,
    loss: asking.inventorLoss,
  });
  const turns = planQueries(c.queries, asking.exploring, c.batch);
  const keys = context.rng.split("turns");
  const memory: Batch[] = [];
  const counts: number[] = [];
  const pair = sideBySide({ student });
  const learning = pair.learning("student");
  const classes = student.info.classes!;
  const { checkpoint: _notTakenUp, ...own } = fitContext(context, id);
  try {
    const { params, buffers, curves } = await fit({
      ...own,
      ...learning,
      batch: {
        x: { dtype: "f32", shape: [sym("batch"), ...item] },
        told: { dtype: "f32", shape: [sym("batch"), classes] },
      },
      batches: async (number, state) => {
        const [turn, again] = [Math.floor(number / c.studentSteps), number % c.studentSteps];
        if (again > 0) return memory[keys.split(`again ${number}`).int(memory.length)]!;
        const key = keys.split(turn).uint32();
        const now = pair.own("student", { ...state.buffers, ...state.params });
        const { exploring, learning: asked } = turns[turn]!;
        if (exploring > 0 || asking.exploring === 0) await asking.move(inventor, box, key, now);
        const x = firstItems(await inventor.invent(keys.split(`asked ${turn}`).uint32()), asked);
        const told = await box.predict(x);
        countClasses(told, counts);
        const batch = { x, told };
        memory.push(batch);
        if (memory.length * c.batch > c.memory && memory.length > 1) memory.shift();
        return batch;
      },
      loss: (params, { x, told }, { key }) => {
        const out = pair.forward("student", params, { [field]: x! }, { mode: "train", key });
        return { loss: asking.compare(told!, out.logits!), buffers: out.buffers ?? {} };
      },
      optimizer: adam(),
      lr: c.lr,
      schedule: cosineSchedule(),
      steps: turns.length * c.studentSteps,
    });
    const monitor = collapseVerdict(
      Array.from({ length: classes }, (_, k) => counts[k] ?? 0),
      "what was asked about",
    );
    return { tensors: pair.own("student", { ...buffers, ...params }), curves, monitors: [monitor], queries: box.queries };
  } finally {
    await inventor.dispose();
    await box.dispose();
  }
}

/** −Σ p·log softmax(s), mean over the batch: what is told are labels or probabilities. */
export function toldCrossEntropy(told: Tensor, student: Tensor): Tensor {
  return neg(mean(sum(mul(told, logSoftmax(student)), -1)));
}

function firstItems(x: HostTensor, count: number): HostTensor {
  return count === x.shape[0]
    ? x
    : selectRows(
        x,
        Array.from({ length: count }, (_, i) => i),
      );
}
