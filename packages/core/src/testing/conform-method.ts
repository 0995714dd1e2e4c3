import type { z } from "zod";
import { digest128 } from "../digest.js";
import type { Engine } from "../engines/engine.js";
import { isLfmError } from "../errors.js";
import { type Method, type MethodContext, type Need, needs, parseConfig, runMethod } from "../method.js";
import { Rng } from "../rng.js";

/** The smallest run of a method that shows what it does. */
export interface MethodFixture<Inputs, Output, Schema extends z.ZodObject> {
  readonly engine: Engine;
  /** Fresh inputs, the same every time. */
  inputs(): Inputs | Promise<Inputs>;
  /** A few seconds of work; default: the method's defaults. */
  readonly config?: z.input<Schema>;
  /** What came out, as anything whose leaves are numbers, strings or typed arrays: answers of the model, merged weights, ranked documents. */
  observe(output: Output): unknown;
  /**
   * What the base answers and what the output answers, asked the same: for methods that hand back a delta. Both before and after it is
   * written down; an output that answers as the base does has learned nothing, or nobody hears it.
   */
  readonly answers?: {
    of(output: Output): Promise<unknown>;
    base(inputs: Inputs): Promise<unknown>;
  };
  /** The output written down and read again. */
  reload(output: Output, inputs: Inputs): Promise<Output>;
  /** True for methods that finish at once and have no steps to report; they still refuse to start under a fired signal. */
  readonly instant?: boolean;
}

/**
 * Holds a method to the contract that all share: documented strict options, seeded, inputs not mutated, stoppable within one step,
 * same answers after save and load, declared needs that suffice and are checked.
 * @returns the checks that passed
 * @throws {Error} with every check that failed and why
 */
export async function conformMethod<Inputs, Output, Schema extends z.ZodObject>(
  method: Method<Inputs, Output, Schema>,
  fixture: MethodFixture<Inputs, Output, Schema>,
): Promise<readonly string[]> {
  const passed: string[] = [];
  const failed: string[] = [];
  const check = async (what: string, body: () => unknown): Promise<void> => {
    try {
      await body();
      passed.push(what);
    } catch (error) {
      failed.push(`${what}: ${error instanceof Error ? error.message : String(error)}`);
    }
  };
  const run = async (inputs: Inputs, over: Partial<MethodContext> = {}): Promise<Output> => {
    const context = { engine: fixture.engine, rng: new Rng(7), access: method.needs, log: () => {}, progress: () => {}, ...over };
    return runMethod(method, inputs, (fixture.config ?? {}) as z.input<Schema>, context);
  };

  await check("documented", () => checkDocs(method as unknown as DocumentedMethod));
  await check("defaults and presets parse", () => {
    const plain = method as unknown as Method<never, unknown, Schema>;
    parseConfig(plain, {});
    for (const preset of Object.keys(method.presets ?? {})) parseConfig(plain, {}, preset);
  });
  await check("unknown option refused with the nearest name", () =>
    checkUnknownOption(method as unknown as Method<never, unknown, Schema>),
  );
  await check("same seed, same bits; inputs not mutated; progress makes sense", async () => {
    const inputs = await fixture.inputs();
    const before = fingerprint(inputs);
    const first = fingerprint(fixture.observe(await run(inputs, { progress: checkProgress })));
    if (fingerprint(inputs) !== before) throw new Error("the inputs have changed");
    if (fingerprint(fixture.observe(await run(await fixture.inputs()))) !== first) throw new Error("two runs with one seed differ");
  });
  await check("stops within one step", () => checkAbort(fixture, run));
  await check("the same after save and load", async () => {
    const inputs = await fixture.inputs();
    const output = await run(inputs);
    const [now, later] = [fixture.observe(output), fixture.observe(await fixture.reload(output, inputs))];
    if (fingerprint(now) !== fingerprint(later)) throw new Error("the output that was read back differs");
  });
  const { answers } = fixture;
  if (answers)
    await check("answers unlike the base, and the same after save and load", async () => {
      const inputs = await fixture.inputs();
      const before = fingerprint(await answers.base(inputs));
      const output = await run(inputs);
      const now = fingerprint(await answers.of(output));
      if (now === before) throw new Error("it answers as the base does");
      if (fingerprint(await answers.of(await fixture.reload(output, inputs))) !== now)
        throw new Error("what was read back answers differently");
      if (fingerprint(await answers.base(inputs)) !== before) throw new Error("the base answers differently afterwards");
    });
  await check("needs are checked before any work", () => checkNeeds(method.needs, fixture, run));
  if (failed.length > 0) throw new Error(`${method.paradigm}/${method.id} breaks the contract of methods:\n  ${failed.join("\n  ")}`);
  return passed;
}

type DocumentedMethod = Pick<Method<never, unknown, z.ZodObject>, "id" | "paradigm" | "summary" | "paper" | "needs" | "config" | "presets">;

function checkDocs(method: DocumentedMethod): void {
  const missing: string[] = [];
  if (!method.summary.trim()) missing.push("summary");
  if (!method.paper.title.trim()) missing.push("paper.title");
  if (!method.paper.arxiv && !method.paper.url) missing.push("paper.arxiv or paper.url");
  if (!(method.paper.year > 1900)) missing.push("paper.year");
  for (const [name, field] of Object.entries(method.config.shape)) {
    if (!(field as z.ZodType).description?.trim()) missing.push(`description of config.${name}`);
  }
  for (const [name, preset] of Object.entries(method.presets ?? {})) if (!preset.summary.trim()) missing.push(`summary of preset ${name}`);
  const unknown = method.needs.filter((n) => !needs.includes(n));
  if (unknown.length > 0) missing.push(`known needs instead of ${unknown.join()}`);
  if (!Object.isFrozen(method)) missing.push("defineMethod (the object is not frozen)");
  if (missing.length > 0) throw new Error(`lacks ${missing.join(", ")}`);
}

function checkUnknownOption<Schema extends z.ZodObject>(method: Method<never, unknown, Schema>): void {
  const [known] = Object.keys(method.config.shape);
  const wrong = known === undefined ? "nonsense" : `${known}x`;
  try {
    parseConfig(method, { [wrong]: 1 });
  } catch (error) {
    if (!isLfmError(error, "CONFIG_INVALID")) throw error;
    if (known !== undefined && !error.hint?.includes(known)) throw new Error(`the hint for "${wrong}" does not name "${known}"`);
    return;
  }
  throw new Error(`"${wrong}" was accepted`);
}

function checkProgress(p: { readonly done: number; readonly total: number; readonly unit: string; readonly phase: string }): void {
  if (!(p.total > 0) || p.done < 0 || p.done > p.total || p.unit === "" || p.phase === "")
    throw new Error(`progress ${p.phase} ${p.done}/${p.total} ${p.unit}`);
}

type Run<I, O> = (inputs: I, over?: Partial<MethodContext>) => Promise<O>;

async function checkAbort<I, O>(fixture: Pick<MethodFixture<I, O, z.ZodObject>, "inputs" | "instant">, run: Run<I, O>): Promise<void> {
  const ended = async (over: Partial<MethodContext>): Promise<unknown> => run(await fixture.inputs(), over).then(() => "finished", refusal);
  const fired = await ended({ signal: AbortSignal.abort() });
  if (fired !== "ABORTED") throw new Error(`under a fired signal: ${String(fired)}`);
  const stop = new AbortController();
  let reports = 0;
  const end = await ended({
    signal: stop.signal,
    progress: () => {
      reports++;
      stop.abort();
    },
  });
  if (reports === 0) {
    if (!fixture.instant) throw new Error("it reports no progress (if it has no steps, say so: instant)");
  } else if (end !== "ABORTED" && !(fixture.instant && reports === 1)) throw new Error(`stopped after its first step: ${String(end)}`);
  else if (reports > 2) throw new Error(`${reports - 1} more steps after it was stopped`);
}

function refusal(error: unknown): string {
  return isLfmError(error) ? error.code : `threw ${String(error)}`;
}

async function checkNeeds<I, O>(
  declared: readonly Need[],
  fixture: Pick<MethodFixture<I, O, z.ZodObject>, "inputs">,
  run: Run<I, O>,
): Promise<void> {
  for (const need of declared) {
    let worked = 0;
    const progress = (): void => {
      worked++;
    };
    const access = declared.filter((n) => n !== need);
    const end = await run(await fixture.inputs(), { access, progress }).then(() => "finished", refusal);
    if (end !== "CAPABILITY_MISSING") throw new Error(`without ${need}: ${end}`);
    if (worked > 0) throw new Error(`it worked before it noticed that ${need} is missing`);
  }
}

/** A text that is equal for equal values: every number and every bit of a typed array counts; functions and the order of keys do not. */
function fingerprint(value: unknown): string {
  const seen = new Map<object, number>();
  const walk = (x: unknown): string => {
    if (typeof x === "function") return "f";
    if (typeof x !== "object" || x === null) return `${typeof x}:${String(x)}`;
    const again = seen.get(x);
    if (again !== undefined) return `@${again}`;
    seen.set(x, seen.size);
    if (ArrayBuffer.isView(x))
      return `${x.constructor.name}${x.byteLength}:${digest128(new Uint8Array(x.buffer, x.byteOffset, x.byteLength))}`;
    if (x instanceof Map) return `map(${[...x].map(([k, v]) => `${walk(k)}=>${walk(v)}`).join()})`;
    if (x instanceof Set) return `set(${[...x].map(walk).join()})`;
    if (Array.isArray(x)) return `[${x.map(walk).join()}]`;
    return `{${Object.entries(x)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([k, v]) => `${k}=${walk(v)}`)
      .join()}}`;
  };
  return walk(value);
}
