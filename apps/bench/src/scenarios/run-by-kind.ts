import { type MethodContext, type Provider, provideInputs, runMethod } from "@lfm/core";
import type { CellMethod } from "../scenario.js";

/**
 * Runs a cell's method on what its scenario provides, by kind: scenarios do not know which methods they are posed to.
 * @param scenario for messages
 * @throws {LfmError} CAPABILITY_MISSING for access that the cell does not give, before anything is provided, and for inputs that the scenario
 *   has not; what the method throws
 */
export function runByKind<Output>(
  scenario: string,
  { method, config }: CellMethod,
  providers: readonly Provider[],
  context: MethodContext,
): Promise<Output> {
  const provided = {
    ...method,
    run: async (_: undefined, c: Readonly<Record<string, unknown>>, run: MethodContext): Promise<Output> =>
      method.run(await provideInputs(`[@lfm/bench] ${scenario}`, method, c, providers), c, run),
  };
  return runMethod(provided, undefined, config, context);
}
