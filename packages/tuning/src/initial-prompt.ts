import { f32, type HostTensor, LfmError, type Model, type Rng, weightOf } from "@lfm/core";
import { idsOfText, requireRead, type TextRules } from "@lfm/models";
import { z } from "zod";

/** How a prompt begins: options of the methods that learn one. */
export const initialPromptFields = {
  numVirtualTokens: z.number().int().positive().default(20).describe("length v of the prompt, tokens"),
  init: z
    .enum(["vocabulary", "random", "uniform", "text", "labels"])
    .default("vocabulary")
    .describe(
      "start from embeddings of random words, from N(0, 1) as PEFT's RANDOM, from U(−½, ½), from the words of initText as PEFT's TEXT, or from the classes' names and then random words",
    ),
  initVocabulary: z
    .number()
    .int()
    .positive()
    .default(5000)
    .describe("random words are drawn from so many first rows of the vocabulary, which tokenizers sort by frequency"),
  initText: z.string().min(1).optional().describe("with init text: cut, or repeated, to the prompt's length"),
};

export type InitialPrompt = z.output<z.ZodObject<typeof initialPromptFields>>;

/** What a prompt may begin with besides the model: how text becomes ids, and the names of the classes. */
export interface PromptSources {
  readonly text?: TextRules;
  readonly answers?: readonly string[];
}

/** Whether these options read the tokenizer, and the names of classes. */
export const readsText = ({ init }: InitialPrompt): boolean => init === "text" || init === "labels";
export const readsAnswers = ({ init }: InitialPrompt): boolean => init === "labels";

/**
 * f32[v, hidden] to begin with (arXiv 2104.08691, section 3.2).
 * @throws {LfmError} CONFIG_INVALID for texts without tokens or that nobody gave, CAPABILITY_MISSING for a model without a table of tokens
 */
export function initialPrompt(method: string, model: Model, c: InitialPrompt, sources: PromptSources, rng: Rng): HostTensor {
  const [v, d] = [c.numVirtualTokens, model.info.hiddenSize];
  if (c.initText !== undefined && c.init !== "text")
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${method}: initText is read with init text alone`, { hint: "--init text" });
  if (c.init === "random") return f32(rng.normalArray(v * d), [v, d]);
  if (c.init === "uniform") return f32(rng.uniformArray(v * d, -0.5, 0.5), [v, d]);
  const table = tokenTable(method, model);
  const drawn = (): Float32Array => table.row(rng.int(Math.min(table.rows, c.initVocabulary)));
  if (c.init === "vocabulary")
    return stacked(
      Array.from({ length: v }, () => drawn()),
      d,
    );
  const { text } = sources;
  if (!text)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${method}: init ${c.init} reads text, and no tokenizer is given`, {
      hint: "init vocabulary begins with random words",
    });
  if (c.init === "text") {
    if (c.initText === undefined)
      throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${method}: init text begins with a text, and none is given`, {
        hint: '--init-text "Classify the text:"',
      });
    const ids = text.tokenizer.encode(c.initText).ids;
    requireTokens(method, text, c.initText, ids);
    return stacked(
      Array.from({ length: v }, (_, i) => table.row(ids[i % ids.length]!)),
      d,
    );
  }
  const { answers = [] } = sources;
  if (answers.length === 0)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${method}: init labels begins with names of classes, and there are none`, {
      hint: "init vocabulary begins with random words",
    });
  const named = answers.slice(0, v).map((name) => {
    const ids = idsOfText(text, name);
    requireTokens(method, text, name, ids);
    return mean(
      ids.map((id) => table.row(id)),
      d,
    );
  });
  return stacked([...named, ...Array.from({ length: v - named.length }, () => drawn())], d);
}

/** The rows of a model's embedding. @throws {LfmError} CAPABILITY_MISSING for a model without one */
export function tokenTable(method: string, model: Model): { readonly rows: number; row(id: number): Float32Array } {
  const site = model.info.sites.find((s) => s.kind === "embedding" && s.weight);
  if (!site?.weight)
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] ${method}: the model names no token embedding`, { hint: "init random" });
  const table = weightOf(model, site.weight.name);
  const [rows, d] = table.shape as readonly [number, number];
  const data = table.data as Float32Array;
  return { rows, row: (id) => data.subarray(id * d, (id + 1) * d) };
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that reads no tokens, CONFIG_INVALID for a prompt that leaves no place for text */
export function requireRoom(method: string, { info }: Model, v: number): void {
  const { input, architecture, maxLength } = info;
  if (input !== "tokens") throw new LfmError("CAPABILITY_MISSING", `[@lfm/tuning] ${method}: ${architecture} reads ${input}, not tokens`);
  if (maxLength !== undefined && v >= maxLength)
    throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${method}: ${v} virtual tokens leave no place for text in ${maxLength} positions`, {
      hint: `--num-virtual-tokens ${Math.max(1, Math.floor(maxLength / 4))}`,
    });
}

function requireTokens(method: string, rules: TextRules, text: string, ids: readonly number[]): void {
  if (ids.length === 0) throw new LfmError("CONFIG_INVALID", `[@lfm/tuning] ${method}: ${JSON.stringify(text)} has no token to begin with`);
  requireRead(rules, ids);
}

function stacked(rows: readonly Float32Array[], d: number): HostTensor {
  const out = new Float32Array(rows.length * d);
  for (const [i, row] of rows.entries()) out.set(row, i * d);
  return f32(out, [rows.length, d]);
}

function mean(rows: readonly Float32Array[], d: number): Float32Array {
  return Float32Array.from({ length: d }, (_, i) => rows.reduce((sum, row) => sum + row[i]!, 0) / rows.length);
}
