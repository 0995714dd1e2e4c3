import {
  compile,
  type Engine,
  f32,
  type Graph,
  type Hook,
  type HostTensor,
  hostTensor,
  i32,
  type ModelInput,
  ortEngine,
  type ParamTree,
  Rng,
  type Tensor,
} from "@lfm/core";
import { bert, gpt2, modelFromConfig, vit } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFixture, maxDifference } from "./golden-fixture.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const ROWS = 512;
const RATE = 0.2;

/** The same example in every row: a run with dropout is as many draws. */
function repeated(x: HostTensor): HostTensor {
  const shape = [ROWS, ...x.shape];
  const values = Array.from(x.data as ArrayLike<number>);
  const all = Array.from({ length: ROWS }, () => values).flat();
  return x.dtype === "i32" ? i32(all, shape) : f32(all, shape);
}

interface Case {
  readonly fixture: string;
  /** Places where dropout stands, with every rate above 0. */
  readonly places: number;
  /** Field of the config → something that is linear in what it drops, as far as other rates are 0. */
  readonly looks: Readonly<Record<string, "embedded" | "attentions" | { readonly inputOf: string }>>;
}

// Two layers each: embeddings, and per layer attention weights, attention output and MLP output; BERT's classifier has one more.
const cases: readonly Case[] = [
  {
    fixture: "gpt2",
    places: 7,
    looks: { embd_pdrop: "embedded", attn_pdrop: "attentions", resid_pdrop: { inputOf: "transformer.h.0.ln_2" } },
  },
  {
    fixture: "bert-classifier",
    places: 8,
    looks: { hidden_dropout_prob: "embedded", attention_probs_dropout_prob: "attentions", classifier_dropout: { inputOf: "classifier" } },
  },
  { fixture: "vit", places: 7, looks: { hidden_dropout_prob: "embedded", attention_probs_dropout_prob: "attentions" } },
  { fixture: "llama", places: 2, looks: { attention_dropout: "attentions" } },
  { fixture: "qwen2", places: 2, looks: { attention_dropout: "attentions" } },
];

describe.each(cases)("dropout of $fixture", ({ fixture, places, looks }) => {
  const { config, weights } = goldenFixture(fixture);
  const fields = Object.keys(looks);
  const none = Object.fromEntries(fields.map((f) => [f, 0]));
  const given: Record<string, HostTensor> =
    fixture === "vit"
      ? { pixels: repeated(f32(new Rng(1).normalArray(3 * 24 * 24), [3, 24, 24])) }
      : { tokens: repeated(i32([4, 9, 2, 90], [4])) };
  const specs = Object.fromEntries(Object.entries(given).map(([n, t]) => [n, { dtype: t.dtype, shape: t.shape }] as const));

  const run = async (
    rates: Readonly<Record<string, number>>,
    context: { readonly mode: "train" | "eval"; readonly key?: number },
    look: Case["looks"][string] = "embedded",
  ): Promise<{ readonly y: HostTensor; readonly graph: Graph }> => {
    const model = modelFromConfig({ ...config, ...none, ...rates }, weights);
    let seen: Tensor | undefined;
    const watch: Hook = {
      matches: (s) => typeof look === "object" && s.path === look.inputOf,
      input: (x) => {
        seen = x;
        return x;
      },
    };
    const compiled = await compile(
      engine,
      { ...specs, key: { dtype: "i32", shape: [] } },
      ({ key, ...input }, params: ParamTree) => {
        const out = model.forward(params, input as ModelInput, {
          mode: context.mode,
          hooks: [watch],
          want: { hidden: true, attentions: true },
          ...(context.key === undefined ? {} : { key: key as Tensor }),
        });
        const last = out.logits ?? out.last!;
        return { last, y: look === "embedded" ? out.hidden![0]! : look === "attentions" ? out.attentions![0]! : seen! };
      },
      { frozen: model.params },
    );
    const { y } = await compiled({ ...given, key: hostTensor("i32", [], Int32Array.of(context.key ?? 0)) });
    await compiled.dispose();
    return { y, graph: compiled.graph };
  };
  const all = Object.fromEntries(fields.map((f) => [f, RATE]));
  const draws = (graph: Graph): number => graph.nodes.filter((n) => n.op.name === "randomUniform").length;

  it("leaves no node in eval mode, without a key and at rate 0", async () => {
    const { graph } = await run({}, { mode: "eval" });
    expect((await run(all, { mode: "eval", key: 5 })).graph.structure).toBe(graph.structure);
    expect((await run(all, { mode: "train" })).graph.structure).toBe(graph.structure);
    expect((await run({}, { mode: "train", key: 5 })).graph.structure).toBe(graph.structure);
  });

  it("stands at every place where transformers has it, each with a draw of its own", async () => {
    expect(draws((await run(all, { mode: "train", key: 5 })).graph)).toBe(places);
  });

  it("follows the key", async () => {
    const look = looks[fields[0]!]!;
    const [a, b, c] = [
      await run(all, { mode: "train", key: 5 }, look),
      await run(all, { mode: "train", key: 5 }, look),
      await run(all, { mode: "train", key: 6 }, look),
    ];
    expect(maxDifference(a.y, b.y)).toBe(0);
    expect(maxDifference(a.y, c.y)).toBeGreaterThan(0);
  });

  it.each(fields)("by %s has the mean of no dropout, and its share of zeroes or changes", async (field) => {
    const look = looks[field]!;
    const still = (await run({}, { mode: "eval" }, look)).y.data as Float32Array;
    const shaken = (await run({ [field]: RATE }, { mode: "train", key: 3 }, look)).y.data as Float32Array;
    const width = still.length / ROWS;
    // One element's deviation is at most that of all it is made of: |x|·√(p/(1 − p)) for the places that are looked at alone.
    let [changed, worst, largest] = [0, 0, 0];
    for (let i = 0; i < width; i++) {
      let sum = 0;
      for (let r = 0; r < ROWS; r++) {
        sum += shaken[r * width + i]!;
        if (Math.abs(shaken[r * width + i]! - still[i]!) > 1e-6) changed++;
      }
      worst = Math.max(worst, Math.abs(sum / ROWS - still[i]!));
      largest = Math.max(largest, Math.abs(still[i]!));
    }
    expect(worst / largest).toBeLessThan((5 * Math.sqrt(RATE / (1 - RATE))) / Math.sqrt(ROWS));
    expect(changed / shaken.length).toBeGreaterThan(0.2);
    if (typeof look === "string" || look.inputOf === "classifier") {
      // What is not 0 is scaled by 1/(1 − p).
      let [zeroes, wanted, off] = [0, 0, 0];
      for (let i = 0; i < shaken.length; i++) {
        if (Math.abs(still[i % width]!) < 1e-6) continue;
        wanted++;
        if (shaken[i] === 0) zeroes++;
        else off = Math.max(off, Math.abs(shaken[i]! * (1 - RATE) - still[i % width]!));
      }
      expect(off).toBeLessThan(1e-5);
      expect(Math.abs(zeroes / wanted - RATE)).toBeLessThan(0.01);
    }
  });
});

describe("rates of a config without them", () => {
  it("are those of transformers", () => {
    const { config: b } = bert({ num_hidden_layers: 1 }).info;
    expect([b.hidden_dropout_prob, b.attention_probs_dropout_prob]).toEqual([0.1, 0.1]);
    const { config: g } = gpt2({ n_layer: 1 }).info;
    expect([g.embd_pdrop, g.attn_pdrop, g.resid_pdrop]).toEqual([0.1, 0.1, 0.1]);
    const { config: v } = vit({ num_hidden_layers: 1 }).info;
    expect([v.hidden_dropout_prob, v.attention_probs_dropout_prob]).toEqual([0, 0]);
  });
});
