import { f32, type HostTensor, LfmError, type ModelInfo, Rng, sizeOf } from "@lfm/core";

export interface InitOptions {
  readonly seed: number;
  /** Standard deviation of matrices. Default 1/√fan-in. */
  readonly std?: number;
  /** Standard deviation of token embeddings. Default that of matrices (0.02 where neither is given). */
  readonly embeddingStd?: number;
}

/** Bytes of all weights together; a larger model is not begun on one machine. */
const MOST_BYTES = 2 ** 37;
/** Elements of one tensor. */
const MOST_ELEMENTS = 2 ** 31;

/**
 * Fresh f32 weights for a model's parameters: normal matrices, norms that scale by one, variances of one, zeros for biases and means.
 * @throws {LfmError} BUDGET_EXCEEDED before anything is drawn, where they would not fit into any memory
 */
export function initWeights(
  info: Pick<ModelInfo, "params"> & Partial<Pick<ModelInfo, "sites">>,
  options: InitOptions,
): Record<string, HostTensor> {
  checkSize(info.params);
  const rng = new Rng(options.seed);
  const inOut = new Set((info.sites ?? []).flatMap((s) => (s.weight?.layout === "in-out" ? [s.weight.name] : [])));
  const unit = new Set((info.sites ?? []).flatMap((s) => (s.weightOffset === 1 ? [s.params!.weight!] : [])));
  return Object.fromEntries(
    Object.entries(info.params).map(([name, { shape }]) => {
      const n = shape.reduce((a, b) => a * b, 1);
      if (shape.length < 2) {
        const ones = /(norm|ln_|LayerNorm|layernorm|bn\d*|running_var).*(weight|var)$|running_var$/i.test(name) && !name.endsWith("bias");
        return [name, f32(new Float32Array(n).fill(ones && !unit.has(name) ? 1 : 0), shape)];
      }
      const fanIn = inOut.has(name) ? shape[0]! : n / shape[0]!;
      const std = /embed|wte|wpe/i.test(name) ? (options.embeddingStd ?? options.std ?? 0.02) : (options.std ?? 1 / Math.sqrt(fanIn));
      return [name, f32(rng.split(name).normalArray(n, std), shape)];
    }),
  );
}

function checkSize(params: ModelInfo["params"]): void {
  const sizes = Object.entries(params).map(([name, { shape }]) => [name, sizeOf(shape)] as const);
  const [name, most] = sizes.reduce((a, b) => (b[1] > a[1] ? b : a), ["", 0] as const);
  const bytes = 4 * sizes.reduce((n, [, size]) => n + size, 0);
  if (most <= MOST_ELEMENTS && bytes <= MOST_BYTES) return;
  throw new LfmError(
    "BUDGET_EXCEEDED",
    `[@lfm/models] fresh weights of ${(bytes / 1e9).toPrecision(3)} GB, "${name}" with ${most} elements, are not made`,
    {
      hint: "give a smaller config, or a folder with weights",
    },
  );
}
