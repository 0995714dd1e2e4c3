import { type AnyMethod, type Engine, f32, isLfmError, type MethodContext, ortEngine, runMethod } from "@lfm/core";
import { dot } from "@lfm/core/linalg";
import { tokenCorpus } from "@lfm/statistics";
import { beforeAll, describe, expect, it } from "vitest";
import { alphaedit, type EditingInputs, type EditingOutput, type EditRequest, emmet, kn, memit, rRome } from "../src/index.js";
import { pastKeys, rankOneTensors } from "../src/rank-one.js";
import { relativeError } from "./golden-tensors.js";
import { editingContext, smallLlama } from "./small-llama.js";

const model = smallLlama;
const tokens = Int32Array.from({ length: 60 }, (_, i) => (i * 7) % 23);
const corpus = tokenCorpus("corpus", {
  tokens: { dtype: "i32", shape: [10, 6], data: tokens },
  mask: f32(new Float32Array(60).fill(1), [10, 6]),
});
const request: EditRequest = { prompt: [1, 5, 6], subjectEnd: 2, target: [9], start: 1 };

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = editingContext(engine);
});
const run = (method: AnyMethod, options: Readonly<Record<string, unknown>>, over: Partial<EditingInputs> = {}): Promise<EditingOutput> =>
  runMethod(method, { model, requests: [request], corpus, ...over }, options, context);
const free = { stopLoss: 0, klFactor: 0, weightDecay: 0, steps: 6 };

describe("batches and several layers", () => {
  it("MEMIT, where nothing but the fact counts: the model does what the search found", async () => {
    const options = { ...free, layers: [0, 1], lambda: 1e-9 };
    const first = await run(memit, options);
    const again = await run(memit, options, { previous: [first.delta] });
    expect(first.curves.loss![0]![1] - first.curves.loss!.at(-1)![1]).toBeGreaterThan(0.1);
    expect(again.curves.loss![0]![1]).toBeCloseTo(first.curves.loss!.at(-1)![1], 4);
  });

  it("EMMET of one fact is R-ROME", async () => {
    const [batch, single] = [await run(emmet, { steps: 4, layer: 1 }), await run(rRome, { steps: 4, layer: 1 })];
    for (const [name, t] of Object.entries(single.delta.tensors))
      expect(relativeError(batch.delta.tensors[name]!.data, t.data), name).toBeLessThan(1e-6);
  });

  it("more facts than outputs take no more rows than outputs, and change the weight as all of them do", () => {
    const site = { path: "a", kind: "linear" } as const;
    const updates = [0, 1, 2].map((f) => ({ key: Float64Array.of(1, f, f * f), value: Float64Array.of(2 - f, f) }));
    const tensors = rankOneTensors(site, updates, [Float64Array.of(1, 2, 3)]);
    const [keys, values] = [tensors["a.edit.keys"]!, tensors["a.edit.values"]!];
    expect([keys.shape, values.shape]).toEqual([
      [2, 3],
      [2, 2],
    ]);
    expect([...values.data]).toEqual([1, 0, 0, 1]);
    // Rows of the weight: 2·(1,0,0) + 1·(1,1,1), and 1·(1,1,1) + 2·(1,2,4).
    expect([...keys.data]).toEqual([3, 1, 1, 3, 5, 9]);
    expect(pastKeys([{ tensors }, { tensors: {} }, { tensors }], site).map((k) => [...k])).toEqual([
      [1, 2, 3],
      [1, 2, 3],
    ]);
  });

  it("AlphaEdit keeps what earlier edits are keyed by; its patch carries their keys, and joined patches give the same", async () => {
    const options = { steps: 4, layers: [1], nullShare: 0.3, l2: 1e-3 };
    const first = await run(alphaedit, options);
    const path = "model.layers.1.mlp.down_proj";
    const key = pastKeys([first.delta], { path, kind: "linear" })[0]!;
    const other = { ...request, prompt: [1, 8, 9], target: [4] };
    const blind = await run(alphaedit, options, { requests: [other] });
    const second = await run(alphaedit, options, { requests: [other], previous: [first.delta] });
    const reach = ({ delta }: EditingOutput): number => {
      const row = (name: string): Float64Array => Float64Array.from(delta.tensors[`${path}.edit.${name}`]!.data as Float32Array);
      return Math.abs(dot(row("keys"), key)) * Math.hypot(...row("values"));
    };
    expect(reach(second)).toBeLessThan(0.02 * reach(blind));
    const joined = first.delta.join!(second.delta);
    const third = { ...request, prompt: [1, 12, 13], target: [2] };
    const [apart, together] = [
      await run(alphaedit, options, { requests: [third], previous: [first.delta, second.delta] }),
      await run(alphaedit, options, { requests: [third], previous: [joined] }),
    ];
    expect(together.delta.tensors).toEqual(apart.delta.tensors);
    expect([...second.delta.frozen]).toEqual([`${path}.edit.written`]);
  });

  it("refuse layers that do not rise or are not there, no null space, and neurons that no prompt shares", async () => {
    const refusal = (method: AnyMethod, options: Readonly<Record<string, unknown>>, over: Partial<EditingInputs> = {}): Promise<unknown> =>
      run(method, { steps: 2, ...options }, over).catch((e: unknown) => e);
    const falling = await refusal(memit, { layers: [1, 0] });
    expect(isLfmError(falling, "CONFIG_INVALID") && falling.hint).toBe("layers: 0 1");
    expect(isLfmError(await refusal(memit, { layers: [2] }), "CAPABILITY_MISSING")).toBe(true);
    const none = await refusal(alphaedit, { threshold: 1e-12 });
    expect(isLfmError(none, "CONFIG_INVALID") && none.hint).toBe("--null-share 0.02");
    const alone = await refusal(kn, { threshold: 0.99, shared: 0.9 }, { prefixes: [[4, 4], [7], [2, 3, 3]] });
    expect(isLfmError(alone, "CONFIG_INVALID") && alone.hint).toBe("lower --shared or --threshold");
    const twice = await refusal(emmet, { layer: 1 }, { requests: [request, request] });
    expect(isLfmError(twice, "NUMERIC_DIVERGED")).toBe(true);
  });
});
