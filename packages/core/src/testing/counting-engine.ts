import type { Engine } from "../engines/engine.js";
import { Executables } from "../engines/executables.js";

/** An engine that counts what it compiles and what it gets back; it shares executables with nobody. */
export interface CountingEngine extends Engine {
  readonly counts: { compiled: number; released: number };
}

export function countingEngine(inner: Engine): CountingEngine {
  const counts = { compiled: 0, released: 0 };
  return {
    name: inner.name,
    description: inner.description,
    counts,
    executables: new Executables(),
    compile: async (graph, options) => {
      counts.compiled++;
      const executable = await inner.compile(graph, options);
      return {
        run: (feeds, into) => executable.run(feeds, into),
        dispose: async () => {
          counts.released++;
          await executable.dispose();
        },
      };
    },
    dispose: () => inner.dispose(),
  };
}
