/**
 * PiSSA (arXiv 2404.02948): A and B start as the r largest singular values of the weight with their vectors, the rest of the weight stays. Here the
 * base stays as it is: what A and B start from is taken off again, ΔW = s·(BA − B₀A₀), which a plain LoRA of twice the rank does, too.
 */
import { f32, type HostTensor, LfmError, type MethodContext, type Model, type Site, throwIfAborted, weightOf } from "@lfm/core";
import { lowRank, matrix } from "@lfm/core/linalg";
import { initialName, type LoraScaling, loraNames, loraRanks, loraScales } from "./lora-hooks.js";

/**
 * A = √(σ/s)·rightᵀ and B = left·√(σ/s) of every site: for learning, and once more to be taken off.
 * @throws {LfmError} CONFIG_INVALID for a layer that is not linear, and for a rank that its weight has not; ABORTED
 */
export function pissaTensors(
  model: Model,
  sites: readonly Site[],
  c: LoraScaling,
  { rng, signal }: Pick<MethodContext, "rng" | "signal">,
): { readonly learned: Record<string, HostTensor>; readonly carried: Record<string, HostTensor> } {
  const [ranks, scaleOf] = [loraRanks(c), loraScales(c)];
  const learned: Record<string, HostTensor> = {};
  for (const site of sites) {
    throwIfAborted(signal, "[@lfm/tuning] lora");
    if (site.kind === "embedding" || !site.weight)
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] "${site.path}" is no linear layer: PiSSA has no start for it`, {
        hint: "leave it out of targetModules, or take initLoraWeights default",
      });
    const r = ranks.rank(site.path);
    const { in: width, out, name, layout } = site.weight;
    if (r > Math.min(width, out))
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] "${site.path}" has no ${r} singular values`, {
        hint: `take ${Math.min(width, out)} or less`,
      });
    const { data } = weightOf(model, name);
    const stored =
      layout === "out-in" ? matrix(out, width, Float64Array.from(data, Number)) : matrix(width, out, Float64Array.from(data, Number));
    const found = lowRank(stored, { rank: r }, rng.split(site.path));
    const [left, right] = layout === "out-in" ? [found.left, found.right] : [found.right, found.left];
    const root = Array.from(found.values, (v) => Math.sqrt(v / scaleOf(site.path)));
    const { a, b } = loraNames(site);
    learned[a] = f32(
      Float32Array.from({ length: r * width }, (_, i) => (root[Math.floor(i / width)] ?? 0) * (right.data[i] ?? 0)),
      [r, width],
    );
    learned[b] = f32(
      Float32Array.from({ length: out * r }, (_, i) => (root[i % r] ?? 0) * (left.data[(i % r) * out + Math.floor(i / r)] ?? 0)),
      [out, r],
    );
  }
  return { learned, carried: Object.fromEntries(Object.entries(learned).map(([name, t]) => [initialName(name), t])) };
}

/** The plain LoRA of twice the rank that a learned PiSSA is: A over A₀, B beside −B₀, at the same scale. */
export function plainLora<C extends LoraScaling>(
  learned: Readonly<Record<string, HostTensor>>,
  carried: Readonly<Record<string, HostTensor>>,
  c: C,
): { readonly tensors: Record<string, HostTensor>; readonly config: C } {
  const tensors = Object.fromEntries(
    Object.entries(learned).map(([name, t]) => {
      const first = carried[initialName(name)];
      if (!first) return [name, t];
      return [name, name.endsWith("lora_A.weight") ? under(t, first) : beside(t, first)];
    }),
  );
  const larger = c.useRslora ? Math.SQRT2 : 2;
  const times = (values: Readonly<Record<string, number>> | undefined, factor: number): Record<string, number> =>
    Object.fromEntries(Object.entries(values ?? {}).map(([path, v]) => [path, v * factor]));
  const config = {
    ...c,
    r: 2 * c.r,
    loraAlpha: larger * c.loraAlpha,
    rankPattern: times(c.rankPattern, 2),
    alphaPattern: times(c.alphaPattern, larger),
    initLoraWeights: "default",
  };
  return { tensors, config };
}

/** Such a LoRA taken apart again, to go on from: what learned, and what is taken off. */
export function halves(tensors: Readonly<Record<string, HostTensor>>): Record<string, HostTensor> {
  return Object.fromEntries(
    Object.entries(tensors).flatMap(([name, t]): (readonly [string, HostTensor])[] => {
      const part = /\.lora_([AB])\.weight$/.exec(name)?.[1];
      if (part === undefined) return [[name, t]];
      const [rows, columns] = t.shape as readonly [number, number];
      const [height, width] = part === "A" ? [rows / 2, columns] : [rows, columns / 2];
      const cut = (top: number, left: number, sign: number): HostTensor =>
        f32(
          Float32Array.from(
            { length: height * width },
            (_, i) => sign * Number(t.data[(top + Math.floor(i / width)) * columns + left + (i % width)]),
          ),
          [height, width],
        );
      return [
        [name, cut(0, 0, 1)],
        [initialName(name), part === "A" ? cut(height, 0, 1) : cut(0, width, -1)],
      ];
    }),
  );
}

function under(t: HostTensor, below: HostTensor): HostTensor {
  return f32(Float32Array.from([...Array.from(t.data, Number), ...Array.from(below.data, Number)]), [
    t.shape[0]! + below.shape[0]!,
    t.shape[1]!,
  ]);
}

function beside(t: HostTensor, right: HostTensor): HostTensor {
  const [rows, r, s] = [t.shape[0]!, t.shape[1]!, right.shape[1]!];
  const value = (i: number, k: number): number => (k < r ? Number(t.data[i * r + k]) : -Number(right.data[i * s + k - r]));
  return f32(
    Float32Array.from({ length: rows * (r + s) }, (_, n) => value(Math.floor(n / (r + s)), n % (r + s))),
    [rows, r + s],
  );
}
