import { type Engine, LfmError, ortEngine, referenceEngine } from "@lfm/core";

/** @throws {LfmError} BACKEND_UNAVAILABLE, CONFIG_INVALID */
export async function openEngine(name: string): Promise<Engine> {
  if (name === "auto" || name === "ort") return ortEngine();
  if (name === "reference") return referenceEngine();
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] no engine "${name}"`, { hint: "engines: auto, ort, reference" });
}
