import { closeSync, openSync, readdirSync, readFileSync, readSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import { bytesPerElement, sizeOf, viewAs, widenToF32 } from "@lfm/core";
import { readModelFolder } from "@lfm/formats";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { fixtures, writeModelFolders } from "../../test/mergekit-folders.js";
import type { PlannedInput, PlannedTensor, TensorSource } from "../merging/plan.js";
import { mergeMethods } from "../methods/index.js";
import { runMerge } from "../run-merge.js";
import { parseMergeConfig } from "./parse.js";
import { type DocumentPlan, planMerge } from "./plan.js";

interface Golden {
  readonly tensors: Readonly<Record<string, GoldenTensor>>;
  readonly config: Readonly<Record<string, unknown>>;
  readonly vocabulary?: readonly string[];
  readonly rows?: Readonly<Record<string, Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>>>;
  readonly merged?: Readonly<Record<string, Readonly<Record<string, readonly number[]>>>>;
}

interface GoldenTensor {
  readonly shared: Readonly<Record<string, unknown>>;
  readonly base: string | null;
  readonly inputs: readonly (readonly [model: string, tensor: string | null, parameters: Readonly<Record<string, unknown>>])[];
}

const names = readdirSync(fixtures)
  .filter((f) => f.endsWith(".yml"))
  .map((f) => basename(f, ".yml"));

let folder = "";
beforeAll(async () => {
  folder = await writeModelFolders();
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function planOf(name: string): Promise<DocumentPlan> {
  const [document] = parseMergeConfig(readFileSync(join(fixtures, `${name}.yml`), "utf8"), { file: `${name}.yml` });
  return planMerge(document!, { folder, methods: mergeMethods });
}

function goldenOf(name: string): Golden {
  return JSON.parse(readFileSync(join(import.meta.dirname, "../../test/golden", `mergekit-${name}.json`), "utf8")) as Golden;
}

describe("configurations mean what they mean to mergekit 0.1.5", () => {
  it("there are at least 30 of them", () => expect(names.length).toBeGreaterThanOrEqual(30));

  for (const name of names) {
    it(name, async () => {
      const golden = goldenOf(name);
      const plan = await planOf(name);
      expect(plan.tensors.map((t) => t.name).sort()).toEqual(Object.keys(golden.tensors).sort());
      for (const tensor of plan.tensors) compareTensor(tensor, golden.tensors[tensor.name]!);
      compareConfig(JSON.parse(plan.texts["config.json"]!) as Record<string, unknown>, golden.config);
    });
  }
});

/** Parameters that mergekit gives to every method of task vectors, also to those that do nothing with them. */
const WITHOUT_EFFECT = new Set(["int8_mask", "rescale", "density", "normalize"]);

function compareTensor(ours: PlannedTensor, theirs: GoldenTensor): void {
  const inputs = new Map<string, PlannedInput>(
    [...ours.models, ...(ours.base ? [ours.base] : [])].map((i) => [i.model.split(" as ")[0]!, i]),
  );
  expect([...inputs.keys()].sort(), ours.name).toEqual(theirs.inputs.map(([m]) => m).sort());
  if (ours.base) expect(ours.base.model).toBe(theirs.base);
  // The order of the models is that of the file; the base stands apart.
  expect(ours.models.map((m) => m.model.split(" as ")[0])).toEqual(theirs.inputs.map(([m]) => m).filter((m) => m !== ours.base?.model));
  for (const [model, tensor, parameters] of theirs.inputs) {
    const input = inputs.get(model)!;
    const plain = storedName(input.source);
    // A tied output layer and files of the bare model are found under another name.
    const expected = tensor ?? ours.name;
    expect([expected, expected.replace("transformer.", ""), "model.embed_tokens.weight"], ours.name).toContain(plain);
    compareParameters(`${ours.name} of ${model}`, input.parameters, parameters, ours.method);
  }
  compareParameters(ours.name, ours.parameters, theirs.shared, ours.method);
}

function storedName(source: TensorSource): string {
  if (source.kind === "stored") return source.name;
  if (source.kind === "adapted" || source.kind === "shifted") return storedName(source.weight);
  return storedName(source.of[0]!);
}

function compareParameters(
  where: string,
  ours: Readonly<Record<string, unknown>>,
  theirs: Readonly<Record<string, unknown>>,
  method: string,
): void {
  for (const [key, value] of Object.entries(theirs)) {
    if (method === "passthrough" && key === "scale" && value === null) expect(ours[key], where).toBe(1);
    else if (key in ours && typeof value === "number") expect(ours[key], `${where}: ${key}`).toBeCloseTo(value, 14);
    else if (key in ours) expect(ours[key], `${where}: ${key}`).toBe(value);
    else if (method !== "passthrough") expect([...WITHOUT_EFFECT], `${where}: ${key}`).toContain(key);
  }
}

function compareConfig(ours: Readonly<Record<string, unknown>>, theirs: Readonly<Record<string, unknown>>): void {
  const { dtype, ...rest } = theirs;
  expect(ours).toMatchObject(rest);
  expect(ours.dtype ?? ours.torch_dtype).toBe(dtype);
}

describe("every plan runs", () => {
  it("and what it writes has the tensors, types and files of the plan", async () => {
    for (const name of names) {
      const plan = await planOf(name);
      const out = join(folder, "out", name);
      await runMerge(plan, { out, threads: 1 });
      const { weights, config } = readModelFolder(out);
      const typed = (of: Iterable<readonly [string, { readonly dtype: string; readonly shape: readonly number[] }]>): unknown =>
        Object.fromEntries([...of].map(([n, { dtype, shape }]) => [n, [dtype, ...shape]]));
      expect(typed(Object.entries(weights)), name).toEqual(typed(plan.tensors.map((t) => [t.name, t] as const)));
      expect(config).toEqual(JSON.parse(plan.texts["config.json"]!));
      expect(readdirSync(out).sort()).toEqual(["model.safetensors", ...Object.keys(plan.texts), ...Object.keys(plan.copies)].sort());
    }
  });

  it("layers of a stack are the bytes of their models", async () => {
    const plan = await planOf("gpt2-stack");
    const { weights } = readModelFolder(join(folder, "out", "gpt2-stack"));
    const from = readModelFolder(join(folder, "gpt2-b")).weights;
    const read = (w: typeof weights, n: string): unknown => w[n]!.read().data;
    for (const layer of [0, 1, 2])
      expect(read(weights, `transformer.h.${layer + 2}.mlp.c_fc.weight`)).toEqual(read(from, `transformer.h.${layer}.mlp.c_fc.weight`));
    expect(read(weights, "transformer.wte.weight")).toEqual(
      read(readModelFolder(join(folder, "gpt2-a")).weights, "transformer.wte.weight"),
    );
    expect(plan.tensors.length).toBe(Object.keys(weights).length);
  });
});

describe("a new vocabulary", () => {
  const withTokenizer = names.filter((name) => goldenOf(name).vocabulary !== undefined);

  for (const name of withTokenizer) {
    it(`${name}: every token has the rows that mergekit gives it`, async () => {
      const golden = goldenOf(name);
      const plan = await planOf(name);
      const vocabulary = vocabularyOf(plan);
      // mergekit numbers new tokens by chance (sets of strings); those of the base keep their ids.
      expect([...vocabulary.keys()].sort()).toEqual([...golden.vocabulary!].sort());
      for (const [tensor, models] of Object.entries(golden.rows!)) {
        const planned = plan.tensors.find((t) => t.name === tensor)!;
        expect(planned.shape[0]).toBe(golden.config.vocab_size);
        for (const [model, rows] of Object.entries(models)) {
          const source = [...planned.models, ...(planned.base ? [planned.base] : [])].find((i) => i.model === model)!.source;
          const values = evaluate(source);
          const width = values.length / planned.shape[0]!;
          for (const [token, row] of Object.entries(rows)) {
            const id = token === "" ? vocabulary.size : vocabulary.get(token)!;
            expect([...values.subarray(id * width, (id + 1) * width)], `${tensor} of ${model}: ${token}`).toEqual(
              row.map((v) => expect.closeTo(v, 6)),
            );
          }
        }
      }
    });
  }

  it("is there in six of the configurations at least", () => expect(withTokenizer.length).toBeGreaterThanOrEqual(6));
});

describe("adapters", () => {
  const withAdapter = names.filter((name) => goldenOf(name).merged !== undefined);
  it("take part in three of the configurations at least", () => expect(withAdapter.length).toBeGreaterThanOrEqual(3));

  for (const name of withAdapter) {
    it(`${name}: weights are what PEFT merges`, async () => {
      const plan = await planOf(name);
      for (const [model, tensors] of Object.entries(goldenOf(name).merged!)) {
        const inputs = plan.tensors.flatMap((t) => t.models.filter((m) => m.model === model).map((m) => [t.name, m.source] as const));
        const changed = inputs.filter(
          ([, source]) => source.kind === "adapted" || (source.kind === "stored" && source.file.includes("adapter")),
        );
        expect(changed.map(([n]) => n).sort()).toEqual(Object.keys(tensors).sort());
        for (const [tensor, source] of changed)
          expect([...evaluate(source)], tensor).toEqual(tensors[tensor]!.map((v) => expect.closeTo(v, 6)));
      }
    });
  }
});

function vocabularyOf(plan: DocumentPlan): Map<string, number> {
  const file = plan.texts["tokenizer.json"] ?? readFileSync(plan.copies["tokenizer.json"]!, "utf8");
  const { model, added_tokens } = JSON.parse(file) as {
    model: { vocab: Record<string, number> };
    added_tokens: { id: number; content: string }[];
  };
  return new Map([...Object.entries(model.vocab), ...added_tokens.map((t) => [t.content, t.id] as const)]);
}

/** What a plan's source means, written down plainly. */
function evaluate(source: TensorSource): Float32Array {
  if (source.kind === "stored") {
    const buffer = new ArrayBuffer(sizeOf(source.shape) * bytesPerElement[source.dtype]);
    const file = openSync(source.file, "r");
    readSync(file, new Uint8Array(buffer), 0, buffer.byteLength, source.position);
    closeSync(file);
    return widenToF32({ dtype: source.dtype, shape: source.shape, data: viewAs(source.dtype, buffer) }).data as Float32Array;
  }
  if (source.kind === "adapted") {
    const [w, a, b] = [evaluate(source.weight), evaluate(source.down), evaluate(source.up)];
    const [r, inputs] = source.down.shape as [number, number];
    const outputs = source.up.shape[0]!;
    for (let o = 0; o < outputs; o++)
      for (let i = 0; i < inputs; i++) {
        let sum = 0;
        for (let k = 0; k < r; k++) sum += b[o * r + k]! * a[k * inputs + i]!;
        w[source.transposed ? i * outputs + o : o * inputs + i]! += source.scale * sum;
      }
    return w;
  }
  if (source.kind === "shifted") {
    const by = evaluate(source.by);
    return evaluate(source.weight).map((v, i) => v + source.scale * by[i]!);
  }
  const of = source.of.map(evaluate);
  const width = sizeOf(source.shape.slice(1));
  const out = new Float32Array(sizeOf(source.shape));
  for (let row = 0; row < source.shape[0]!; row++) {
    const [from, to] = [source.starts[row]!, source.starts[row + 1]!];
    for (let j = from; j < to; j++)
      for (let c = 0; c < width; c++) out[row * width + c]! += of[source.pick[2 * j]!]![source.pick[2 * j + 1]! * width + c]! / (to - from);
  }
  return out;
}
