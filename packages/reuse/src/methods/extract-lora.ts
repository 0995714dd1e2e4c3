/**
 * LoRA out of a fine-tuned model (mergekit-extract-lora): of each linear layer the singular values of ΔW = W − W₀, largest first,
 * A = √Σ·Vᵀ [r, in], B = U·√Σ [out, r], so that B·A is the best approximation of ΔW of its rank (Eckart and Young, 1936).
 * `distribute` off puts Σ into A alone, as mergekit's --no-distribute-scale. mergekit has only a largest rank (128 there) and a threshold
 * for singular values; `energy` chooses the rank of each layer by what it keeps of ΔW.
 */
import {
  defineMethod,
  type HostTensor,
  isFloatType,
  LfmError,
  loadWeight,
  type Model,
  modelInput,
  modelNameInput,
  type Site,
  sizeOf,
  throwIfAborted,
  type Weights,
  weightsInput,
  widenToF32,
} from "@lfm/core";
import { dot, lowRank, type Matrix, matrix, type Svd, transpose } from "@lfm/core/linalg";
import { type PeftConfigInput, peftTaskType } from "@lfm/formats";
import { z } from "zod";

export interface ExtractLoraInputs {
  readonly base: Model;
  /** Parameters of the fine-tuned model; names and shapes of the base's. */
  readonly tuned: Weights;
  /** Name or path of the base, written as `base_model_name_or_path`. */
  readonly baseName?: string;
}

export interface ExtractLoraOutput {
  /** For `writePeftAdapter`. α is the rank everywhere: ΔW ≈ B·A. */
  readonly adapter: { readonly config: PeftConfigInput; readonly tensors: Readonly<Record<string, HostTensor>> };
  /** Layers that changed: their rank, and the share of ‖ΔW‖² that the adapter holds. */
  readonly layers: readonly { readonly path: string; readonly rank: number; readonly energy: number }[];
  /** Parameters that changed and that the adapter does not hold. */
  readonly omitted: readonly string[];
}

export const extractLora = defineMethod({
  id: "extract-lora",
  paradigm: "reuse",
  summary: "Turns a fine-tuned model into a LoRA of its base, by singular values.",
  paper: {
    title: "LoRA: Low-Rank Adaptation of Large Language Models",
    arxiv: "2106.09685",
    year: 2021,
    survey: "5.1 weight interpolation",
  },
  needs: ["weights"],
  inputs: {
    base: { kind: modelInput, about: "the model that was tuned" },
    tuned: { kind: weightsInput, as: "model", about: "what was tuned from it" },
    baseName: modelNameInput,
  },
  config: z.strictObject({
    rank: z.number().int().positive().default(32).describe("largest rank r"),
    energy: z.number().gt(0).max(1).optional().describe("a smaller rank where it holds this share of ‖ΔW‖²"),
    sv_epsilon: z.number().min(0).default(0).describe("least singular value that counts"),
    distribute: z.boolean().default(true).describe("√Σ to both sides; off: Σ to A"),
    save_modules: z
      .boolean()
      .default(true)
      .describe("other modules that changed (norms, embeddings) are saved whole, under modules_to_save"),
  }),
  run: async (inputs: ExtractLoraInputs, c, context): Promise<ExtractLoraOutput> => {
    const { info, params } = inputs.base;
    const sites = linearSites(inputs.base, inputs.tuned);
    const tensors: Record<string, HostTensor> = {};
    const layers: ExtractLoraOutput["layers"][number][] = [];
    for (const [done, site] of sites.entries()) {
      throwIfAborted(context.signal, `[@lfm/reuse] extract-lora at "${site.path}"`);
      const delta = change(params, inputs.tuned, site);
      const total = dot(delta.data, delta.data);
      if (total > 0) {
        const options = { rank: c.rank, least: c.sv_epsilon, ...(c.energy === undefined ? {} : { energy: c.energy }) };
        const found = lowRank(delta, options, context.rng.split(site.path));
        if (found.values.length > 0) {
          Object.assign(tensors, factors(site.path, found, c.distribute));
          layers.push({
            path: site.path,
            rank: found.values.length,
            energy: Math.min(1, found.values.reduce((s, v) => s + v * v, 0) / total),
          });
        }
      }
      context.progress({ phase: "decompose", done: done + 1, total: sites.length, unit: "layer" });
    }
    if (layers.length === 0)
      throw new LfmError("CONFIG_INVALID", "[@lfm/reuse] extract-lora: no linear layer differs from the base", {
        hint: "is the tuned model another one than the base, and sv_epsilon small enough?",
      });
    const rest = otherChanges(params, inputs.tuned, new Set(layers.map((l) => `${l.path}.`)), new Set(sites.map((s) => s.weight!.name)));
    const saved = c.save_modules ? rest.whole : [];
    for (const name of saved) tensors[name] = widenToF32(loadWeight(inputs.tuned[name]!));
    // PEFT unties what it saves: an output layer that shares the embedding's weight would stay the base's.
    const heads = tiedHeads(inputs.base, saved);
    for (const { path, weight } of heads) tensors[`${path}.weight`] = tensors[weight]!;
    const ranks = layers.map((l) => l.rank);
    const r = Math.max(...ranks);
    const pattern = Object.fromEntries(layers.filter((l) => l.rank !== r).map((l) => [l.path, l.rank]));
    const config: PeftConfigInput = {
      peft_type: "LORA",
      task_type: peftTaskType(info.task),
      base_model_name_or_path: inputs.baseName ?? null,
      r,
      lora_alpha: r,
      rank_pattern: pattern,
      alpha_pattern: pattern,
      target_modules: layers.map((l) => l.path),
      fan_in_fan_out: sites.some((s) => s.weight!.layout === "in-out"),
      ...(saved.length > 0 ? { modules_to_save: [...new Set([...saved.map(moduleOf), ...heads.map((h) => h.path)])] } : {}),
    };
    return { adapter: { config, tensors }, layers, omitted: c.save_modules ? rest.parts : [...rest.whole, ...rest.parts] };
  },
});

const moduleOf = (name: string): string => name.slice(0, name.lastIndexOf("."));

/** Output layers that have one of these parameters as their weight, under another name. */
function tiedHeads({ info }: Model, saved: readonly string[]): { readonly path: string; readonly weight: string }[] {
  return info.sites.flatMap(({ kind, path, weight }) =>
    kind === "head" && weight && weight.name !== `${path}.weight` && saved.includes(weight.name) ? [{ path, weight: weight.name }] : [],
  );
}

/** Linear layers, each weight once. @throws {LfmError} PARAM_NOT_FOUND, SHAPE_MISMATCH */
function linearSites(base: Model, tuned: Weights): Site[] {
  for (const [name, w] of Object.entries(base.params)) {
    const other = tuned[name];
    if (!other) throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] extract-lora: the tuned model has no parameter "${name}"`);
    if (other.shape.join() !== w.shape.join())
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/reuse] extract-lora: "${name}" is [${w.shape}] in the base and [${other.shape}] in the tuned model`,
      );
  }
  const seen = new Set<string>();
  return base.info.sites.filter((s) => {
    if (s.kind !== "linear" || !s.weight || seen.has(s.weight.name)) return false;
    seen.add(s.weight.name);
    return true;
  });
}

/** ΔW, f64 [out, in]. */
function change(base: Weights, tuned: Weights, { weight }: Site): Matrix {
  const { name, layout } = weight!;
  const [before, after] = [widenToF32(loadWeight(base[name]!)).data, widenToF32(loadWeight(tuned[name]!)).data] as [
    Float32Array,
    Float32Array,
  ];
  const [rows, columns] = base[name]!.shape as [number, number];
  const delta = matrix(
    rows,
    columns,
    Float64Array.from(after, (v, i) => v - before[i]!),
  );
  return layout === "in-out" ? transpose(delta) : delta;
}

function factors(path: string, { values, left, right }: Svd, distribute: boolean): Record<string, HostTensor> {
  const r = values.length;
  const a = new Float32Array(r * right.columns);
  const b = new Float32Array(left.columns * r);
  for (let k = 0; k < r; k++) {
    const [forA, forB] = distribute ? [Math.sqrt(values[k]!), Math.sqrt(values[k]!)] : [values[k]!, 1];
    for (let j = 0; j < right.columns; j++) a[k * right.columns + j] = forA * right.data[k * right.columns + j]!;
    for (let i = 0; i < left.columns; i++) b[i * r + k] = forB * left.data[k * left.columns + i]!;
  }
  return {
    [`${path}.lora_A.weight`]: { dtype: "f32", shape: [r, right.columns], data: a },
    [`${path}.lora_B.weight`]: { dtype: "f32", shape: [left.columns, r], data: b },
  };
}

/** What changed beside the layers: parameters of whole other modules, and parts (biases) of modules that have a LoRA. */
function otherChanges(
  base: Weights,
  tuned: Weights,
  adapted: ReadonlySet<string>,
  weights: ReadonlySet<string>,
): { whole: string[]; parts: string[] } {
  const changed = Object.keys(base).filter((name) => {
    if (weights.has(name) || !isFloatType(base[name]!.dtype) || sizeOf(base[name]!.shape) === 0) return false;
    const [x, y] = [widenToF32(loadWeight(base[name]!)).data, widenToF32(loadWeight(tuned[name]!)).data] as [Float32Array, Float32Array];
    return x.some((v, i) => v !== y[i]);
  });
  const isPart = (name: string): boolean => adapted.has(`${moduleOf(name)}.`);
  const modules = new Set(changed.filter((name) => !isPart(name)).map(moduleOf));
  // PEFT saves modules, not parameters: what belongs to one goes with it, changed or not.
  const whole = Object.keys(base).filter((name) => modules.has(moduleOf(name)) && isFloatType(base[name]!.dtype));
  return { whole, parts: changed.filter(isPart) };
}
