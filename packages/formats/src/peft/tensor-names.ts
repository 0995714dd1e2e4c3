import { LfmError } from "@lfm/core";

/** What an adapter's tensor is called once the names that PEFT's wrappers put in are gone. */
export interface AdapterName {
  /** `model.layers.0.self_attn.q_proj.lora_A.weight`, `classifier.weight`. */
  readonly name: string;
  /** The adapter's own name, where it was left in the key: `default`. */
  readonly adapter?: string;
  /** A copy of the base's own module under one that was trained in full: the adapter does not use it. */
  readonly original?: true;
}

/** Ends of keys that name an adapter's tensor, with the place where the adapter's own name may stand: none of ours has a dot in it. */
const OWN = new RegExp(
  `^(.*\\.)?(${[
    "lora_[ABE]",
    "lora_embedding_[AB]",
    "lora_magnitude_vector",
    "ia3_l",
    "trainable_tokens_(?:delta|original)",
    "vera_lambda_[bd]",
    "vera_[AB]",
    "hada_(?:w[12]_[ab]|t[12])",
    "lokr_(?:w[12](?:_[ab])?|t2)",
    "oft_R",
    "boft_[Rs]",
    "ln_tuning_layers",
  ].join("|")})(\\..+)?$`,
);
/** Modules with a weight, and a bias in some. AdaLoRA's lora_A and lora_B are tensors by themselves, as all others are. */
const MODULE = /^(lora_[AB]|oft_R|ln_tuning_layers)$/;
const PARTS = ["weight", "bias"];

/**
 * A key of a file of PEFT without the adapter's name and without the wrappers of modules that were trained in full. Files that were written by
 * `model.state_dict()` have both, those of `save_pretrained` neither.
 */
export function adapterName(key: string): AdapterName {
  const own = OWN.exec(key);
  if (own) {
    const [, path = "", marker, rest = ""] = own;
    const [first, ...more] = rest.split(".").slice(1);
    if (first === undefined) return { name: `${path}${marker}` };
    if (!MODULE.test(marker!)) {
      // Some versions keep the magnitude in a module of its own: `.weight` behind it is no adapter's name.
      if (first === "weight" && more.length === 0) return { name: `${path}${marker}` };
      if (more.length === 0 || (more.length === 1 && more[0] === "weight")) return { name: `${path}${marker}`, adapter: first };
    } else if (more.length === 1 && PARTS.includes(more[0]!)) {
      return { name: `${path}${marker}.${more[0]}`, adapter: first };
    } else if (more.length === 0 && !PARTS.includes(first)) {
      return { name: `${path}${marker}`, adapter: first };
    }
    return { name: key };
  }
  const saved = /^(.*)\.modules_to_save\.(.+)$/.exec(key);
  if (saved) {
    const [adapter, ...rest] = saved[2]!.split(".");
    return rest.length === 0 ? { name: `${saved[1]}.${adapter}` } : { name: `${saved[1]}.${rest.join(".")}`, adapter: adapter! };
  }
  const original = /^(.*)\.original_module\.(.+)$/.exec(key);
  return original ? { name: `${original[1]}.${original[2]}`, original: true } : { name: key };
}

/** The parameter of the base that a tensor replaces: without the wrappers that adapters put around its module. */
export function parameterName(name: string): string {
  return name.replace(/(\.token_adapter)?\.base_layer\./, ".");
}

/** @throws {LfmError} OP_UNSUPPORTED for a file that holds several adapters */
export function oneAdapter(file: string, names: ReadonlySet<string>): void {
  if (names.size > 1)
    throw new LfmError("OP_UNSUPPORTED", `[@lfm/formats] ${file} holds ${names.size} adapters: ${[...names].sort().join(", ")}`, {
      hint: "save one of them: model.save_pretrained(folder, selected_adapters=[name])",
    });
}
