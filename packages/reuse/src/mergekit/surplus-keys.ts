import { LfmError, nearestName } from "@lfm/core";

/** What may stand in one kind of object of a merge file. */
interface Level {
  /** For messages. */
  readonly what: string;
  readonly keys: readonly string[];
  /** Keys that hold objects of another level: one, a list of them, or some by name. */
  readonly inside?: Readonly<Record<string, readonly ["one" | "list" | "named", Level]>>;
}

const condition: Level = { what: "a condition", keys: ["filter", "value"] };
/** One condition, or a list of them, under the name of a parameter; plain values hold no keys. */
const parameters: Level = { what: "parameters", keys: [] };
const place: Level = { what: "a model", keys: ["path", "revision"] };
const reference: Level = {
  what: "a model",
  keys: ["model", "lora", "override_architecture", "path", "revision"],
  inside: { model: ["one", place], lora: ["one", place] },
};
const shared = { parameters: ["one", parameters], base_model: ["one", reference] } as const;
const model: Level = {
  what: "a model",
  keys: ["model", "parameters", "layer_range"],
  inside: { model: ["one", reference], parameters: ["one", parameters] },
};
const source: Level = { ...model, what: "a source" };
const slice: Level = {
  what: "a slice",
  keys: ["sources", "base_model", "residual_weight", "parameters"],
  inside: { ...shared, sources: ["list", source] },
};
const inputs = { ...shared, models: ["list", model], slices: ["list", slice] } as const;
const module: Level = { what: "a module", keys: ["name", "models", "slices", "parameters"], inside: inputs };
const token: Level = { what: "a token", keys: ["source", "force"] };
const tokenizer: Level = {
  what: "tokenizer",
  keys: ["source", "tokens", "pad_to_multiple_of"],
  inside: { source: ["one", reference], tokens: ["named", token] },
};
const document: Level = {
  what: "the configuration",
  keys: [
    ...["name", "merge_method", "base_model", "models", "slices", "modules", "parameters", "dtype", "out_dtype"],
    ...["tokenizer_source", "tokenizer", "chat_template", "mode", "heads"],
  ],
  inside: {
    ...inputs,
    heads: ["one", reference],
    modules: ["named", module],
    tokenizer_source: ["one", reference],
    tokenizer: ["one", tokenizer],
  },
};

/** Parameters of methods, with a value for an example: they count under `parameters` alone. */
const METHOD_PARAMETERS = {
  normalize: "true",
  weight: "1.0",
  density: "0.5",
  lambda: "1.0",
  t: "0.5",
  epsilon: "0.1",
  gamma: "0.01",
  rescale: "true",
  select_topk: "0.1",
  filter_wise: "true",
  statistics: "a.fisher.safetensors",
};

/** Keys that cannot have been meant to have no effect, and what was meant. */
const MEANT: ReadonlyMap<string, string> = new Map([
  ["experts", "this is a file of mergekit-moe, which makes a mixture of experts and merges nothing"],
  ["gate_mode", "this is a file of mergekit-moe, which makes a mixture of experts and merges nothing"],
  ["genome", "this is a file of mergekit-evolve; the merge itself stands under genome"],
  ...Object.entries(METHOD_PARAMETERS).map(([name, value]): [string, string] => [
    name,
    `parameters stand under parameters: {${name}: ${value}}`,
  ]),
]);

/** What to say of keys that often stand in such files. */
const ASIDE: ReadonlyMap<string, string> = new Map([["random_seed", "; the seed is an option: --seed 0"]]);

/** More than anybody leaves in a file that is one of these. */
const MOST = 100;

/** A key of another spelling than one that is known: a letter less, more or other, two in long ones. */
export function misspelt(key: string, known: Iterable<string>): string | undefined {
  return nearestName(key, known, Math.min(2, Math.floor(key.length / 3)));
}

/** The end of a remark on a key that mergekit passes over. */
export function passedOver(key: string): string {
  return `has no effect, as in mergekit${ASIDE.get(key) ?? ""}`;
}

/**
 * Looks for keys that no part of a document has. mergekit passes over them in silence; here those that cannot have been meant so are refused,
 * others are remarks.
 * @param value a document as plain data; where it is no such thing, nothing is said
 * @param locate where the key at the end of a path stands
 * @returns the remarks
 * @throws {LfmError} CONFIG_INVALID for a misspelt key, for a parameter that stands where it would be passed over, for another program's file
 */
export function surplusKeys(value: unknown, locate: (path: readonly (string | number)[]) => string): string[] {
  const notes: string[] = [];
  const visit = (at: unknown, level: Level, path: readonly (string | number)[]): void => {
    if (typeof at !== "object" || at === null || Array.isArray(at)) return;
    for (const [key, inner] of Object.entries(at)) {
      const here = [...path, key];
      if (level === parameters) {
        if (Array.isArray(inner)) for (const [i, one] of inner.entries()) visit(one, condition, [...here, i]);
        else visit(inner, condition, here);
        continue;
      }
      if (!level.keys.includes(key)) {
        const near = misspelt(key, level.keys);
        const hint = MEANT.get(key) ?? (near ? `did you mean "${near}"?` : undefined);
        if (hint !== undefined) throw unknownKey(`${locate(here)}: unknown key "${key}" in ${level.what}`, hint);
        if (notes.length === MOST)
          throw unknownKey(`${locate(here)}: unknown key "${key}" in ${level.what}, and ${MOST} before it: this is no merge configuration`);
        notes.push(`${locate(here)}: ${key} ${passedOver(key)}`);
        continue;
      }
      const child = level.inside && Object.hasOwn(level.inside, key) ? level.inside[key] : undefined;
      if (!child) continue;
      const [form, of] = child;
      if (form === "one") visit(inner, of, here);
      else if (form === "list" && Array.isArray(inner)) for (const [i, one] of inner.entries()) visit(one, of, [...here, i]);
      else if (form === "named" && typeof inner === "object" && inner !== null && !Array.isArray(inner))
        for (const [name, one] of Object.entries(inner)) visit(one, of, [...here, name]);
    }
  };
  visit(value, document, []);
  return notes;
}

function unknownKey(message: string, hint?: string): LfmError {
  return new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${message}`, hint ? { hint } : {});
}
