import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { isLfmError, LfmError } from "../errors.js";
import type { Engine } from "./engine.js";
import { loadOrt, type OrtOptions, ortEngine } from "./ort.js";
import { referenceEngine } from "./reference.js";
import { type TfjsOptions, tfjsEngine, tfjsPackages } from "./tfjs.js";
import { checkThreads } from "./thread-count.js";

export type EngineName = "ort" | "tfjs" | "reference";

export type CreateEngineOptions = OrtOptions & TfjsOptions;

/**
 * An engine by name. "auto" takes ONNX Runtime where it is installed, else the best tfjs; never the reference, which is thousands of times
 * slower. Options that do not concern the chosen engine are ignored.
 * @throws {LfmError} BACKEND_UNAVAILABLE with the install line; CONFIG_INVALID for an engine that there is not, and for too many threads
 */
export async function createEngine(name: EngineName | "auto" = "auto", options: CreateEngineOptions = {}): Promise<Engine> {
  checkThreads(options.threads);
  switch (name) {
    case "ort":
      return ortEngine(options);
    case "tfjs":
      return tfjsEngine(options);
    case "reference":
      return referenceEngine();
    case "auto":
      try {
        return await ortEngine(options);
      } catch (missing) {
        if (!isLfmError(missing, "BACKEND_UNAVAILABLE")) throw missing;
        return tfjsEngine(options).catch(() => {
          throw missing;
        });
      }
    default:
      throw new LfmError("CONFIG_INVALID", `[@lfm/core] there is no engine "${String(name)}"`, { hint: "auto, ort, tfjs or reference" });
  }
}

/** One way to run graphs on this machine, there or not. */
export interface EngineStatus {
  readonly engine: EngineName;
  /** The npm package that holds its kernels, or "reference", which is part of this one. */
  readonly name: string;
  readonly installed: boolean;
  readonly version: string | undefined;
  /** Execution providers or backends that this build offers, as they are named in options. */
  readonly providers: readonly string[];
  /** Threads that it takes by default. */
  readonly threads: number;
  /** What to type where it is missing or does not load. */
  readonly install: string | undefined;
  /** Why it does not load though it is installed. */
  readonly note: string | undefined;
}

/** Every engine with its state on this machine, in order of preference. Loads what is installed; changes nothing. */
export async function listEngines(): Promise<EngineStatus[]> {
  const threads = availableParallelism();
  const list: EngineStatus[] = [await ortStatus(threads)];
  for (const name of tfjsPackages) list.push(tfjsStatus(name, threads));
  list.push({
    engine: "reference",
    name: "reference",
    installed: true,
    version: undefined,
    providers: ["cpu"],
    threads: 1,
    install: undefined,
    note: undefined,
  });
  return list;
}

async function ortStatus(threads: number): Promise<EngineStatus> {
  const name = "onnxruntime-node";
  const base = { engine: "ort", name, threads } as const;
  const install = "npm i --ignore-scripts onnxruntime-node";
  const found = installedVersion(name);
  if (found === undefined) return { ...base, installed: false, version: undefined, providers: [], install, note: undefined };
  try {
    const ort = await loadOrt();
    const files = providerFiles(name);
    const providers = ort.listSupportedBackends().filter((b) => b.bundled || files.some((f) => f.includes(`providers_${b.name}`)));
    return { ...base, installed: true, version: found, providers: providers.map((b) => b.name), install: undefined, note: undefined };
  } catch (error) {
    return { ...base, installed: true, version: found, providers: [], install, note: reason(error) };
  }
}

function tfjsStatus(name: (typeof tfjsPackages)[number], threads: number): EngineStatus {
  const plain = name === "@tensorflow/tfjs";
  const base = { engine: "tfjs", name, threads: plain ? 1 : threads } as const;
  const install = `npm i ${name}`;
  const version = installedVersion(name);
  if (version === undefined) return { ...base, installed: false, version, providers: [], install, note: undefined };
  try {
    createRequire(import.meta.url)(name);
    return { ...base, installed: true, version, providers: [plain ? "cpu" : "tensorflow"], install: undefined, note: undefined };
  } catch (error) {
    return { ...base, installed: true, version, providers: [], install, note: reason(error) };
  }
}

/** Providers that the package does not bring (cuda, tensorrt) are libraries beside its own, once they are installed. */
function providerFiles(name: string): string[] {
  const folder = join(dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)), "bin");
  return existsSync(folder) ? readdirSync(folder, { recursive: true }).map(String) : [];
}

function installedVersion(name: string): string | undefined {
  try {
    return (createRequire(import.meta.url)(`${name}/package.json`) as { readonly version: string }).version;
  } catch {
    // not there, which is an answer
    return undefined;
  }
}

function reason(error: unknown): string {
  const cause = isLfmError(error) && error.cause instanceof Error ? error.cause : error;
  return (cause instanceof Error ? cause.message : String(cause)).split("\n")[0]!;
}
