import { createEngine, type EngineName, serveTasks } from "@lfm/core";
import { loadCatalog } from "./catalog.js";
import type { PlannedCell } from "./plan.js";
import { executeCell, SharedThings } from "./runner/execute.js";
import type { CellEnd, WorkerInput } from "./runner/protocol.js";

/** The thread that runs cells, one after the other, with one engine and one memory of shared things. It hands back the engine's description. */
serveTasks<WorkerInput, string, PlannedCell, CellEnd>(async (input) => {
  const catalog = await loadCatalog(input.catalog);
  const { threads } = input;
  const engine = await createEngine(input.engine as EngineName | "auto", threads === undefined ? {} : { threads });
  const shared = new SharedThings();
  return {
    opened: engine.description,
    run: (cell, context) => executeCell(cell, { catalog, engine, folders: input.folders, shared, ...context }),
    close: async () => {
      shared.release();
      await engine.dispose();
    },
  };
});
