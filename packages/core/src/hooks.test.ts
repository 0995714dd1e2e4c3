import { describe, expect, it } from "vitest";
import { compile } from "./compile.js";
import { hostTensor } from "./dtype.js";
import { referenceEngine } from "./engines/reference.js";
import { dropoutAt, type Hook, type HookContext, hookInput, hookOutput, hookWeight } from "./hooks.js";
import { add, full, mul } from "./ops/index.js";
import type { Site } from "./site.js";
import type { Tensor } from "./tensor.js";

const site: Site = { path: "fc", kind: "linear" };
const other: Site = { path: "fc2", kind: "linear" };
const idle = full([4], 1);

/** Values of what `f` makes with a key. */
async function values(f: (key: Tensor) => Record<string, Tensor>, key = 7): Promise<Record<string, number[]>> {
  const run = await compile(referenceEngine(), { key: { dtype: "i32", shape: [] } }, (i) => f(i.key));
  const out = await run({ key: hostTensor("i32", [], Int32Array.of(key)) });
  await run.dispose();
  return Object.fromEntries(Object.entries(out).map(([name, t]) => [name, Array.from(t.data as Float32Array)]));
}

const dropping = (rate: number, label?: string): Hook => ({
  matches: () => true,
  output: (y, _x, _site, context) => add(y, dropoutAt(full([256], 1), rate, context, label)),
});

describe("hooks", () => {
  it("of a site run in the order of the stack, and only those that match and have the part", () => {
    const calls: string[] = [];
    const named = (name: string, path: string): Hook => ({
      matches: (s) => s.path === path,
      input: (x) => {
        calls.push(`${name} input`);
        return x;
      },
      output: (y) => {
        calls.push(`${name} output`);
        return y;
      },
    });
    const context: HookContext = { mode: "eval", hooks: [named("a", "fc"), named("b", "fc2"), { matches: () => true }, named("c", "fc")] };
    expect(hookInput(idle, site, context)).toBe(idle);
    expect(hookWeight(idle, site, context)).toBe(idle);
    expect(hookOutput(idle, idle, site, context)).toBe(idle);
    expect(calls).toEqual(["a input", "c input", "a output", "c output"]);
  });

  it("see at an output the weight and bias that made it, and nothing of them elsewhere", () => {
    const seen: HookContext[] = [];
    const look: Hook = {
      matches: () => true,
      weight: (w, _site, context) => {
        seen.push(context);
        return mul(w, 2);
      },
      output: (y, _x, _site, context) => {
        seen.push(context);
        return y;
      },
    };
    const context: HookContext = { mode: "eval", hooks: [look] };
    const weight = hookWeight(idle, site, context);
    hookOutput(idle, idle, site, context, { weight, bias: idle });
    hookOutput(idle, idle, other, context);
    expect(seen.map((c) => [c.weight, c.bias])).toEqual([
      [undefined, undefined],
      [weight, idle],
      [undefined, undefined],
    ]);
  });
});

describe("dropoutAt", () => {
  it("is x itself without a key, in eval mode and with rate 0", async () => {
    const key = full([], 3, "i32");
    expect(dropoutAt(idle, 0.5, { mode: "train" })).toBe(idle);
    expect(dropoutAt(idle, 0.5, { mode: "eval", key })).toBe(idle);
    expect(dropoutAt(idle, 0, { mode: "train", key })).toBe(idle);
  });

  it("of hooks stays where that of the model is turned off", async () => {
    const { y, own } = await values((key) => {
      const context: HookContext = { mode: "train", key, modelDropout: false, hooks: [dropping(0.5)] };
      return { y: hookOutput(full([256], 0), idle, site, context), own: dropoutAt(full([256], 1), 0.5, context) };
    });
    expect(new Set(y)).toEqual(new Set([0, 2]));
    expect(new Set(own)).toEqual(new Set([1]));
  });

  it("zeroes its share and scales the others by 1/(1 − rate)", async () => {
    const { y } = await values((key) => ({ y: dropoutAt(full([20000], 1), 0.2, { mode: "train", key }) }));
    const kept = y!.filter((v) => v !== 0);
    for (const v of kept) expect(v).toBeCloseTo(1.25, 6);
    expect(kept.length / 20000).toBeGreaterThan(0.79);
    expect(kept.length / 20000).toBeLessThan(0.81);
  });

  it("draws apart for stacked hooks of one kind, for sites, for labels and for hooks within hooks; the same for the same", async () => {
    const zero = (): Tensor => full([256], 0);
    const at = (hooks: readonly Hook[], where: Site, key: Tensor): Tensor => hookOutput(zero(), idle, where, { mode: "train", key, hooks });
    const within: Hook = {
      matches: () => true,
      output: (y, x, s, context) => hookOutput(y, x, s, { ...context, hooks: [dropping(0.5)] }),
    };
    const silent: Hook = { matches: () => true };
    const drawn = await values((key) => ({
      first: at([dropping(0.5)], site, key),
      again: at([dropping(0.5)], site, key),
      second: at([silent, dropping(0.5)], site, key),
      site: at([dropping(0.5)], other, key),
      label: at([dropping(0.5, "b")], site, key),
      within: at([within], site, key),
    }));
    const { again, ...apart } = drawn;
    expect(again).toEqual(drawn.first);
    const all = Object.values(apart);
    for (const [i, a] of all.entries())
      for (const b of all.slice(i + 1)) {
        const same = a.filter((v, k) => v === b[k]).length;
        // 256 coins: 128 ± 8
        expect(Math.abs(same - 128)).toBeLessThan(40);
      }
  });

  it("of two stacked hooks at one site is the sum of two independent draws", async () => {
    const { y } = await values((key) => ({
      y: hookOutput(full([256], 0), idle, site, { mode: "train", key, hooks: [dropping(0.5), dropping(0.5)] }),
    }));
    const count = (v: number): number => y!.filter((u) => u === v).length;
    expect(count(2)).toBeGreaterThan(88);
    expect(count(0) + count(2) + count(4)).toBe(256);
  });
});
