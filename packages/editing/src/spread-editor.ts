import { type Delta, type DeltaMethod, LfmError, type MethodContext, type Model, makeDelta, type Site, throwIfAborted } from "@lfm/core";
import { z } from "zod";
import { CleanAndEdited, type Editor, editedModel } from "./editor.js";
import { type EditingOutput, type EditorInputs, type EditRequest, editBatch, promptRows, requireRequests } from "./inputs.js";
import { keyCovariance, mlpOutSite } from "./keys.js";
import { pastKeys, type RankOne, rankOneTensors } from "./rank-one.js";
import { compileSubjectReader, meanOf, type SubjectReader } from "./subject-reader.js";
import { type NumberFields, type ValueOptions, ValueSearch, valueFields } from "./value-search.js";

/** Options of methods that write a batch of facts into several blocks; defaults are MEMIT's but for those that are given. */
export function spreadFields(defaults: Partial<ValueOptions> = {}): SpreadFields {
  return {
    layers: z
      .array(z.number().int().min(0))
      .min(1)
      .optional()
      .describe("blocks to write into, from below; default up to five that end at a third of the model's height"),
    ...valueFields({ clamp: 0.75, ...defaults }),
  };
}
export type SpreadFields = NumberFields<keyof ValueOptions> & { readonly layers: z.ZodOptional<z.ZodArray<z.ZodNumber>> };
type SpreadOptions = ValueOptions & { readonly layers?: readonly number[] | undefined };

/** What the update of one layer is made with, whatever the facts. */
export interface LayerSolver {
  /**
   * Rows of A with ΔW = R·A for residuals R, f64[in] each.
   * @param keys of the facts, f32 values; @param past keys of earlier edits, where the method keeps them
   */
  adjust(keys: readonly Float64Array[], past: readonly Float64Array[]): readonly Float64Array[];
}

/** What tells methods apart that spread facts over layers. */
export interface Spread<C> {
  /** Where values are looked for, given the last layer: the first is what the layers shall bring about, others help in the search alone. */
  readonly values: (model: Model, layer: number) => readonly Site[];
  /** What the rest of the way is divided by, with so many layers left to write. */
  readonly divide: (left: number) => number;
  /** @param covariance C of the keys of one layer, f64[in·in] */
  readonly solver: (covariance: Float64Array, config: C) => LayerSolver;
  /** Whether a patch tells later ones at which keys it has written. */
  readonly keepsKeys?: boolean;
}

/**
 * The editor of MEMIT and those after it (arXiv 2210.07229, algorithm 1): values z of all facts by search at the last layer; then layer by layer
 * from below, with what is written so far in place, keys and what is still missing at the last layer, of which each takes its share.
 */
export function spreadEditor<C extends SpreadOptions>(
  method: DeltaMethod<C>,
  spread: Spread<C>,
  inputs: EditorInputs,
  c: C & Readonly<Record<string, unknown>>,
  context: MethodContext,
): Editor {
  const { model, prefixes = [] } = inputs;
  const { engine } = context;
  const layers = readLayers(c.layers ?? defaultLayers(model));
  const sites = layers.map((layer) => mlpOutSite(model, layer));
  const values = spread.values(model, layers.at(-1)!);
  const search = new ValueSearch(engine, { inputs: [], outputs: values }, c, prefixes);
  const readers = new CleanAndEdited((at) => compileSubjectReader(engine, at, { inputs: sites, outputs: values.slice(0, 1) }));
  const solvers = new Map<Site, LayerSolver>();
  const solverOf = async (site: Site): Promise<LayerSolver> => {
    const made = solvers.get(site) ?? spread.solver(await keyCovariance(engine, model, site, inputs, context), c);
    solvers.set(site, made);
    return made;
  };
  const patch = (written: readonly LayerUpdate[]): Delta => {
    const tensors = written.map(({ rows, keys }, i) => rankOneTensors(sites[i]!, rows, spread.keepsKeys ? keys : undefined));
    return makeDelta(method, c, Object.assign({}, ...tensors), { parent: inputs.parent ?? null });
  };
  return {
    edit: async (requests, previous = []) => {
      requireRequests(requests);
      const below = editedModel(model, previous);
      const wanted: Float64Array[] = [];
      const curves: [string, EditingOutput["curves"][string]][] = [];
      for (const [i, request] of requests.entries()) {
        const run = { request, on: below, which: previous.length > 0 ? "edited" : "clean", phase: method.id } as const;
        const found = await search.find({ ...run, part: [i, requests.length] }, context);
        wanted.push(found.wanted[0]!);
        curves.push([requests.length > 1 ? `loss.${i + 1}` : "loss", found.losses]);
      }
      // All layers have tensors from the start, so that what is not yet and half written takes the session of what is written.
      const written: LayerUpdate[] = sites.map((site) => unwritten(site));
      for (const [i, site] of sites.entries()) {
        throwIfAborted(context.signal, `[@lfm/editing] ${method.id} layer ${layers[i]}`);
        const reader = await readers.on(editedModel(model, [...previous, patch(written)]), "edited");
        const { keys, now } = await readFacts(reader, requests, prefixes, i);
        const adjusted = (await solverOf(site)).adjust(keys, spread.keepsKeys ? pastKeys(previous, site) : []);
        const share = spread.divide(sites.length - i);
        const rows = adjusted.map((key, j) => ({ key, value: wanted[j]!.map((z, o) => (z - now[j]![o]!) / share) }));
        written[i] = { rows, keys };
      }
      const delta = patch(written);
      return { delta, model: editedModel(model, [...previous, delta]), curves: Object.fromEntries(curves) };
    },
    dispose: async () => {
      await search.dispose();
      await readers.dispose();
    },
  };
}

interface LayerUpdate {
  readonly rows: readonly RankOne[];
  readonly keys: readonly Float64Array[];
}

function unwritten({ weight }: Site): LayerUpdate {
  const key = new Float64Array(weight!.in);
  return { rows: [{ key, value: new Float64Array(weight!.out) }], keys: [key] };
}

/** MEMIT's layers on the models that it was shown on end between a quarter and a third of the height, and are five or six. */
function defaultLayers({ info }: Model): number[] {
  const last = Math.round(0.3 * info.layers);
  return Array.from({ length: Math.min(5, last + 1) }, (_, i, all = Math.min(5, last + 1)) => last + 1 - all + i);
}

/** @throws {LfmError} CONFIG_INVALID for layers that do not rise */
function readLayers(layers: readonly number[]): readonly number[] {
  if (layers.every((layer, i) => i === 0 || layer > layers[i - 1]!)) return layers;
  throw new LfmError("CONFIG_INVALID", `[@lfm/editing] layers ${layers.join(", ")} do not rise`, {
    hint: `layers: ${[...new Set(layers)].sort((a, b) => a - b).join(" ")}`,
  });
}

/** Most rows that are read at once. */
const ROWS = 64;

/** The averaged key of each fact at one layer, f32 values, and what the model gives for its prompt alone where values are looked for. */
async function readFacts(
  reader: SubjectReader,
  requests: readonly EditRequest[],
  prefixes: readonly (readonly number[])[],
  layer: number,
): Promise<{ readonly keys: readonly Float64Array[]; readonly now: readonly Float64Array[] }> {
  const [keys, now]: Float64Array[][] = [[], []];
  const each = prefixes.length + 1;
  const step = Math.max(1, Math.floor(ROWS / each));
  for (let from = 0; from < requests.length; from += step) {
    const part = requests.slice(from, from + step);
    const { inputs, outputs } = await reader.read(editBatch(part.flatMap((request) => promptRows(request, [[], ...prefixes]))));
    for (const i of part.keys()) {
      // As a patch holds them: edits see the same keys in the run that made them as in those that read them.
      keys!.push(Float64Array.from(Float32Array.from(meanOf(inputs[layer]!.slice(i * each, (i + 1) * each)))));
      now!.push(outputs[0]![i * each]!);
    }
  }
  return { keys: keys!, now: now! };
}
