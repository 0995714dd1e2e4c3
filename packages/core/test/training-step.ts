import {
  adamw,
  compileStep,
  type Engine,
  f32,
  gather,
  gelu,
  grad,
  type HostTensor,
  i32,
  layerNorm,
  linear,
  logSoftmax,
  mean,
  mul,
  oneHot,
  Rng,
  sum,
  sym,
} from "../src/index.js";

const [vocab, dim, seq] = [17, 8, 6];
const rng = new Rng(5);
const normal = (...shape: number[]): HostTensor =>
  f32(
    rng.normalArray(shape.reduce((a, b) => a * b, 1)).map((x) => x * 0.3),
    shape,
  );

/** A bigram model with a normalised hidden layer: trainable embedding (repeated indices), frozen first layer, Adam. */
export const initial = { embed: normal(vocab, dim), scale: f32(new Array(dim).fill(1)), shift: normal(dim), out: normal(vocab, dim) };
export const frozen = { hidden: normal(dim, dim), bias: normal(dim) };
export const batch = {
  tokens: i32(
    Array.from({ length: 4 * seq }, (_, i) => (i * 5) % 7),
    [4, seq],
  ),
  targets: i32(
    Array.from({ length: 4 * seq }, (_, i) => (i * 3) % vocab),
    [4, seq],
  ),
};

/** The step as one graph; the batch is a symbol. */
export async function trainingStep(engine: Engine): Promise<{
  run(n: number): Promise<number[]>;
  params(): Readonly<Record<string, HostTensor>>;
  dispose(): Promise<void>;
}> {
  const optimizer = adamw({ weightDecay: 0.01 });
  const shape = [sym("batch"), seq] as const;
  const scalar = { dtype: "f32", shape: [] } as const;
  const state: Record<string, Record<string, HostTensor>> = { params: initial };
  for (const [slot, values] of Object.entries(optimizer.init(initial))) state[slot] = values;
  const step = await compileStep(engine, {
    state,
    frozen,
    inputs: { tokens: { dtype: "i32", shape }, targets: { dtype: "i32", shape }, lr: scalar, step: scalar },
    step: ({ params, ...slots }, { tokens, targets, lr, step }, w) => {
      const p = params!;
      const x = layerNorm(gather(p.embed!, tokens), p.scale!, p.shift!);
      const logits = linear(gelu(linear(x, w.hidden, w.bias)), p.out!, undefined);
      const loss = mul(mean(sum(mul(logSoftmax(logits), oneHot(targets, vocab)), -1)), -1);
      const next = optimizer.update(p, grad(loss, p), slots, { lr, step });
      return { state: { params: next.params, ...next.state }, outputs: { loss } };
    },
  });
  let done = 0;
  return {
    run: async (n) => {
      const losses: number[] = [];
      for (let i = 0; i < n; i++) {
        const out = await step.run({ ...batch, lr: f32([0.05], []), step: f32([++done], []) });
        losses.push(out.loss.data[0] as number);
      }
      return losses;
    },
    params: () => step.state().params!,
    dispose: step.dispose,
  };
}
