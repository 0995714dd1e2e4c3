import { type MethodContext, ortEngine, Rng } from "@lfm/core";

/** What methods run in here: one thread, seed 1, weights and gradients open; what is said goes nowhere. */
export async function testContext(other: Partial<MethodContext> = {}): Promise<MethodContext> {
  return {
    engine: await ortEngine({ threads: 1 }),
    rng: new Rng(1),
    access: ["weights", "grad"],
    log: () => {},
    progress: () => {},
    ...other,
  };
}
