import {
  abs,
  compile,
  crossEntropy,
  type Engine,
  grad,
  type Hook,
  type HostTensor,
  type Model,
  max,
  mean,
  type Outputs,
  reshape,
  type Site,
  slice,
  square,
  type Tensor,
} from "@lfm/core";

/** What flowed through the linear layers of a model on a batch. */
export interface Calibration {
  /** Largest magnitude and mean square of each input, f32[in]; layers that read the same values stand together, by the paths of their sites. */
  readonly inputs: readonly { readonly sites: readonly string[]; readonly largest: HostTensor; readonly meanSquare: HostTensor }[];
  /** Largest magnitude of the gradient at each output, f32[out], by the path of the site; empty where it was not asked for. */
  readonly gradients: Readonly<Record<string, HostTensor>>;
}

/** Sites that multiply by a weight. */
export function isProduct(site: Site): boolean {
  return site.weight !== undefined && site.kind !== "embedding";
}

/**
 * Runs a batch of tokens through a model and notes how large values become at each input of its linear layers, and gradients at each output: of
 * the loss of predicting the next token, of the mean square of the output where the model predicts none.
 * @param tokens i32[batch, seq]
 */
export async function calibrate(
  engine: Engine,
  model: Model,
  tokens: HostTensor,
  { gradients }: { readonly gradients: boolean },
): Promise<Calibration> {
  const groups: string[][] = [];
  const spec = { dtype: "i32", shape: tokens.shape } as const;
  const f = await compile(
    engine,
    { tokens: spec },
    ({ tokens }, params) => {
      const readers = new Map<Tensor, string[]>();
      const made: Record<string, Tensor> = {};
      const watch: Hook = {
        matches: isProduct,
        input: (x, { path }) => {
          readers.set(x, [...(readers.get(x) ?? []), path]);
          return x;
        },
        output: (y, _x, { path }) => {
          made[path] = y;
          return y;
        },
      };
      const decoder = model.info.task === "seq2seq-lm" ? { decoder: { tokens } } : {};
      const out = model.forward(params, { tokens, ...decoder }, { mode: "eval", hooks: [watch] });
      groups.push(...readers.values());
      const inputs = [...readers.keys()].map((x) => ({ largest: largestOfEach(x), meanSquare: mean(square(rows(x)), [0]) }));
      return { inputs, gradients: gradients ? gradientsAt(lossOf(model, out, tokens), made) : {} };
    },
    { frozen: model.params },
  );
  try {
    const found = await f({ tokens });
    return { inputs: groups.map((sites, i) => ({ sites, ...found.inputs[i]! })), gradients: found.gradients };
  } finally {
    await f.dispose();
  }
}

function gradientsAt(loss: Tensor, made: Readonly<Record<string, Tensor>>): Record<string, Tensor> {
  return Object.fromEntries(Object.entries(grad(loss, made)).map(([path, g]) => [path, largestOfEach(g)]));
}

/** Over all but the last axis. */
function largestOfEach(x: Tensor): Tensor {
  return max(abs(rows(x)), [0]);
}

function rows(x: Tensor): Tensor {
  return reshape(x, [-1, x.dim(-1)]);
}

function lossOf({ info }: Model, out: Outputs, tokens: Tensor): Tensor {
  const { logits } = out;
  if (!logits || info.task === "encoder" || info.task === "classifier") return mean(square((logits ?? out.pooled ?? out.last)!));
  const length = (tokens.dim(1) as number) - 1;
  return crossEntropy(slice(logits, 1, 0, length), slice(tokens, 1, 1, length));
}
