import { type Engine, isLfmError, type Progress, Rng } from "@lfm/core";
import { type Catalog, findMethod, findScenario } from "../catalog.js";
import type { PlannedCell } from "../plan.js";
import { briefError } from "./brief-error.js";
import type { CellEnd, Folders } from "./protocol.js";

/** Makes each thing once; a thing whose making failed is made again by the next that asks. */
export class SharedThings {
  private readonly made = new Map<string, Promise<unknown>>();
  private readonly releases: (() => void)[] = [];
  /** Makings that are under way, since when, and what the finished ones took. */
  private underWay = 0;
  private since = 0;
  private took = 0;

  /** Milliseconds in which at least one thing was being made: what one making asks for, or makes beside another, counts once. */
  get makingMs(): number {
    return this.took + (this.underWay > 0 ? performance.now() - this.since : 0);
  }

  get<T>(key: string, make: () => Promise<T>, release?: (thing: T) => void): Promise<T> {
    const there = this.made.get(key);
    if (there) return there as Promise<T>;
    const making = this.time(make);
    this.made.set(key, making);
    making.then(
      (thing) => release && this.releases.push(() => release(thing)),
      () => this.made.delete(key),
    );
    return making;
  }

  private async time<T>(make: () => Promise<T>): Promise<T> {
    if (this.underWay++ === 0) this.since = performance.now();
    try {
      return await make();
    } finally {
      if (--this.underWay === 0) this.took += performance.now() - this.since;
    }
  }

  /** Gives back what lies outside of memory: files. Nothing may ask afterwards. */
  release(): void {
    for (const one of this.releases.splice(0)) one();
  }
}

export interface CellEnvironment {
  readonly catalog: Catalog;
  readonly engine: Engine;
  readonly folders: Folders;
  readonly shared: SharedThings;
  readonly signal: AbortSignal;
  log(message: string): void;
  progress(progress: Progress): void;
}

/** Runs one cell. What it throws is its result; only a stop on request is none. */
export async function executeCell(cell: PlannedCell, environment: CellEnvironment): Promise<CellEnd> {
  const { catalog, engine, folders, shared, signal } = environment;
  const start = performance.now();
  const before = shared.makingMs;
  const times = (): { readonly wallMs: number; readonly setupMs: number } => {
    const setupMs = shared.makingMs - before;
    return { wallMs: performance.now() - start - setupMs, setupMs };
  };
  try {
    const scenario = findScenario(catalog, cell.scenario, cell.paradigm);
    const method = findMethod(catalog, cell.method, cell.paradigm);
    const outcome = await scenario.run(
      { method, config: cell.config, options: cell.options },
      {
        engine,
        rng: new Rng(cell.seed),
        seed: cell.seed,
        access: cell.access,
        signal,
        folders,
        shared: (key, make, release) => shared.get(key, make, release),
        log: environment.log,
        progress: environment.progress,
      },
    );
    return { status: "ok", outcome, ...times() };
  } catch (error) {
    if (signal.aborted && isLfmError(error, "ABORTED")) return { status: "stopped" };
    return { status: "failed", error: briefError(error), ...times() };
  }
}
