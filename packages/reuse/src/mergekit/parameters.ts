import { type AnyMethod, LfmError, nearestName } from "@lfm/core";
import type { z } from "zod";
import type { MergeMethod } from "../merging/merge-method.js";
import type { MergeDocument, Parameters } from "./document.js";
import { evaluateSetting, readAs } from "./settings.js";
import { misspelt, passedOver } from "./surplus-keys.js";

/** A method as a configuration names it: `dare_ties` is `dare` with its preset. */
export interface NamedMethod {
  readonly method: MergeMethod;
  /** Values of the preset, which the configuration overrides. */
  readonly defaults: Readonly<Record<string, unknown>>;
  /** Called by a name of mergekit, where every model must be given its weight. */
  readonly ofMergekit: boolean;
}

/** Options of mergekit's methods that are about its arithmetic only. */
const IGNORED: Readonly<Record<string, string>> = { int8_mask: "masks take no memory here" };

const underscored = (name: string): string => name.replaceAll("-", "_");

function isMergeMethod(method: AnyMethod): method is MergeMethod {
  return "merging" in method;
}

/** @throws {LfmError} CONFIG_INVALID with the nearest name */
export function findMethod(document: MergeDocument, methods: readonly AnyMethod[]): NamedMethod {
  const merges = methods.filter(isMergeMethod);
  const name = underscored(document.method);
  const method = merges.find((m) => m.merging.mergekit.includes(name)) ?? merges.find((m) => underscored(m.id) === name);
  if (method) {
    const preset = Object.entries(method.presets ?? {}).find(([key]) => underscored(key) === name && underscored(method.id) !== name);
    return { method, defaults: preset?.[1].config ?? {}, ofMergekit: method.merging.mergekit.includes(name) };
  }
  const known = [...new Set(merges.flatMap((m) => [...m.merging.mergekit, underscored(m.id)]))].sort();
  const near = nearestName(name, known);
  throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${document.locate(["merge_method"])}: there is no merge method "${document.method}"`, {
    hint: near ? `did you mean merge_method: ${near}?` : `there are: ${known.join(", ")}`,
  });
}

/**
 * Checks the names of all parameters of a document. What has no effect is a remark, a misspelt name an error.
 * @returns the remarks
 * @throws {LfmError} CONFIG_INVALID with the name that was meant
 */
export function checkParameterNames(document: MergeDocument, named: NamedMethod, methods: readonly AnyMethod[]): string[] {
  const namesOf = ({ merging }: MergeMethod): string[] => [...Object.keys(merging.shared.shape), ...ofModels(merging)];
  const ofEach = ofModels(named.method.merging);
  const own = namesOf(named.method);
  const others = new Set(methods.filter(isMergeMethod).flatMap(namesOf));
  const notes: string[] = [];
  for (const { path, parameters, ofModel } of parameterBlocks(document)) {
    for (const name of Object.keys(parameters)) {
      const where = document.locate([...path, "parameters", name]);
      if (name in IGNORED) notes.push(`${where}: ${name} has no effect: ${IGNORED[name]}`);
      else if (name === "statistics" && named.method.merging.statistics && !ofModel)
        throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${where}: every model has statistics of its own`, {
          hint: `models: [{model: a, parameters: {statistics: a.${named.method.merging.statistics}.safetensors}}, …]`,
        });
      else if (own.includes(name)) {
        if (ofModel && !ofEach.includes(name))
          notes.push(
            `${where}: ${name} has no effect under a model, as in mergekit: all models share it; write it under parameters of the whole merge`,
          );
      } else if (others.has(name)) notes.push(`${where}: ${name} has no effect: ${document.method} does not use it`);
      else {
        const near = misspelt(name, [...own, ...Object.keys(IGNORED)]) ?? misspelt(name, others);
        if (near === undefined) notes.push(`${where}: ${name} ${passedOver(name)}`);
        else
          throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${where}: ${document.method} has no parameter "${name}"`, {
            hint: `did you mean "${near}"?`,
          });
      }
    }
  }
  return notes;
}

/** Names of what every model has of its own. */
function ofModels({ perModel, statistics }: MergeMethod["merging"]): string[] {
  return [...Object.keys(perModel.shape), ...(statistics ? ["statistics"] : [])];
}

interface Block {
  readonly path: readonly (string | number)[];
  readonly parameters: Parameters;
  readonly ofModel: boolean;
}

function parameterBlocks(document: MergeDocument): Block[] {
  const blocks: Block[] = [{ path: [], parameters: document.parameters, ofModel: false }];
  const add = (path: readonly (string | number)[], one: { readonly parameters: Parameters }, ofModel: boolean): void => {
    blocks.push({ path, parameters: one.parameters, ofModel });
  };
  const slices = (
    list: readonly { readonly parameters: Parameters; readonly sources: readonly { readonly parameters: Parameters }[] }[],
    path: readonly (string | number)[],
  ): void => {
    for (const [i, slice] of list.entries()) {
      add([...path, i], slice, false);
      for (const [j, source] of slice.sources.entries()) add([...path, i, "sources", j], source, true);
    }
  };
  const { body } = document;
  if (body.kind === "models") for (const [i, m] of body.models.entries()) add(["models", i], m, true);
  else if (body.kind === "slices") slices(body.slices, ["slices"]);
  else
    for (const [name, module] of Object.entries(body.modules)) {
      add(["modules", name], module, false);
      for (const [i, m] of (module.models ?? []).entries()) add(["modules", name, "models", i], m, true);
      slices(module.slices ?? [], ["modules", name, "slices"]);
    }
  return blocks;
}

/** What the parameters of one tensor are resolved from. */
export interface Resolution {
  /** Name of the tensor, which filters look at. */
  readonly name: string;
  /** Depth in [0, 1]. */
  readonly t: number;
  /** From the narrowest to the widest. */
  readonly scopes: readonly Parameters[];
  readonly defaults: Readonly<Record<string, unknown>>;
  /** For messages: `"a"`, or nothing. */
  readonly model?: string;
  /** Parameters without which mergekit does not merge, whatever default the schema has. */
  readonly needed?: readonly string[];
}

/**
 * All parameters of a schema: the narrowest scope that has a value, then the preset, then the schema's default.
 * @throws {LfmError} CONFIG_INVALID for a value that does not fit, or a required one that is missing
 */
export function resolveParameters(schema: z.ZodObject, from: Resolution): Record<string, unknown> {
  const resolved: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(schema.shape)) {
    const of = `"${from.name}"${from.model ? ` of ${from.model}` : ""}`;
    const read = (value: string | number | boolean): unknown => {
      const found = readAs(field as z.ZodType, value);
      if ("value" in found) return found.value;
      throw new LfmError(
        "CONFIG_INVALID",
        `[@lfm/reuse] ${name}: ${JSON.stringify(value)} for ${of} ${found.complaint.startsWith("is ") ? "" : "is refused: "}${found.complaint}`,
        { details: { tensor: from.name } },
      );
    };
    let value: unknown;
    for (const scope of from.scopes) {
      if (!Object.hasOwn(scope, name)) continue;
      value = evaluateSetting(from.name, scope[name]!, from.t, read);
      if (value !== undefined) break;
    }
    if (value === undefined) value = from.defaults[name];
    if (value === undefined && !from.needed?.includes(name)) {
      const byDefault = (field as z.ZodType).safeParse(undefined);
      if (byDefault.success) {
        if (byDefault.data !== undefined) resolved[name] = byDefault.data;
        continue;
      }
    }
    if (value === undefined)
      throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${of} has no ${name}`, {
        details: { tensor: from.name },
        hint: from.model
          ? `give it under the model: parameters: {${name}: 1.0}`
          : `give it for the whole merge: parameters: {${name}: 0.5}`,
      });
    resolved[name] = value;
  }
  return resolved;
}
