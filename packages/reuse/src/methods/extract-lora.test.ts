import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type HostTensor, isLfmError, type MethodContext, needs, Rng, referenceEngine, runMethod } from "@lfm/core";
import { matrix, svd, times, transpose } from "@lfm/core/linalg";
import { conformMethod } from "@lfm/core/testing";
import { loraParts, readPeftAdapter, writePeftAdapter } from "@lfm/formats";
import { gpt2, initWeights, llama, mlp } from "@lfm/models";
import { afterAll, describe, expect, it } from "vitest";
import { relativeError } from "../../test/mergekit-golden.js";
import { type ExtractLoraOutput, extractLora } from "./extract-lora.js";

const context: MethodContext = { engine: referenceEngine(), rng: new Rng(0), access: needs, log: () => {}, progress: () => {} };
const folder = mkdtempSync(join(tmpdir(), "lfm-extract-lora-"));
afterAll(() => rmSync(folder, { recursive: true }));

type Params = Record<string, HostTensor>;
const llamaModel = llama({ vocab_size: 19, hidden_size: 24, intermediate_size: 28, num_hidden_layers: 2, num_attention_heads: 6 });
const withWeights = (model: typeof llamaModel, seed = 1): typeof llamaModel & { params: Params } => ({
  ...model,
  params: initWeights(model.info, { seed }) as Params,
});
const data = (t: HostTensor): Float32Array => t.data as Float32Array;

/** Adds a matrix of this rank to every linear layer. */
function tunedOf(model: ReturnType<typeof withWeights>, rank: number): Params {
  const rng = new Rng(5);
  const tuned: Params = { ...model.params };
  for (const { kind, weight } of model.info.sites) {
    if (kind !== "linear" || !weight) continue;
    const [rows, columns] = model.params[weight.name]!.shape as [number, number];
    const random = (n: number) => Float64Array.from({ length: n }, () => 0.1 * rng.normal());
    const step = times(matrix(rows, rank, random(rows * rank)), matrix(rank, columns, random(rank * columns)));
    tuned[weight.name] = { ...tuned[weight.name]!, data: data(tuned[weight.name]!).map((v, i) => v + step.data[i]!) };
  }
  return tuned;
}

/** ΔW as the weight lies, from the adapter. */
function stepOf({ adapter }: ExtractLoraOutput, path: string, layout: "in-out" | "out-in"): Float64Array {
  const [a, b] = [adapter.tensors[`${path}.lora_A.weight`]!, adapter.tensors[`${path}.lora_B.weight`]!];
  const product = times(matrix(b.shape[0]!, b.shape[1]!, data(b)), matrix(a.shape[0]!, a.shape[1]!, data(a)));
  return (layout === "in-out" ? transpose(product) : product).data;
}

describe("extract-lora", () => {
  it.each([
    ["llama", withWeights(llamaModel)],
    ["gpt2, whose weights lie transposed", withWeights(gpt2({ vocab_size: 17, n_positions: 12, n_embd: 12, n_layer: 2, n_head: 3 }))],
  ])("finds a change of rank 3 again, through the file: %s", async (name, base) => {
    const tuned = tunedOf(base, 3);
    for (const distribute of [true, false]) {
      const out = await runMethod(extractLora, { base, tuned }, { rank: 3, distribute }, context);
      const linear = base.info.sites.filter((s) => s.kind === "linear");
      expect(out.layers.map((l) => l.path)).toEqual(linear.map((s) => s.path));
      expect(out.omitted).toEqual([]);
      for (const { path, weight } of linear) {
        const step = stepOf(out, path, weight!.layout);
        const before = data(base.params[weight!.name]!);
        expect(
          relativeError(
            before.map((v, i) => v + step[i]!),
            data(tuned[weight!.name]!),
          ),
        ).toBeLessThan(1e-6);
      }
      await writePeftAdapter(join(folder, name), out.adapter);
      const read = loraParts(readPeftAdapter(join(folder, name)));
      expect(Object.keys(read.layers).sort()).toEqual(linear.map((s) => s.path).sort());
      for (const layer of Object.values(read.layers)) expect([layer.r, layer.scale]).toEqual([3, 1]);
    }
  });

  it("of a smaller rank holds what the largest singular values hold; energy chooses ranks by layer", async () => {
    const base = withWeights(llamaModel);
    const tuned = tunedOf(base, 8);
    const out = await runMethod(extractLora, { base, tuned }, { rank: 2 }, context);
    for (const { path, rank, energy } of out.layers) {
      const { weight } = base.info.sites.find((s) => s.path === path)!;
      const step = data(tuned[weight!.name]!).map((v, i) => v - data(base.params[weight!.name]!)[i]!);
      const { values } = svd(matrix(weight!.out, weight!.in, step));
      const squares = Array.from(values, (v) => v * v);
      const sum = (s: readonly number[]): number => s.reduce((a, b) => a + b, 0);
      expect(rank).toBe(2);
      expect(energy).toBeCloseTo(sum(squares.slice(0, 2)) / sum(squares), 6);
    }
    const chosen = await runMethod(extractLora, { base, tuned }, { rank: 100, energy: 0.9 }, context);
    for (const { energy, rank } of chosen.layers) {
      expect(energy).toBeGreaterThanOrEqual(0.9);
      expect(rank).toBeLessThanOrEqual(8);
    }
    await writePeftAdapter(join(folder, "energy"), chosen.adapter);
    const read = loraParts(readPeftAdapter(join(folder, "energy")));
    for (const { path, rank } of chosen.layers) expect([read.layers[path]!.r, read.layers[path]!.scale]).toEqual([rank, 1]);
  });

  it("saves other modules that changed whole, and names what an adapter cannot hold", async () => {
    const base = withWeights(mlp({ input_size: 3, hidden_sizes: [5], output_size: 4 }) as typeof llamaModel);
    const [first] = base.info.sites.filter((s) => s.kind === "linear" && s.weight?.bias);
    const tuned = { ...base.params };
    for (const name of [first!.weight!.name, first!.weight!.bias!])
      tuned[name] = { ...tuned[name]!, data: data(tuned[name]!).map((v) => v + 1) };
    const out = await runMethod(extractLora, { base, tuned }, {}, context);
    expect(out.omitted).toEqual([first!.weight!.bias]);
    const norms = withWeights(llamaModel);
    const changed = tunedOf(norms, 1);
    changed["model.norm.weight"] = { ...changed["model.norm.weight"]!, data: data(changed["model.norm.weight"]!).map((v) => v * 2) };
    const saved = await runMethod(extractLora, { base: norms, tuned: changed }, {}, context);
    expect(saved.adapter.config).toMatchObject({ modules_to_save: ["model.norm"] });
    expect(saved.adapter.tensors["model.norm.weight"]!.data).toEqual(changed["model.norm.weight"]!.data);
    const dropped = await runMethod(extractLora, { base: norms, tuned: changed }, { save_modules: false }, context);
    expect(dropped.omitted).toEqual(["model.norm.weight"]);
  });

  it("gives an output layer that shares the embedding's weight a copy, for PEFT unties them", async () => {
    const base = withWeights(gpt2({ vocab_size: 17, n_positions: 12, n_embd: 12, n_layer: 1, n_head: 3 }) as typeof llamaModel);
    const tuned = tunedOf(base, 1);
    tuned["transformer.wte.weight"] = {
      ...tuned["transformer.wte.weight"]!,
      data: data(tuned["transformer.wte.weight"]!).map((v) => v + 1),
    };
    const { adapter } = await runMethod(extractLora, { base, tuned }, {}, context);
    expect(adapter.config).toMatchObject({ modules_to_save: ["transformer.wte", "lm_head"] });
    for (const name of ["transformer.wte.weight", "lm_head.weight"])
      expect(adapter.tensors[name]!.data).toEqual(tuned["transformer.wte.weight"]!.data);
  });

  it("refuses models without a difference, other shapes and missing parameters", async () => {
    const base = withWeights(llamaModel);
    const code = (tuned: Params): Promise<unknown> => runMethod(extractLora, { base, tuned }, {}, context).catch((e: unknown) => e);
    expect(isLfmError(await code(base.params), "CONFIG_INVALID")).toBe(true);
    const { "model.norm.weight": norm, ...rest } = base.params;
    expect(isLfmError(await code(rest), "PARAM_NOT_FOUND")).toBe(true);
    expect(isLfmError(await code({ ...rest, "model.norm.weight": { ...norm!, shape: [1, 24] } }), "SHAPE_MISMATCH")).toBe(true);
  });

  it("keeps the contract of methods", async () => {
    await conformMethod(extractLora, {
      engine: referenceEngine(),
      inputs: () => {
        const base = withWeights(llamaModel);
        return { base, tuned: tunedOf(base, 2) };
      },
      observe: ({ adapter }) => adapter.tensors,
      reload: async (output) => structuredClone(output),
    });
  });
});
