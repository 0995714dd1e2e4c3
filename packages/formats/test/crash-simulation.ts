/**
 * Crashes of writers, in this process: the n-th operation on files under a folder does not happen, or only half of it does, and none after it.
 * What a run leaves then is what it leaves when its process is killed there.
 */
import fs from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import { join, resolve, sep } from "node:path";

/** Where a run ends: its operation number, from 1, and whether half of that is done. */
export interface Crash {
  readonly at: number;
  readonly half: boolean;
}

/** What a run did. */
export interface Simulated<T> {
  /** `name path` of each operation, in order; of a run that crashed up to the crash. */
  readonly operations: readonly string[];
  readonly crashed: boolean;
  /** What it handed back, unless it crashed or failed. */
  readonly value?: T;
  /** What it failed with by itself. */
  readonly error?: unknown;
}

/** Larger than any system gives. */
const DEAD = 2 ** 22 + 1;

class ProcessEnded extends Error {}

type Any = (...given: never[]) => unknown;
type Named = "writeFileSync" | "appendFileSync" | "openSync" | "writeSync" | "renameSync" | "rmSync" | "rmdirSync" | "mkdirSync";
type Other = "copyFileSync" | "linkSync" | "unlinkSync" | "ftruncateSync" | "fsyncSync";

/** Runs with crashing operations under `root`; without `crash` they are only counted. */
export async function simulate<T>(root: string, crash: Crash | undefined, run: () => Promise<T> | T): Promise<Simulated<T>> {
  const real = { ...fs };
  const operations: string[] = [];
  const files = new Map<number, string>();
  const replaced: (Named | Other)[] = [];
  let dead = false;
  const within = (path: unknown): string | undefined => {
    const whole = typeof path === "string" ? resolve(path) : typeof path === "number" ? files.get(path) : undefined;
    return whole?.startsWith(root) ? whole : undefined;
  };
  const gate = (name: string, path: string | undefined, half?: () => void): void => {
    if (path === undefined) return;
    if (dead) throw new ProcessEnded();
    operations.push(`${name} ${path.slice(root.length).replaceAll(/\.\d+\.[0-9a-f]{8}\.tmp/g, ".tmp")}`);
    if (operations.length !== crash?.at) return;
    if (crash.half) half?.();
    dead = true;
    throw new ProcessEnded();
  };
  const replace = <N extends Named | Other>(
    name: N,
    by: (original: (typeof real)[N], given: Parameters<(typeof real)[N]>) => unknown,
  ): void => {
    replaced.push(name);
    Object.assign(fs, { [name]: ((...given: Parameters<(typeof real)[N]>) => by(real[name], given)) as Any });
  };
  for (const name of ["rmdirSync", "mkdirSync", "unlinkSync"] as const)
    replace(name, (original, given) => {
      gate(name, within(given[0]));
      return Reflect.apply(original, fs, given);
    });
  for (const name of ["renameSync", "linkSync"] as const)
    replace(name, (original, given) => {
      gate(name, within(given[1]) ?? within(given[0]));
      return Reflect.apply(original, fs, given);
    });
  replace("rmSync", (original, given) => {
    gate("rmSync", within(given[0]), () => removeHalf(real, String(given[0])));
    return Reflect.apply(original, fs, given);
  });
  replace("copyFileSync", (original, given) => {
    const [from, to] = given.map(String) as [string, string];
    gate("copyFileSync", within(to), () => {
      const bytes = real.readFileSync(from);
      real.writeFileSync(to, bytes.subarray(0, bytes.length >> 1));
    });
    return Reflect.apply(original, fs, given);
  });
  replace("writeFileSync", (original, given) => {
    gate("writeFileSync", within(given[0]), () => {
      const bytes = Buffer.from(String(given[1]));
      real.writeFileSync(given[0], bytes.subarray(0, bytes.length >> 1), given[2]);
    });
    return Reflect.apply(original, fs, given);
  });
  replace("appendFileSync", (original, given) => {
    gate("appendFileSync", within(given[0]));
    return Reflect.apply(original, fs, given);
  });
  replace("openSync", (original, given) => {
    const [path, flags] = given;
    const writes = typeof flags === "string" && /[wax+]/.test(flags);
    if (writes) gate("openSync", within(path));
    const fd = Reflect.apply(original, fs, given) as number;
    if (writes) files.set(fd, resolve(String(path)));
    else files.delete(fd);
    return fd;
  });
  replace("writeSync", (original, given) => {
    const [fd, bytes, offset, length, position] = given as unknown as [number, Uint8Array, number?, number?, number?];
    gate("writeSync", within(fd), () => real.writeSync(fd, bytes, offset ?? 0, (length ?? bytes.length) >> 1, position));
    return Reflect.apply(original, fs, given);
  });
  for (const name of ["ftruncateSync", "fsyncSync"] as const)
    replace(name, (original, given) => {
      gate(name, within(given[0]));
      return Reflect.apply(original, fs, given);
    });
  syncBuiltinESMExports();
  let end: Pick<Simulated<T>, "value" | "error"> = {};
  try {
    end = { value: await run() };
  } catch (error) {
    end = dead ? {} : { error };
  } finally {
    Object.assign(fs, Object.fromEntries(replaced.map((name) => [name, real[name]])));
    syncBuiltinESMExports();
  }
  if (dead) leaveToTheDead(resolve(root, ".."));
  return { operations, crashed: dead, ...(dead ? {} : end) };
}

/** Removal of a folder is many removals. */
function removeHalf(real: typeof fs, path: string): void {
  if (!real.existsSync(path) || !real.statSync(path).isDirectory()) return;
  const names = real.readdirSync(path);
  for (const name of names.slice(0, Math.ceil(names.length / 2))) real.rmSync(join(path, name), { recursive: true });
}

/** Locks and temporary files name this process, which lives on: they get the number of one that is dead. */
function leaveToTheDead(folder: string): void {
  for (const entry of fs.readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) leaveToTheDead(path);
    else if (entry.name.endsWith(".tmp")) fs.renameSync(path, path.replace(`.${process.pid}.`, `.${DEAD}.`));
    else if (entry.name === ".lock")
      fs.writeFileSync(path, fs.readFileSync(path, "utf8").replace(`"pid":${process.pid},`, `"pid":${DEAD},`));
  }
}

/** Every way to crash a run that does these operations: before each, and halfway through those that can be. */
export function crashesOf(operations: readonly string[]): readonly Crash[] {
  return operations.flatMap((operation, i) => {
    const halves = /^(write|copyFile|rmSync)/.test(operation) ? [false, true] : [false];
    return halves.map((half) => ({ at: i + 1, half }));
  });
}

/** Path → content of every file under a folder, for comparison. */
export function contentOf(folder: string): Readonly<Record<string, string>> {
  const found: Record<string, string> = {};
  const walk = (at: string, name: string): void => {
    for (const entry of fs.readdirSync(at, { withFileTypes: true })) {
      const own = name === "" ? entry.name : `${name}${sep}${entry.name}`;
      if (entry.isDirectory()) walk(join(at, entry.name), own);
      else found[own] = fs.readFileSync(join(at, entry.name)).toString("latin1");
    }
  };
  if (fs.existsSync(folder)) walk(folder, "");
  return found;
}
