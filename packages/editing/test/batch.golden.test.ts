import {
  type AnyMethod,
  type Delta,
  type Engine,
  type HostTensor,
  loadWeight,
  type MethodContext,
  ortEngine,
  plainWeights,
  Rng,
  runMethod,
} from "@lfm/core";
import { beforeAll, describe, expect, it } from "vitest";
import { alphaedit, type EditingOutput, type EditRequest, emmet, ft, ftM, kn, memit, mlpOutSite, pmet } from "../src/index.js";
import { compileAttribution } from "../src/neuron-attribution.js";
import { goldenModel, readGolden, relativeError } from "./golden-tensors.js";

type Losses = readonly (readonly number[])[];
interface Json {
  readonly layers: readonly number[];
  readonly requests: readonly EditRequest[];
  readonly prefixes: readonly (readonly number[])[];
  readonly config: Readonly<Record<string, Record<string, number>>>;
  readonly losses: { readonly [method: string]: unknown; readonly alphaedit: readonly Losses[] };
  readonly kn: { readonly neurons: readonly (readonly number[])[]; readonly said: number };
}

let engine: Engine;
let context: MethodContext;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
  context = { engine, rng: new Rng(1), access: ["weights", "grad", "activations"], log: () => {}, progress: () => {} };
});

describe.each(["llama", "gpt2"])("batches of edits of the small %s against torch", (kind) => {
  const golden = readGolden<Json>(`${kind}-batch`);
  const { layers, requests, prefixes, config, losses } = golden.json;
  const model = goldenModel(kind);
  const corpus = golden.corpus();
  const sites = layers.map((layer) => mlpOutSite(model, layer));

  const run = (method: AnyMethod, over: object, facts: readonly EditRequest[], previous: readonly Delta[] = []): Promise<EditingOutput> =>
    runMethod(method, { model, requests: facts, prefixes, corpus, previous }, { stopLoss: 0, ...config[method.id], ...over }, context);
  const expectLosses = ({ curves }: EditingOutput, wanted: Losses): void => {
    expect(Object.keys(curves)).toHaveLength(wanted.length);
    for (const [i, curve] of Object.values(curves).entries()) {
      expect(curve).toHaveLength(wanted[i]!.length);
      for (const [j, [, loss]] of curve.entries()) expect(Math.abs(loss - wanted[i]![j]!), `loss ${i}.${j}`).toBeLessThan(1e-4);
    }
  };
  /** The change of each weight, not the weight, to within a thousandth: what the search makes of f32 on the way is in it. */
  const expectWeights = async (deltas: readonly Delta[], method: string, at = sites): Promise<void> => {
    const changed = await plainWeights(engine, model, deltas);
    expect(Object.keys(changed).sort()).toEqual(at.map((s) => s.weight!.name).sort());
    for (const { layer, weight } of at) {
      const before = loadWeight(model.params[weight!.name]!);
      const change = (after: HostTensor): number[] => Array.from(after.data as Float32Array, (w, i) => w - Number(before.data[i]));
      const wanted = change(golden.get(`${method}/out/weight.${layer}`));
      expect(relativeError(change(changed[weight!.name]!), wanted), `layer ${layer}`).toBeLessThan(1e-3);
    }
  };

  it.each([memit, pmet])("$id: every loss, and the change of every layer", async (method) => {
    const output = await run(method, { layers }, requests);
    expectLosses(output, losses[method.id] as Losses);
    await expectWeights([output.delta], method.id);
  });

  it("EMMET: every loss, the change, and each averaged key gets its value", async () => {
    const output = await run(emmet, {}, requests);
    expectLosses(output, losses.emmet as Losses);
    await expectWeights([output.delta], "emmet", [sites[0]!]);
    const weight = (await plainWeights(engine, model, [output.delta]))[sites[0]!.weight!.name]!;
    const { layout, in: width, out, bias } = sites[0]!.weight!;
    const shift = bias === undefined ? undefined : loadWeight(model.params[bias]!);
    const wanted = golden.rows("emmet/out/wanted");
    for (const [f, key] of golden.rows("emmet/out/key").entries()) {
      const given = Array.from({ length: out }, (_, o) => {
        const at = (i: number): number => Number(weight.data[layout === "out-in" ? o * width + i : i * out + o]);
        return key.reduce((s, k, i) => s + at(i) * k, Number(shift?.data[o] ?? 0));
      });
      expect(relativeError(given, wanted[f]!)).toBeLessThan(1e-5);
    }
  });

  it("AlphaEdit: two edits in turn, the second with the keys of the first", async () => {
    const first = await run(alphaedit, { layers }, requests.slice(0, 2));
    expectLosses(first, losses.alphaedit[0]!);
    const second = await run(alphaedit, { layers }, requests.slice(2), [first.delta]);
    expectLosses(second, losses.alphaedit[1]!);
    await expectWeights([first.delta, second.delta], "alphaedit");
  });

  it.each([ft, ftM])("$id: every loss and the weight", async (method) => {
    const output = await run(method, {}, requests.slice(0, 1));
    expectLosses(output, [losses[method.id] as readonly number[]]);
    await expectWeights([output.delta], method.id, [sites[0]!]);
  });

  it("knowledge neurons: what each speaks for, which they are, and the weights", async () => {
    const { steps, ...rest } = config.kn!;
    const attribution = await compileAttribution(engine, model, sites);
    const [{ prompt }] = requests as readonly [EditRequest];
    expect(await attribution.says(prompt)).toBe(golden.json.kn.said);
    const found = await attribution.of(prompt, golden.json.kn.said, steps!, context);
    expect(
      relativeError(
        found.flatMap((a) => [...a]),
        golden.get("kn/out/attribution").data,
      ),
    ).toBeLessThan(1e-4);
    await attribution.dispose();
    const { delta } = await runMethod(kn, { model, requests: requests.slice(0, 1), prefixes }, { steps: steps!, ...rest }, context);
    const chosen = sites.map(({ path }) => {
      const keys = delta.tensors[`${path}.edit.keys`];
      return keys ? [...(keys.data as Float32Array).entries()].filter(([, v]) => v === 1).map(([i]) => i) : [];
    });
    expect(chosen).toEqual(golden.json.kn.neurons);
    const written = sites.filter((_, i) => golden.json.kn.neurons[i]!.length > 0);
    await expectWeights([delta], "kn", written);
  });
});
