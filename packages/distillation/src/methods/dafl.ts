/**
 * DAFL (arXiv 1904.01186): without any data, a generator learns inputs that the teacher finds typical —
 * confident (one-hot loss), strongly activating, evenly spread over the classes (balance) and, where it has batch norm, of its running
 * statistics (DeepInversion's term, arXiv 1912.08795) — and that the student still gets wrong (adversarial term, arXiv 1905.09768);
 * the student matches the teacher on them. Generator and student take turns inside one step.
 */
import {
  abs,
  adam,
  add,
  argMax,
  compile,
  crossEntropy,
  defineMethod,
  f32,
  type Hook,
  hostTensor,
  type i32,
  LfmError,
  log,
  type MethodContext,
  type Model,
  type Monitor,
  maximum,
  mean,
  mul,
  neg,
  randomNormal,
  softmax,
  square,
  stopGradient,
  sub,
  sum,
  type Tensor,
  variance,
} from "@lfm/core";
import { fit, fitContext, trainableParams } from "@lfm/train";
import { z } from "zod";
import { type GeneratorShape, generate, initGenerator } from "../generator.js";
import { type DistillationInputs, type DistillationOutput, part, prefixed, withParams } from "../inputs.js";

const config = z.strictObject({
  steps: z.number().int().positive().default(400).describe("turns of generator and student"),
  batch: z.number().int().positive().default(128).describe("invented samples per turn"),
  noise: z.number().int().positive().default(64).describe("size of the generator's noise"),
  width: z.number().int().positive().default(64).describe("channels (or units) of the generator"),
  lr: z.number().positive().default(2e-3).describe("learning rate of generator and student (Adam)"),
  oneHot: z.number().min(0).default(1).describe("weight of the teacher's confidence"),
  balance: z.number().min(0).default(5).describe("weight of the spread over classes"),
  activation: z.number().min(0).default(0.01).describe("weight of the teacher's feature strength"),
  batchNorm: z.number().min(0).default(1).describe("weight of matching the teacher's running statistics"),
  adversarial: z.number().min(0).default(0.5).describe("weight of the student's disagreement"),
  temperature: z.number().positive().default(1).describe("softening T of the student's loss"),
});

export const dafl = defineMethod({
  id: "dafl",
  paradigm: "distillation",
  summary: "Distils without data: a generator invents what the teacher knows and the student does not yet.",
  paper: { title: "Data-Free Learning of Student Networks", arxiv: "1904.01186", year: 2019, survey: "4.2 generative reconstruction" },
  needs: ["weights", "grad", "activations"],
  config,
  presets: { plain: { summary: "as in the paper: no adversarial and no batch-norm term", config: { adversarial: 0, batchNorm: 0 } } },
  run: async (inputs: DistillationInputs, c, context): Promise<DistillationOutput> => {
    const { teacher, student, itemShape } = inputs;
    if (!itemShape) throw new LfmError("CONFIG_INVALID", "[@lfm/distillation] dafl must know the shape of one input: give itemShape");
    const shape: GeneratorShape = { noise: c.noise, width: c.width, item: itemShape };
    const field = teacher.info.input === "features" ? "features" : "pixels";
    const learned = trainableParams(student);
    const buffers = Object.fromEntries(Object.entries(student.params).filter(([n]) => !(n in learned)));
    const result = await fit({
      ...fitContext(context, "dafl"),
      trainable: { ...prefixed("s/", learned), ...prefixed("g/", initGenerator(shape, context.rng.split("generator"))) },
      buffers: prefixed("s/", buffers) as never,
      frozen: prefixed("t/", teacher.params),
      batch: { tick: { dtype: "f32", shape: [] } },
      batches: (step) => ({ tick: f32([step], []) }) as never,
      loss: (params, _batch, { key }) => {
        const x = generate(part("g/", params), randomNormal(key, [c.batch, c.noise]), shape);
        const stats: Tensor[] = [];
        const seen = teacher.forward(part("t/", params), { [field]: x }, { mode: "eval", hooks: [batchNormHook(params, stats)] });
        const probabilities = softmax(seen.logits!);
        const classes = teacher.info.classes ?? (seen.logits!.dim(-1) as number);
        const share = mean(probabilities, 0);
        const confident = crossEntropy(seen.logits!, argMax(seen.logits!));
        const spread = add(sum(mul(share, log(maximum(share, 1e-8)))), Math.log(classes));
        const strength = seen.pooled ? neg(mean(abs(seen.pooled))) : mul(mean(square(seen.logits!)), 0);
        const matched = stats.length > 0 ? stats.reduce((a, b) => add(a, b)) : mul(spread, 0);
        // The generator wants the student wrong, the student wants to be right: two losses, each with a gradient for its own part only.
        const frozenStudent = Object.fromEntries(Object.entries(part("s/", params)).map(([k, t]) => [k, stopGradient(t)]));
        const disagreement = matchLoss(
          seen.logits!,
          student.forward(frozenStudent, { [field]: x }, { mode: "train" }).logits!,
          c.temperature,
        );
        const forGenerator = [
          mul(confident, c.oneHot),
          mul(spread, c.balance),
          mul(strength, c.activation),
          mul(matched, c.batchNorm),
          mul(disagreement, -c.adversarial),
        ].reduce((a, b) => add(a, b));
        const answer = student.forward(part("s/", params), { [field]: stopGradient(x) }, { mode: "train" });
        const forStudent = matchLoss(stopGradient(seen.logits!), answer.logits!, c.temperature);
        return {
          loss: add(forStudent, forGenerator),
          metrics: { student: forStudent, generator: forGenerator },
          buffers: prefixed("s/", answer.buffers ?? {}),
        };
      },
      optimizer: adam(),
      lr: c.lr,
      steps: c.steps,
    });
    const params = part("s/", { ...result.buffers, ...result.params });
    const monitor = await collapseMonitor(teacher, part("g/", result.params), shape, field, context);
    return { params, student: withParams(student, params), curves: result.curves, monitors: [monitor] };
  },
});

/** Mean absolute difference of logits plus KL-free: the L1 form of arXiv 1912.11006 keeps gradients alive where both are confident. */
function matchLoss(teacher: Tensor, student: Tensor, temperature: number): Tensor {
  return mul(mean(abs(sub(teacher, student))), 1 / temperature);
}

/** Collects, at every batch-norm site of the teacher, how far the batch is from the running statistics. */
function batchNormHook(params: Readonly<Record<string, Tensor>>, into: Tensor[]): Hook {
  return {
    matches: (site) => site.kind === "norm" && `t/${site.path}.running_mean` in params,
    input: (x, site) => {
      const axes = x.rank === 4 ? [0, 2, 3] : [0];
      const distance = (a: Tensor, b: Tensor): Tensor => mean(square(sub(a, b)));
      into.push(
        add(
          distance(mean(x, axes), params[`t/${site.path}.running_mean`]!),
          distance(variance(x, axes), params[`t/${site.path}.running_var`]!),
        ),
      );
      return x;
    },
  };
}

/** Mode collapse: entropy of the teacher's classes over 512 invented samples, as a share of the largest possible. */
async function collapseMonitor(
  teacher: Model,
  generator: Readonly<Record<string, ReturnType<typeof f32>>>,
  shape: GeneratorShape,
  field: string,
  context: MethodContext,
): Promise<Monitor> {
  const f = await compile(
    context.engine,
    { key: { dtype: "i32", shape: [] } },
    ({ key }, w) => {
      const { g, t } = w as unknown as { g: Record<string, Tensor>; t: Record<string, Tensor> };
      return {
        labels: argMax(
          teacher.forward(t, { [field]: generate(g, randomNormal(key as unknown as Tensor, [512, shape.noise]), shape) }, { mode: "eval" })
            .logits!,
        ),
      };
    },
    { frozen: { g: generator, t: teacher.params } as never },
  );
  const { labels } = (await f({
    key: hostTensor("i32", [], Int32Array.of(context.rng.split("collapse").uint32())),
  } as never)) as unknown as { labels: ReturnType<typeof i32> };
  await f.dispose();
  const classes = teacher.info.classes ?? 1;
  const counts = new Array<number>(classes).fill(0);
  for (const k of labels.data as Int32Array) counts[k] = counts[k]! + 1;
  const entropy = counts.reduce((h, n) => (n === 0 ? h : h - (n / 512) * Math.log(n / 512)), 0) / Math.log(Math.max(2, classes));
  const covered = counts.filter((n) => n > 0).length;
  return {
    id: "mode-collapse",
    value: entropy,
    threshold: 0.8,
    warning: entropy < 0.8,
    message: `invented samples cover ${covered} of ${classes} classes, entropy ${(100 * entropy).toFixed(0)} % of even`,
  };
}
