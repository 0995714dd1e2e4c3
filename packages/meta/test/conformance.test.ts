import { makeDelta, referenceEngine } from "@lfm/core";
import { conformMethod } from "@lfm/core/testing";
import { expect, it } from "vitest";
import type { MetaOutput } from "../src/inputs.js";
import { metaMethods } from "../src/methods/index.js";
import { throughBytes } from "./through-bytes.js";
import { lineInputs, pointInputs } from "./tiny-meta.js";

/** What makes a run small, of those methods that have it. */
const small = { steps: 2, innerSteps: 1, solverSteps: 1, relationWidth: 2 };
const engine = referenceEngine();

it.each(metaMethods.filter((m) => !["maml", "protonet"].includes(m.id)).map((m) => [m.id, m] as const))(
  "%s keeps the contract of methods",
  async (_id, method) => {
    const config = Object.fromEntries(Object.entries(small).filter(([name]) => name in method.config.shape));
    const passed = await conformMethod(method, {
      engine,
      // Methods of classes refuse values, those of values take classes.
      inputs: () => ("metaLr" in method.config.shape ? lineInputs() : pointInputs()),
      config,
      instant: !("steps" in method.config.shape),
      observe: (output: MetaOutput) => output.delta.tensors,
      reload: async (output: MetaOutput) => ({
        ...output,
        delta: makeDelta(method, method.config.parse(config), throughBytes(output.delta.tensors)),
      }),
    });
    expect(passed.length).toBeGreaterThan(5);
  },
);
