import { LfmError, nearestName, type Rng } from "@lfm/core";
import type { SchemaFlag } from "../commands/schema-flags.js";

/** What one option of a method may be in a sweep. */
export type Dimension =
  | { readonly key: string; readonly values: readonly unknown[] }
  /** Drawn from [low, high], both ends included: evenly, or evenly in log; `whole` numbers only. */
  | { readonly key: string; readonly low: number; readonly high: number; readonly log: boolean; readonly whole: boolean };

/** Options of a method, some of them. */
export type Choice = Readonly<Record<string, unknown>>;

/** More would never end. */
const MOST = 10_000;

/**
 * Reads the dimensions of a sweep: `lr=1e-4,1e-3`, `r=4..64`, `lr=1e-5..1e-2:log`; items of a list are joined by `+` (`target-modules=q+v,q+k+v`).
 * @param flags the method's options
 * @throws {LfmError} CONFIG_INVALID naming what cannot be read
 */
export function readSpace(texts: readonly string[], flags: readonly SchemaFlag[]): readonly Dimension[] {
  const space = texts.map((text) => readDimension(text, flags));
  const twice = space.find((d, i) => space.findIndex((e) => e.key === d.key) < i);
  if (twice) throw wrong(`${twice.key} is swept twice`);
  return space;
}

function readDimension(text: string, flags: readonly SchemaFlag[]): Dimension {
  const [name, ...rest] = text.split("=");
  const values = rest.join("=");
  if (!name || values === "") throw wrong(`"${text}" says no values`);
  const flag = flags.find((f) => f.key === name || f.flag === `--${name.replace(/^--/, "")}`);
  if (!flag) {
    const near = nearestName(
      name,
      flags.map((f) => f.flag.slice(2)),
    );
    throw wrong(
      `the method has no option "${name}"`,
      near ? `did you mean "${near}"?` : `it has: ${flags.map((f) => f.flag.slice(2)).join(", ")}`,
    );
  }
  const range = /^(.+?)\.\.(.+?)(:log)?$/.exec(values);
  if (range && flag.kind === "number") {
    const [low, high, log] = [Number(range[1]), Number(range[2]), range[3] !== undefined];
    if (!(low < high) || !Number.isFinite(high - low)) throw wrong(`${name}: ${values} is no range`, `${name}=1..10`);
    if (log && !(low > 0)) throw wrong(`${name}: a range in log begins above 0`, `${name}=1e-5..1e-2:log`);
    return { key: flag.key, low, high, log, whole: flag.whole };
  }
  return { key: flag.key, values: [...new Set(values.split(","))].map((v) => readOne(name, flag, v)) };
}

function readOne(name: string, flag: SchemaFlag, text: string): unknown {
  const number = (part: string): number => {
    const value = Number(part);
    if (part.trim() === "" || Number.isNaN(value)) throw wrong(`${name}: "${part}" is no number`);
    return value;
  };
  switch (flag.kind) {
    case "number":
      return number(text);
    case "boolean":
      if (text !== "true" && text !== "false") throw wrong(`${name}: "${text}" is neither true nor false`);
      return text === "true";
    case "list":
      return text.split("+").map((part) => (part.trim() !== "" && !Number.isNaN(Number(part)) ? Number(part) : part));
    case "one-or-list":
      return text.includes("+") ? text.split("+").map(number) : number(text);
    case "string":
      return text;
    case "json":
      throw wrong(`${name} cannot be swept: its values are JSON`);
  }
}

/** Every combination, the last dimension fastest. @throws {LfmError} CONFIG_INVALID for a range, and for too many */
export function gridOf(space: readonly Dimension[]): readonly Choice[] {
  return space.reduce<readonly Choice[]>(
    (before, d) => {
      if (!("values" in d))
        throw wrong(`${d.key} is a range: a grid has values`, `--strategy random --trials 20, or ${d.key}=${d.low},${d.high}`);
      if (before.length * d.values.length > MOST)
        throw wrong(`the grid has more than ${MOST.toLocaleString("en")} combinations`, "--strategy random --trials 20");
      return before.flatMap((choice) => d.values.map((v) => ({ ...choice, [d.key]: v })));
    },
    [{}],
  );
}

/** So many different combinations, drawn; fewer where there are no more. */
export function drawFrom(space: readonly Dimension[], count: number, rng: Rng): readonly Choice[] {
  const found = new Map<string, Choice>();
  // A grid of values may have fewer than asked for: that shows in draws that bring nothing new.
  for (let idle = 0; found.size < count && idle < 100; ) {
    const choice = Object.fromEntries(space.map((d) => [d.key, "values" in d ? rng.pick(d.values) : drawn(d, rng)]));
    const name = JSON.stringify(choice);
    idle = found.has(name) ? idle + 1 : 0;
    found.set(name, choice);
  }
  return [...found.values()];
}

function drawn({ low, high, log, whole }: Extract<Dimension, { readonly low: number }>, rng: Rng): number {
  // Whole numbers: each has an interval of the same length.
  const [from, to] = whole ? [low - 0.5, high + 0.5] : [low, high];
  const u = rng.uniform();
  const value = log ? Math.exp(Math.log(Math.max(from, low / 2)) * (1 - u) + Math.log(to) * u) : from + (to - from) * u;
  // Four digits tell two settings apart, and can be typed.
  const shown = whole ? Math.round(value) : Number(value.toPrecision(4));
  return Math.min(high, Math.max(low, shown));
}

function wrong(what: string, hint = "--over lr=1e-4,1e-3,1e-2 --over r=4,8"): LfmError {
  return new LfmError("CONFIG_INVALID", `lfm: --over: ${what}`, { hint });
}
