/** The keys of mergekit 0.1.5, and `mode` and `heads`, which are ours. Others are looked for beforehand, see surplus-keys.ts. */
import { z } from "zod";
import type { ModelReference, Scalar, Setting, TokenChoice } from "./document.js";

const splitRevision = (text: string): { path: string; revision?: string } | undefined => {
  const parts = text.split("@");
  if (parts.length > 2 || parts.some((p) => p === "")) return undefined;
  return { path: parts[0]!, ...(parts[1] === undefined ? {} : { revision: parts[1] }) };
};

const modelPath = z.union([z.string(), z.object({ path: z.string().min(1), revision: z.string().nullish() })]);

/** `path[@revision][+adapter[@revision]]`, or the same as an object. */
const modelReference = z.unknown().transform((value, ctx): ModelReference => {
  const fail = (message: string): never => {
    ctx.addIssue({ code: "custom", message });
    return z.NEVER;
  };
  const place = (from: unknown): { path: string; revision?: string } | undefined => {
    const parsed = modelPath.safeParse(from);
    if (!parsed.success) return undefined;
    if (typeof parsed.data === "string") return splitRevision(parsed.data);
    const { path, revision } = parsed.data;
    return { path, ...(revision ? { revision } : {}) };
  };
  let [model, lora, architecture]: [unknown, unknown, string | undefined] = [value, undefined, undefined];
  if (typeof value === "string") {
    const parts = value.split("+");
    if (parts.length > 2) return fail(`"${value}" is no model: one + parts a model from its adapter`);
    [model, lora] = parts;
  } else {
    const parsed = z
      .object({ model: z.unknown(), lora: z.unknown().optional(), override_architecture: z.string().nullish() })
      .safeParse(value);
    if (!parsed.success) return fail(`a model is a path or {model, lora}, not ${describe(value)}`);
    [model, lora, architecture] = [parsed.data.model, parsed.data.lora ?? undefined, parsed.data.override_architecture ?? undefined];
  }
  const [at, adapter] = [place(model), lora === undefined ? undefined : place(lora)];
  if (!at || (lora !== undefined && !adapter)) return fail(`${describe(value)} is no model: path[@revision][+adapter[@revision]]`);
  const name = (p: { path: string; revision?: string }): string => (p.revision ? `${p.path}@${p.revision}` : p.path);
  return {
    ...at,
    ...(adapter ? { lora: adapter } : {}),
    ...(architecture ? { architecture } : {}),
    text: `${name(at)}${adapter ? `+${name(adapter)}` : ""}${architecture ? ` as ${architecture}` : ""}`,
  };
});

const isScalar = (v: unknown): v is Scalar =>
  typeof v === "string" || typeof v === "boolean" || (typeof v === "number" && !Number.isNaN(v));

const setting = z.unknown().transform((value, ctx): Setting => {
  const fail = (message: string, path: (string | number)[] = []): never => {
    ctx.addIssue({ code: "custom", message, path });
    return z.NEVER;
  };
  if (isScalar(value)) return value;
  const list = Array.isArray(value) ? value : [value];
  if (Array.isArray(value) && list.every(isScalar)) return list as Scalar[];
  const conditions: { filter?: string; value: Scalar | Scalar[] }[] = [];
  for (const [i, one] of list.entries()) {
    const at = Array.isArray(value) ? [i] : [];
    if (typeof one !== "object" || one === null || Array.isArray(one))
      return fail(`${describe(one)} is no value: give a number, a list of numbers, or a list of {filter, value}`, at);
    const { filter, value: inner } = one as Record<string, unknown>;
    if (filter !== undefined && filter !== null && typeof filter !== "string") return fail("filter is a part of a tensor's name", at);
    if (!isScalar(inner) && !(Array.isArray(inner) && inner.every(isScalar)))
      return fail(`${describe(inner)} is no value under a filter: give a number or a list of numbers`, at);
    conditions.push({ ...(typeof filter === "string" ? { filter } : {}), value: inner as Scalar | Scalar[] });
  }
  return conditions;
});

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  let text: string;
  try {
    text = JSON.stringify(value, (_, v: unknown) => (typeof v === "bigint" ? String(v) : v)) ?? String(value);
  } catch {
    // An anchor may stand inside of what it names.
    return "something that holds itself";
  }
  return text.length > 60 ? `${text.slice(0, 57)}…` : text;
}

const parameters = z.record(z.string(), setting).nullish();
/** As pydantic reads numbers: also out of a text. */
const numeral = (schema: z.ZodNumber): z.ZodType<number> =>
  z.preprocess((v) => (typeof v === "string" && /^\s*[+-]?\d+(\.\d*)?\s*$/.test(v) ? Number(v) : v), schema);
const layer = numeral(z.number().int().nonnegative());
const layers = z.tuple([layer, layer]);
const input = { model: modelReference, parameters };
const models = z.array(z.object({ ...input, layer_range: layers.nullish() })).nullish();
const slices = z
  .array(
    z.object({
      sources: z.array(z.object({ ...input, layer_range: layers })).min(1),
      base_model: modelReference.nullish(),
      residual_weight: numeral(z.number()).nullish(),
      parameters,
    }),
  )
  .nullish();

const modelToken = z.strictObject({
  kind: z.literal("model_token"),
  model: modelReference,
  token_id: layer.nullish(),
  token: z.string().nullish(),
});

const tokenSource = z.unknown().transform((value, ctx): NonNullable<TokenChoice["source"]> => {
  const kind = typeof value === "object" && value !== null && "kind" in value ? value.kind : undefined;
  if (kind === "zero" && Object.keys(value as object).length === 1) return { kind: "zero" };
  if (kind === undefined) {
    const model = modelReference.safeParse(value);
    if (model.success) return { kind: "model", model: model.data };
  } else {
    const row = modelToken.safeParse(value);
    const token = row.data?.token_id ?? row.data?.token ?? undefined;
    const both = typeof row.data?.token_id === "number" && typeof row.data.token === "string";
    if (row.success && token !== undefined && !both) return { kind: "token", model: row.data.model, token };
  }
  ctx.addIssue({
    code: "custom",
    message: `${describe(value)} is no source of a token\ngive a model, {kind: zero}, or {kind: model_token, model: …, token: …} (or token_id)`,
  });
  return z.NEVER;
});

export const documentSchema = z.object({
  name: z.string().min(1).nullish(),
  merge_method: z.string(),
  base_model: modelReference.nullish(),
  models,
  slices,
  modules: z.record(z.string(), z.object({ name: z.string().nullish(), models, slices, parameters })).nullish(),
  parameters,
  dtype: z.string().nullish(),
  out_dtype: z.string().nullish(),
  tokenizer_source: modelReference.nullish(),
  tokenizer: z
    .object({
      source: modelReference.nullish(),
      tokens: z.record(z.string(), z.object({ source: tokenSource.nullish(), force: z.boolean().default(false) })).nullish(),
      pad_to_multiple_of: numeral(z.number().int().positive()).nullish(),
    })
    .nullish(),
  chat_template: z.string().nullish(),
  mode: z.enum(["mergekit", "paper"]).nullish(),
  heads: modelReference.nullish(),
});

export type RawDocument = z.output<typeof documentSchema>;
