import {
  compile,
  crossEntropyPerItem,
  div,
  grad,
  type HostTensor,
  i32,
  isLfmError,
  loadWeight,
  type ModelInput,
  mul,
  ortEngine,
  type ParamTree,
  referenceEngine,
  type Spec,
  sum,
  sym,
  type Tensor,
  widenToF32,
} from "@lfm/core";
import { modelFromConfig } from "@lfm/models";
import { describe, expect, it } from "vitest";
import { distanceBuckets } from "../src/relative-positions.js";
import { goldenFixture, maxDifference, maxMagnitude } from "./golden-fixture.js";

type Given = Readonly<Record<string, Tensor>>;
const input = (given: Given): ModelInput => ({
  tokens: given.tokens!,
  ...(given.mask ? { mask: given.mask } : {}),
  decoder: { tokens: given["decoder/tokens"]!, ...(given["decoder/mask"] ? { mask: given["decoder/mask"] } : {}) },
});
const specs = (tree: Readonly<Record<string, HostTensor>>): Record<string, Spec> =>
  Object.fromEntries(Object.entries(tree).map(([name, { dtype, shape }]) => [name, { dtype, shape }]));

describe.each(["t5", "t5-gated"])("%s follows transformers", (name) => {
  const fixture = goldenFixture(name);
  const model = modelFromConfig(fixture.config, fixture.weights);
  const params = Object.fromEntries(Object.entries(model.params).map(([k, w]) => [k, widenToF32(loadWeight(w))]));

  it.each([
    ["ort", false],
    ["ort", true],
    ["reference", false],
  ] as const)("outputs and gradients on %s, blocks computed again: %s", async (engineName, recompute) => {
    const engine = engineName === "ort" ? await ortEngine({ threads: 1 }) : referenceEngine();
    const given = fixture.all("padded/in/");
    const f = await compile(engine, { params: specs(params), given: specs(given) }, ({ params, given }) => {
      const tree: ParamTree = params;
      const out = model.forward(tree, input(given), { mode: "train", recompute, want: { hidden: true } });
      const kept = given["decoder/mask"]!;
      const loss = div(sum(mul(crossEntropyPerItem(out.logits!, given.labels!), kept)), sum(kept));
      return { logits: out.logits!, last: out.last!, encoded: out.encoded!, first: out.hidden![0]!, loss, gradients: grad(loss, tree) };
    });
    const out = await f({ params, given });
    const [mask, target] = [given.mask!, given["decoder/mask"]!];
    expect(maxDifference(out.logits, fixture.get("padded/out/logits"), target)).toBeLessThan(1e-4);
    expect(maxDifference(out.last, fixture.get("padded/out/last"), target)).toBeLessThan(1e-4);
    expect(maxDifference(out.encoded, fixture.get("padded/out/encoded"), mask)).toBeLessThan(1e-4);
    expect(maxDifference(out.first, fixture.get("padded/out/hidden.0"))).toBeLessThan(1e-6);
    expect(maxDifference(out.loss, fixture.get("padded/out/loss"))).toBeLessThan(1e-5);
    const wanted = fixture.all("padded/grad/");
    expect(Object.keys(wanted).sort()).toEqual(Object.keys(model.info.params).sort());
    for (const [k, golden] of Object.entries(wanted))
      expect(maxDifference(out.gradients[k]!, golden) / maxMagnitude(golden), k).toBeLessThan(1e-4);
    await f.dispose();
  });

  it("takes any lengths in one session, without masks", async () => {
    const shape = (length: string): Spec => ({ dtype: "i32", shape: [sym("batch"), sym(length)] });
    const f = await compile(
      await ortEngine({ threads: 1 }),
      { tokens: shape("source"), "decoder/tokens": shape("target") },
      (given, p: ParamTree) => ({ logits: model.forward(p, input(given), { mode: "eval" }).logits! }),
      { frozen: params },
    );
    const { logits } = await f({ tokens: fixture.get("plain/in/tokens"), "decoder/tokens": fixture.get("plain/in/decoder/tokens") });
    expect(maxDifference(logits, fixture.get("plain/out/logits"))).toBeLessThan(1e-4);
    const longer = await f({ tokens: i32(new Array<number>(40).fill(3), [1, 40]), "decoder/tokens": i32([0], [1, 1]) });
    expect(longer.logits.shape).toEqual([1, 1, 97]);
    await f.dispose();
  });
});

describe("t5", () => {
  it("says what its decoder needs", async () => {
    const { config, weights } = goldenFixture("t5");
    const model = modelFromConfig(config, weights);
    const error = await compile(referenceEngine(), { x: { dtype: "i32", shape: [1, 3] } }, ({ x }) => ({
      y: model.forward({}, { tokens: x }, { mode: "eval" }).logits!,
    })).catch((e: unknown) => e);
    expect(isLfmError(error, "SHAPE_MISMATCH")).toBe(true);
    expect((error as { readonly hint?: string }).hint).toContain("shifted right");
  });

  it.each([
    [16, 128, [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 23, 32, 46, 64, 91]],
    [6, 20, [0, 1, 2, 3, 6, 11]],
  ])("puts distances into %i buckets up to %i as transformers does", (buckets, maxDistance, starts) => {
    const found = distanceBuckets(buckets, maxDistance);
    expect(found).toHaveLength(maxDistance + 1);
    expect(Array.from({ length: buckets }, (_, b) => found.indexOf(b))).toEqual(starts);
  });
});
