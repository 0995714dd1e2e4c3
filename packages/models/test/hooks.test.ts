import {
  add,
  broadcastTo,
  compile,
  concat,
  conv2d,
  dimAdd,
  div,
  type Engine,
  expandDims,
  f32,
  full,
  gather,
  type Hook,
  type HookContext,
  type HostTensor,
  i32,
  iota,
  linear,
  type Model,
  type ModelInput,
  matmul,
  mul,
  ortEngine,
  overParts,
  type ParamTree,
  Rng,
  reshape,
  type Site,
  type Spec,
  sqrt,
  square,
  sub,
  sum,
  type Tensor,
} from "@lfm/core";
import { modelFromConfig } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFixture, maxDifference } from "./golden-fixture.js";

let engine: Engine;
beforeAll(async () => {
  engine = await ortEngine({ threads: 1 });
});

const load = (name: string): Model => {
  const { config, weights } = goldenFixture(name);
  return modelFromConfig(config, weights);
};
const normal = (seed: number, shape: number[], std = 0.3): HostTensor =>
  f32(
    new Rng(seed).normalArray(
      shape.reduce((a, b) => a * b, 1),
      std,
    ),
    shape,
  );

/** What `f` makes of inputs on the weights of the model. */
async function run(
  model: Model,
  given: Record<string, HostTensor>,
  f: (params: ParamTree, input: Record<string, Tensor>) => Record<string, Tensor>,
): Promise<Record<string, HostTensor>> {
  const specs = Object.fromEntries(Object.entries(given).map(([n, t]): [string, Spec] => [n, { dtype: t.dtype, shape: t.shape }]));
  const compiled = await compile(engine, specs, (input, params: ParamTree) => f(params, input), { frozen: model.params });
  const out = await compiled(given);
  await compiled.dispose();
  return out;
}

const tokens = i32([4, 9, 2, 90, 17, 3], [2, 3]);
const mask = f32([1, 1, 1, 1, 1, 0], [2, 3]);
/** Three rows in front of every example. */
const prompt: Hook = {
  matches: (site) => site.kind === "embedding",
  sequence: ({ embeddings, mask, positions, prefix }) => ({
    embeddings: concat([full([2, 3, 32], 0.1), embeddings], 1),
    mask: concat([full([2, 3], 1), mask], 1),
    positions: concat([broadcastTo(expandDims(iota(3), 0), [2, 3]), add(positions, 3)], 1),
    prefix: dimAdd(prefix, 3),
  }),
};

describe.each(["gpt2", "llama", "mixtral", "phi3", "gpt-neox", "gemma3", "bert-classifier"])("hooks of %s", (name) => {
  const model = load(name);

  it("see mask, positions, prefix and the batch's tensors at every site", async () => {
    const seen = new Map<string, HookContext>();
    const look: Hook = {
      matches: () => true,
      output: (y, _x, site, context) => {
        seen.set(site.path, context);
        return y;
      },
    };
    let routes: Tensor | undefined;
    const out = await run(model, { tokens, mask, routes: i32([1, 0], [2]) }, (params, input) => {
      routes = input.routes!;
      const batch = { routes };
      model.forward(params, { tokens: input.tokens!, mask: input.mask! }, { mode: "eval", hooks: [prompt, look], batch });
      const last = seen.get(model.info.sites.at(-1)!.path)!;
      return { mask: last.mask!, positions: last.positions! };
    });
    for (const site of model.info.sites.filter((s) => s.kind !== "kv")) {
      const context = seen.get(site.path)!;
      const length = site.kind === "embedding" ? 3 : 6;
      expect([site.path, context.mask!.shape, context.positions!.shape]).toEqual([site.path, [2, length], [2, length]]);
      expect(context.prefix).toBe(length - 3);
      expect(context.batch?.routes).toBe(routes);
    }
    expect(Array.from(out.mask!.data as Float32Array)).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0]);
    expect(Array.from(out.positions!.data as Int32Array)).toEqual([0, 1, 2, 3, 4, 5, 0, 1, 2, 3, 4, 5]);
  });

  it("route every example of a batch to its own adapter", async () => {
    const adapted = model.info.sites.filter((s) => s.kind === "linear" && s.role !== undefined && s.layer === 0);
    const tables = Object.fromEntries(
      adapted.flatMap((s, i) => [
        [`a${i}`, normal(2 * i, [2, 4, s.weight!.in])],
        [`b${i}`, normal(2 * i + 1, [2, s.weight!.out, 4])],
      ]),
    );
    const place = new Map(adapted.map((s, i) => [s.path, i]));
    // x·Aᵀ·Bᵀ with the rows' own A and B; experts of a mixture see [batch, seq, in] like every other layer.
    const routed = (t: Record<string, Tensor>): Hook => ({
      matches: (s) => place.has(s.path),
      output: (y, x, s, { batch }) => {
        const own = (n: string): Tensor => gather(t[`${n}${place.get(s.path)!}`]!, batch!.adapter!);
        return add(y, matmul(matmul(x, own("a"), { transB: true }), own("b"), { transB: true }));
      },
    });
    const logits = async (rows: HostTensor, adapter: HostTensor): Promise<HostTensor> =>
      (
        await run(model, { tokens: rows, adapter, ...tables }, (params, input) => ({
          y: model.forward(params, { tokens: input.tokens! }, { mode: "eval", hooks: [routed(input)], batch: { adapter: input.adapter! } })
            .logits!,
        }))
      ).y!;
    const single = async (row: number, adapter: number): Promise<HostTensor> =>
      (
        await run(
          model,
          { tokens: i32(Array.from(tokens.data as Int32Array).slice(3 * row, 3 * row + 3), [1, 3]), ...tables },
          (params, input) => {
            const own = (s: Site, n: string): Tensor =>
              reshape(
                gather(input[`${n}${place.get(s.path)!}`]!, full([1], adapter, "i32")),
                n === "a" ? [4, s.weight!.in] : [s.weight!.out, 4],
              );
            const hook: Hook = {
              matches: (s) => place.has(s.path),
              output: (y, x, s) => add(y, linear(linear(x, own(s, "a"), undefined), own(s, "b"), undefined)),
            };
            return { y: model.forward(params, { tokens: input.tokens! }, { mode: "eval", hooks: [hook] }).logits! };
          },
        )
      ).y!;
    const together = Array.from((await logits(tokens, i32([1, 0], [2]))).data as Float32Array);
    const apart = [...((await single(0, 1)).data as Float32Array), ...((await single(1, 0)).data as Float32Array)];
    expect(maxDifference(f32(together, [together.length]), f32(apart, [apart.length]))).toBeLessThan(1e-4);
    const swapped = await logits(tokens, i32([0, 1], [2]));
    expect(maxDifference(f32(together, swapped.shape), swapped)).toBeGreaterThan(1e-2);
  });

  it("know the effective weight at the output: DoRA by hook is DoRA in the weights", async () => {
    const adapted = model.info.sites.filter((s) => s.kind === "linear" && s.layer === 1);
    const place = new Map(adapted.map((s, i) => [s.path, i]));
    const given = Object.fromEntries(
      adapted.flatMap((s, i) => {
        const { in: inner, out, layout } = s.weight!;
        return [
          [`u${i}`, normal(i, layout === "out-in" ? [out, inner] : [inner, out], 0.05)],
          [`m${i}`, f32(new Rng(i).uniformArray(out, 0.5, 2), [out])],
        ];
      }),
    );
    const own = (t: Record<string, Tensor>, s: Site, n: string): Tensor => t[`${n}${place.get(s.path)!}`]!;
    /** m / ‖row of W‖, f32[out]. */
    const factor = (m: Tensor, w: Tensor, s: Site): Tensor => div(m, sqrt(sum(square(w), s.weight!.layout === "out-in" ? 1 : 0)));
    const out = await run(model, { tokens, ...given }, (params, t) => {
      const input: ModelInput = { tokens: t.tokens! };
      const byHook: Hook = {
        matches: (s) => place.has(s.path),
        weight: (w, s) => add(w, own(t, s, "u")),
        output: (y, _x, s, { weight, bias }) => {
          const scaled = mul(bias ? sub(y, bias) : y, factor(own(t, s, "m"), weight!, s));
          return bias ? add(scaled, bias) : scaled;
        },
      };
      const merged: Record<string, Tensor> = { ...params };
      for (const s of adapted) {
        const w = add(params[s.weight!.name]!, own(t, s, "u"));
        const f = factor(own(t, s, "m"), w, s);
        merged[s.weight!.name] = mul(w, s.weight!.layout === "out-in" ? reshape(f, [s.weight!.out, 1]) : f);
      }
      return {
        hooked: model.forward(params, input, { mode: "eval", hooks: [byHook] }).logits!,
        merged: model.forward(merged, input, { mode: "eval" }).logits!,
        base: model.forward(params, input, { mode: "eval" }).logits!,
      };
    });
    expect(maxDifference(out.hooked!, out.merged!)).toBeLessThan(1e-4);
    expect(maxDifference(out.hooked!, out.base!)).toBeGreaterThan(1e-2);
  });
});

describe.each(["gpt2", "llama", "qwen2", "mixtral", "mistral", "gpt-neox", "gemma2", "bert-encoder", "vit"])("kv sites of %s", (name) => {
  const model = load(name);
  const given: Record<string, HostTensor> = model.info.input === "tokens" ? { tokens } : { pixels: normal(1, [2, 3, 24, 24]) };

  it("say the dimensions of keys and values, from which a prefix is made", async () => {
    /** One key in front, the same for all; seen or hidden. */
    const prefixed = (seen: 0 | 1): Hook => ({
      matches: (s) => s.kind === "kv",
      kv: ({ key, value, mask: own }, { attention }) => {
        const { kvHeads, headDim } = attention!;
        const front = full([2, kvHeads, 1, headDim], 0.5);
        return { key: concat([front, key], 2), value: concat([front, value], 2), mask: concat([full([2, 1], seen), own!], 1) };
      },
    });
    const out = await run(model, given, (params, input) => {
      const last = (hooks: readonly Hook[]): Tensor => model.forward(params, input, { mode: "eval", hooks }).last!;
      return { base: last([]), hidden: last([prefixed(0)]), seen: last([prefixed(1)]) };
    });
    expect(maxDifference(out.hidden!, out.base!)).toBeLessThan(1e-5);
    expect(maxDifference(out.seen!, out.base!)).toBeGreaterThan(1e-3);
  });
});

const withSites = [
  "gpt2",
  "llama",
  "qwen2",
  "mixtral",
  "qwen3",
  "phi3",
  "gpt-neox",
  "gemma3",
  "bert-classifier",
  "roberta-classifier",
  "distilbert-classifier",
  "vit",
  "dinov2",
  "dinov2-swiglu",
  "convnet",
  "resnet-basic",
  "resnet-bottleneck",
  "mlp",
];
describe.each(withSites)("sites of %s", (name) => {
  const { info } = load(name);

  it("name their parameters with their shapes", () => {
    const named = new Set<string>();
    for (const site of info.sites) {
      for (const n of Object.values(site.params ?? {})) {
        expect(info.params, site.path).toHaveProperty([n]);
        named.add(n);
      }
      if (site.weight) expect([site.params?.weight, site.params?.bias]).toEqual([site.weight.name, site.weight.bias]);
      if (site.kind === "norm") expect(info.params[site.params!.weight!]!.trainable).toBe(true);
      if (site.kind === "conv") {
        const { in: inner, out, kernel } = site.conv!;
        expect(info.params[site.params!.weight!]!.shape).toEqual([out, inner, ...kernel]);
      }
    }
    // What belongs to no site are tables, the class and mask tokens, and scales of layers.
    const rest = Object.keys(info.params).filter((n) => !named.has(n));
    for (const n of rest) expect(n).toMatch(/wpe|position_embeddings|token_type_embeddings|cls_token|mask_token|lambda1$/);
    for (const n of Object.keys(info.params)) if (n.endsWith(".bias")) expect(named.has(n)).toBe(true);
    expect([...named].filter((n) => !info.params[n]!.trainable).every((n) => n.includes("running_"))).toBe(true);
  });

  it("of fused layers say what lies where", () => {
    const wanted: Record<string, readonly (readonly [string, readonly number[]])[]> = {
      gpt2: [["q k v", [0, 32, 64]]],
      // keys and values of fewer heads; gate and up
      phi3: [
        ["q k v", [0, 32, 48]],
        ["gate in", [0, 48]],
      ],
      "dinov2-swiglu": [["gate in", [0, 24]]],
      // head by head
      "gpt-neox": [["q k v q k v q k v q k v", [0, 8, 16, 24, 32, 40, 48, 56, 64, 72, 80, 88]]],
    };
    const fused = info.sites.filter((s) => s.parts && s.layer === 1);
    expect(fused.map((s) => [s.parts!.map((p) => p.role).join(" "), s.parts!.map((p) => p.offset)])).toEqual(wanted[name] ?? []);
    for (const site of fused) expect(site.parts!.reduce((n, p) => n + p.size, 0)).toBe(site.weight!.out);
  });
});

describe("IA³ on keys and values of gpt2", () => {
  it("by parts of the fused layer scales the columns of its weight and bias", async () => {
    const model = load("gpt2");
    const fused = model.info.sites.filter((s) => s.role === "qkv");
    const scales = { k: f32(new Rng(1).uniformArray(32, 0.5, 2), [32]), v: f32(new Rng(2).uniformArray(32, 0.5, 2), [32]) };
    const out = await run(model, { tokens, ...scales }, (params, t) => {
      const hook: Hook = { matches: (s) => s.role === "qkv", output: (y, _x, s) => mul(y, overParts(s, { k: t.k!, v: t.v! }, 1)) };
      const merged: Record<string, Tensor> = { ...params };
      const columns = concat([full([32], 1), t.k!, t.v!], 0);
      for (const s of fused) {
        merged[s.params!.weight!] = mul(params[s.params!.weight!]!, columns);
        merged[s.params!.bias!] = mul(params[s.params!.bias!]!, columns);
      }
      return {
        hooked: model.forward(params, { tokens: t.tokens! }, { mode: "eval", hooks: [hook] }).logits!,
        merged: model.forward(merged, { tokens: t.tokens! }, { mode: "eval" }).logits!,
        base: model.forward(params, { tokens: t.tokens! }, { mode: "eval" }).logits!,
      };
    });
    expect(maxDifference(out.hooked!, out.merged!)).toBeLessThan(1e-5);
    expect(maxDifference(out.hooked!, out.base!)).toBeGreaterThan(1e-3);
  });
});

describe.each(["convnet", "vit"])("convolutions of %s", (name) => {
  it("say enough for LoRA beside them: a convolution of their kernel, stride and padding, then one of 1×1", async () => {
    const model = load(name);
    const r = 2;
    const place = new Map(model.info.sites.filter((s) => s.kind === "conv").map((s, i) => [s.path, i]));
    const convs = model.info.sites.filter((s) => place.has(s.path));
    const tables = Object.fromEntries(
      convs.flatMap((s, i) => [
        [`a${i}`, normal(2 * i, [r, s.conv!.in, ...s.conv!.kernel])],
        [`b${i}`, normal(2 * i + 1, [s.conv!.out, r, 1, 1])],
      ]),
    );
    const pixels = name === "vit" ? normal(9, [1, 3, 24, 24]) : normal(9, [1, 2, 13, 13]);
    const out = await run(model, { pixels, ...tables }, (params, t) => {
      const own = (s: Site, n: string): Tensor => t[`${n}${place.get(s.path)!}`]!;
      const hook: Hook = {
        matches: (s) => s.conv !== undefined,
        output: (y, x, s) => {
          const { stride, padding } = s.conv!;
          return add(y, conv2d(conv2d(x, own(s, "a"), undefined, { stride, padding }), own(s, "b"), undefined, { padding: 0 }));
        },
      };
      const merged: Record<string, Tensor> = { ...params };
      for (const s of convs) {
        const { in: inner, out: outer, kernel } = s.conv!;
        const change = matmul(reshape(own(s, "b"), [outer, r]), reshape(own(s, "a"), [r, inner * kernel[0] * kernel[1]]));
        merged[s.params!.weight!] = add(params[s.params!.weight!]!, reshape(change, [outer, inner, ...kernel]));
      }
      const answer = (tree: ParamTree, hooks: readonly Hook[]): Tensor =>
        model.forward(tree, { pixels: t.pixels! }, { mode: "eval", hooks }).pooled!;
      return { hooked: answer(params, [hook]), merged: answer(merged, []), base: answer(params, []) };
    });
    expect(maxDifference(out.hooked!, out.merged!)).toBeLessThan(1e-4);
    expect(maxDifference(out.hooked!, out.base!)).toBeGreaterThan(1e-3);
  });
});
