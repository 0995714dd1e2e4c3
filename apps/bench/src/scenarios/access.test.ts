import { isLfmError, Rng, referenceEngine } from "@lfm/core";
import { describe, expect, it } from "vitest";
import { methods, scenarios } from "../builtin.js";
import type { CellContext } from "../scenario.js";

describe("scenarios of distillation and of meta-learning", () => {
  const learning = scenarios.filter((s) => (s.paradigm === "distillation" || s.paradigm === "meta") && !s.requires);

  it.each(learning.map((s) => [`${s.paradigm}/${s.id}`, s] as const))(
    "%s gives a method no more than the cell allows",
    async (_, scenario) => {
      const method = methods.find((m) => m.paradigm === scenario.paradigm)!;
      const needy = { ...method, needs: ["tokenizer"] as const, run: () => Promise.reject(new Error("it ran")) };
      const context: CellContext = {
        engine: referenceEngine(),
        rng: new Rng(0),
        seed: 0,
        access: scenario.access,
        folders: { data: undefined, models: undefined },
        // What cells share takes long to make, and is not looked at before the method runs.
        shared: async () => undefined as never,
        log: () => {},
        progress: () => {},
      };
      const error = await scenario.run({ method: needy, config: {} }, context).catch((e: unknown) => e);
      expect(isLfmError(error, "CAPABILITY_MISSING"), String(error)).toBe(true);
    },
  );
});
