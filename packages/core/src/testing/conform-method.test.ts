import { describe, expect, it } from "vitest";
import { z } from "zod";
import { referenceEngine } from "../engines/reference.js";
import { throwIfAborted } from "../errors.js";
import { defineMethod, type Method } from "../method.js";
import { inputKind } from "../method-inputs.js";
import { conformMethod, type MethodFixture } from "./conform-method.js";

const config = z.strictObject({ times: z.number().int().default(3).describe("additions") });
type Config = typeof config;
interface Inputs {
  readonly x: Float32Array;
}

/** Adds noise a few times: the smallest method that keeps the contract. */
const good: Method<Inputs, Float32Array, Config> = {
  id: "add-noise",
  paradigm: "tuning",
  summary: "Adds noise.",
  paper: { title: "None", url: "https://example.org", year: 2024 },
  needs: ["weights", "grad"],
  inputs: { x: inputKind<Float32Array>("examples") },
  config,
  presets: { twice: { summary: "two additions", config: { times: 2 } } },
  run: async ({ x }, c, context) => {
    const y = x.slice();
    for (let i = 0; i < c.times; i++) {
      throwIfAborted(context.signal, "add-noise");
      y[0] = y[0]! + context.rng.normal();
      context.progress({ phase: "add", done: i + 1, total: c.times, unit: "step" });
    }
    heard.add(y);
    return y;
  },
};
const fixture: MethodFixture<Inputs, Float32Array, Config> = {
  engine: referenceEngine(),
  inputs: () => ({ x: Float32Array.of(1, 2) }),
  observe: (y) => y,
  reload: async (y) => y.slice(),
};
/** Outputs that came from a run and not from a file. */
const heard = new WeakSet<Float32Array>();
const verdict = (change: Partial<Method<Inputs, Float32Array, Config>>, other: Partial<typeof fixture> = {}): Promise<string> =>
  conformMethod(defineMethod({ ...good, ...change }), { ...fixture, ...other }).then(
    () => "conforms",
    (e: Error) => e.message,
  );

describe("conformMethod", () => {
  it("passes a method that keeps the contract", async () => {
    expect((await conformMethod(defineMethod(good), fixture)).length).toBe(7);
  });

  // The schemas that are cast are no schemas of the method's options: that is what is wrong with them.
  it.each<[string, RegExp, Partial<Method<Inputs, Float32Array, Config>>, Partial<typeof fixture>?]>([
    ["a field without description", /description of config\.times/, { config: z.strictObject({ times: z.number().default(3) }) as never }],
    ["an empty summary", /lacks summary/, { summary: " " }],
    ["an option without default", /defaults and presets parse/, { config: z.strictObject({ times: z.number().describe("n") }) as never }],
    ["options that take anything", /was accepted/, { config: z.looseObject({ times: z.number().default(3).describe("n") }) as never }],
    ["unseeded randomness", /two runs with one seed differ/, { run: async () => Float32Array.of(Math.random()) }],
    [
      "mutated inputs",
      /inputs have changed/,
      {
        run: async ({ x }) => {
          x[1] = -x[1]!;
          return x;
        },
      },
    ],
    ["deafness to the signal", /under a fired signal: finished/, { run: async ({ x }) => x }],
    [
      "a late stop",
      /more steps after it was stopped/,
      {
        run: async ({ x }, _c, context) => {
          throwIfAborted(context.signal, "late");
          for (let i = 0; i < 5; i++) context.progress({ phase: "add", done: i, total: 5, unit: "step" });
          throwIfAborted(context.signal, "late");
          return x;
        },
      },
    ],
    ["another output after loading", /read back differs/, {}, { reload: async () => Float32Array.of(0) }],
    ["answers that nothing was learned for", /answers as the base does/, {}, { answers: { of: async () => 1, base: async () => 1 } }],
    [
      "a delta whose hooks are lost on the way to the disk",
      /read back answers differently/,
      {},
      { answers: { of: async (y) => heard.has(y), base: async () => "base" }, reload: async (y) => y.slice() },
    ],
  ])("names %s", async (_what, message, change, other) => {
    expect(await verdict(change, other)).toMatch(message);
  });

  it("holds methods without declared needs or steps to the rest", async () => {
    expect(await verdict({ needs: [] })).toBe("conforms");
    const instant: Partial<Method<Inputs, Float32Array, Config>> = {
      run: async ({ x }, _c, context) => {
        throwIfAborted(context.signal, "instant");
        return x.slice();
      },
    };
    expect(await verdict(instant)).toMatch(/reports no progress/);
    expect(await verdict(instant, { instant: true })).toBe("conforms");
  });
});
