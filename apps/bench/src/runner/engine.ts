import { type Engine, isLfmError, LfmError, nearestName, ortEngine, referenceEngine, tfjsEngine } from "@lfm/core";

const names = ["auto", "ort", "tfjs", "reference"];

/**
 * `auto`: ort, or tfjs where onnxruntime-node is not installed.
 * @throws {LfmError} BACKEND_UNAVAILABLE with the install line, CONFIG_INVALID
 */
export async function openEngine(name: string): Promise<Engine> {
  switch (name) {
    case "ort":
      return ortEngine();
    case "tfjs":
      return tfjsEngine();
    case "reference":
      return referenceEngine();
    case "auto":
      try {
        return await ortEngine();
      } catch (error) {
        if (!isLfmError(error, "BACKEND_UNAVAILABLE")) throw error;
        // where neither is there, the advice to install the first is the better one
        return tfjsEngine().catch(() => {
          throw error;
        });
      }
  }
  const near = nearestName(name, names);
  throw new LfmError("CONFIG_INVALID", `[@lfm/bench] no engine "${name}"`, {
    hint: near ? `did you mean "${near}"?` : `engines: ${names.join(", ")}`,
  });
}
