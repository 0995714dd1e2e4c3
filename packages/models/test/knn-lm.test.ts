import {
  add,
  compileModel,
  type Delta,
  dimSub,
  f32,
  type Hook,
  i32,
  linear,
  log,
  type Model,
  makeDelta,
  mul,
  neg,
  oneHot,
  ortEngine,
  type ParamTree,
  slice,
  softmax,
  square,
  sub,
  sum,
  sym,
  type Tensor,
  transpose,
  withDeltas,
} from "@lfm/core";
import { type CountingEngine, countingEngine } from "@lfm/core/testing";
import { createGenerator, modelFromConfig } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFixture } from "./golden-fixture.js";

/** What was read, and the token that followed. */
interface Datastore {
  readonly keys: readonly Float32Array[];
  readonly tokens: readonly number[];
}

const [LAMBDA, TEMPERATURE] = [0.25, 3];
const TEXTS = [
  [4, 8, 15, 16, 23, 42],
  [3, 1, 4, 1, 5, 9, 2, 6],
  [2, 7, 1, 8, 2, 8],
];

/** Keeps what the last MLP reads, the key of kNN-LM. */
function keyHook(model: Model, keep: (x: Tensor) => void): Hook {
  const last = model.info.sites.findLast((s) => s.kind === "mlp")!;
  return {
    matches: (site) => site.path === last.path,
    input: (x) => {
      keep(x);
      return x;
    },
  };
}

/** kNN-LM (arXiv 1911.00172, equations 2 and 3): p = λ·Σᵢ exp(−‖x − kᵢ‖²/T)·[vᵢ = y] / Z + (1 − λ)·p_LM, over all keys. */
function nearestNeighbours(model: Model, { keys, tokens }: Datastore, lambda: number): Delta {
  const width = model.info.hiddenSize;
  const rows = sym("rows");
  const hooks = (t: ParamTree): Hook[] => {
    let seen: Tensor | undefined;
    const hit = keyHook(model, (x) => {
      seen = x;
    });
    const mix: Hook = {
      matches: (site) => site.kind === "head",
      output: (y) => {
        const x = slice(seen!, 1, dimSub(seen!.dim(1), y.dim(1)), y.dim(1));
        const squares = add(sum(square(x), -1, { keepDims: true }), sum(square(t.keys!), -1));
        const distances = sub(squares, mul(linear(x, t.keys!, undefined), 2));
        const near = linear(softmax(mul(neg(distances), 1 / TEMPERATURE)), transpose(oneHot(t.values!, y.dim(-1))), undefined);
        return log(add(mul(near, lambda), mul(softmax(y), 1 - lambda)));
      },
    };
    return [hit, mix];
  };
  return makeDelta(
    { id: "knn-lm", paradigm: "test", delta: { hooks: (_c, t) => hooks(t), shapes: () => ({ keys: [rows, width], values: [rows] }) } },
    { lambda },
    {
      keys: f32(
        keys.flatMap((k) => [...k]),
        [keys.length, width],
      ),
      values: i32(tokens),
    },
  );
}

/** By hand: loops in double precision. */
function mixture(x: Float32Array, logProbabilities: Float32Array, { keys, tokens }: Datastore, lambda: number): number[] {
  const weights = keys.map((k) => Math.exp(-k.reduce((d, v, i) => d + (v - x[i]!) ** 2, 0) / TEMPERATURE));
  const total = weights.reduce((a, b) => a + b, 0);
  return Array.from(logProbabilities, (lp, y) => {
    const near = weights.reduce((s, w, i) => s + (tokens[i] === y ? w : 0), 0) / total;
    return lambda * near + (1 - lambda) * Math.exp(lp);
  });
}

describe.each(["gpt2", "llama"])("kNN-LM on %s", (name) => {
  const { config, weights } = goldenFixture(name);
  const model = modelFromConfig(config, weights);
  let engine: CountingEngine;
  /** What the last MLP reads at every position. */
  let read: (tokens: readonly number[]) => Promise<Float32Array[]>;
  let store: Datastore;
  beforeAll(async () => {
    engine = countingEngine(await ortEngine({ threads: 1 }));
    const f = await compileModel(engine, model, { tokens: { dtype: "i32", shape: [1, sym("seq")] } }, ({ tokens }, params, at) => {
      let keys: Tensor | undefined;
      at.forward(params, { tokens }, { mode: "eval", hooks: [keyHook(at, (x) => (keys = x))] });
      return { keys: keys! };
    });
    read = async (tokens) => {
      const { keys } = await f({ tokens: i32(tokens, [1, tokens.length]) });
      const width = model.info.hiddenSize;
      return tokens.map((_, i) => (keys.data as Float32Array).slice(i * width, (i + 1) * width));
    };
    const keys = (await Promise.all(TEXTS.map(read))).flatMap((k) => k.slice(0, -1));
    store = { keys, tokens: TEXTS.flatMap((text) => text.slice(1)) };
  });

  it("is inside generation the mixture that is computed by hand, at every step, while the datastore grows in one session", async () => {
    const [plain, mixed] = [
      await createGenerator(engine, model),
      await createGenerator(engine, withDeltas(model, [nearestNeighbours(model, store, LAMBDA)])),
    ];
    const compiled = engine.counts.compiled;
    const prompt = [3, 1, 4];
    let [tokens, grown, changed] = [[...prompt], store, 0];
    for (let step = 0; step < 10; step++) {
      const opened = await mixed.open([tokens.slice(0, 2)]);
      await opened.push([tokens.slice(2)]);
      const base = (await plain.open([tokens])).logProbabilities();
      const x = (await read(tokens)).at(-1)!;
      const wanted = mixture(x, base, grown, LAMBDA);
      const found = opened.logProbabilities();
      for (const [y, p] of wanted.entries()) expect(Math.abs(Math.exp(found[y]!) - p)).toBeLessThan(1e-5);
      const next = wanted.indexOf(Math.max(...wanted));
      if (base[next]! < Math.max(...base)) changed++;
      grown = { keys: [...grown.keys, x], tokens: [...grown.tokens, next] };
      tokens = [...tokens, next];
      await mixed.swap(withDeltas(model, [nearestNeighbours(model, grown, LAMBDA)]));
    }
    expect(changed, "neighbours decide some of the tokens").toBeGreaterThan(0);
    expect(engine.counts.compiled).toBe(compiled);
    await mixed.swap(withDeltas(model, [nearestNeighbours(model, store, LAMBDA)]));
    const { tokens: free, logProbs } = await mixed.generate(prompt, { maxNewTokens: 10, logProbs: true });
    for (const [i, token] of free.entries()) {
      const soFar = [...prompt, ...free.slice(0, i)];
      const wanted = mixture((await read(soFar)).at(-1)!, (await plain.open([soFar])).logProbabilities(), store, LAMBDA);
      expect(Math.abs(Math.exp(logProbs![i]!) - wanted[token]!)).toBeLessThan(1e-5);
      expect(wanted[token]).toBeCloseTo(Math.max(...wanted), 5);
    }
  });

  it("with λ = 0 is the model alone", async () => {
    const [plain, mixed] = [
      await createGenerator(engine, model),
      await createGenerator(engine, withDeltas(model, [nearestNeighbours(model, store, 0)])),
    ];
    const [a, b] = [await plain.open([[5, 6]]), await mixed.open([[5, 6]])];
    const [p, q] = [a.logProbabilities(), b.logProbabilities()];
    for (const [y, v] of p.entries()) expect(Math.abs(Math.exp(v) - Math.exp(q[y]!))).toBeLessThan(1e-6);
  });
});
