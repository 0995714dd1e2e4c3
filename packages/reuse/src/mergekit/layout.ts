/** Layers and embeddings of a model, found by the names and shapes of its tensors: no list of architectures. */

/** What a stack of layers is called just before the number. */
const LAYER = /^(.*?(?:^|\.)(?:layers?|h|blocks?|resblocks|encoder_layers|decoder_layers))\.(\d+)\./;

interface Stack {
  /** Module of the model that the stack belongs to; `default` where there is one stack only. */
  readonly module: string;
  /** Up to the number: `model.layers.` */
  readonly prefix: string;
  /** What stands before the stack's own name: `model.`, or nothing. */
  readonly root: string;
  readonly count: number;
  /** Layer → what its tensors are called after the number. */
  readonly suffixes: ReadonlyMap<number, readonly string[]>;
}

export interface Layout {
  readonly stacks: readonly Stack[];
  /** Module → names of its tensors outside of layers. */
  readonly loose: ReadonlyMap<string, readonly string[]>;
  readonly modules: readonly string[];
  /** The matrix with a row per token. */
  readonly embedding?: string;
}

export type Shapes = ReadonlyMap<string, readonly number[]>;

export function layoutOf(shapes: Shapes): Layout {
  const found = new Map<string, Map<number, string[]>>();
  const loose: string[] = [];
  const stackOf = matcher([...shapes.keys()]);
  for (const name of shapes.keys()) {
    const at = stackOf(name);
    if (!at) {
      loose.push(name);
      continue;
    }
    const layers = found.get(at.prefix) ?? new Map<number, string[]>();
    const suffixes = layers.get(at.layer) ?? [];
    suffixes.push(at.suffix);
    layers.set(at.layer, suffixes);
    found.set(at.prefix, layers);
  }
  const embedding = inputEmbedding(loose, shapes);
  const rootOf = (prefix: string): string => prefix.slice(0, prefix.slice(0, -1).lastIndexOf(".") + 1);
  const alone = found.size <= 1;
  const stacks = [...found].map(([prefix, suffixes]) => {
    const root = rootOf(prefix);
    const count = Math.max(...suffixes.keys()) + 1;
    return { module: alone ? "default" : root.slice(0, -1) || prefix.slice(0, -1), prefix, root, count, suffixes };
  });
  const byModule = new Map<string, string[]>(stacks.map((s) => [s.module, []]));
  const moduleOf = (name: string): string => {
    if (alone) return "default";
    if (/(^|[._])(merger|projector|connector)[._]/.test(name)) return "multi_modal_projector";
    const under = stacks.filter((s) => s.root !== "" && name.startsWith(s.root)).sort((a, b) => b.root.length - a.root.length);
    if (under[0]) return under[0].module;
    // The output head belongs where its embedding is.
    if (isHead(name) && embedding !== undefined && embedding !== name) return moduleOf(embedding);
    return name.split(".")[0]!;
  };
  for (const name of loose) {
    const module = moduleOf(name);
    byModule.set(module, [...(byModule.get(module) ?? []), name]);
  }
  return { stacks, loose: byModule, modules: [...byModule.keys()], ...(embedding === undefined ? {} : { embedding }) };
}

interface LayerPlace {
  readonly prefix: string;
  readonly layer: number;
  /** After the number and its dot. */
  readonly suffix: string;
}

/** Splits names of tensors in layers. Where no name has a word for layers, numbers count that run from 0 over equal sets of tensors. */
function matcher(names: readonly string[]): (name: string) => LayerPlace | undefined {
  const split = (pattern: RegExp, name: string): LayerPlace | undefined => {
    const m = pattern.exec(name);
    return m ? { prefix: `${m[1]}.`, layer: Number(m[2]), suffix: name.slice(m[0].length) } : undefined;
  };
  if (names.some((n) => LAYER.test(n))) return (name) => split(LAYER, name);
  const numbered = /^(.*?)\.(\d+)\./;
  const suffixes = new Map<string, Map<number, string[]>>();
  for (const name of names) {
    const at = split(numbered, name);
    if (!at) continue;
    const layers = suffixes.get(at.prefix) ?? new Map<number, string[]>();
    layers.set(at.layer, [...(layers.get(at.layer) ?? []), at.suffix].sort());
    suffixes.set(at.prefix, layers);
  }
  const regular = new Set(
    [...suffixes].flatMap(([prefix, layers]) => {
      const first = layers.get(0)?.join();
      const isRun = layers.size > 1 && [...layers.keys()].every((i) => i < layers.size);
      return isRun && [...layers.values()].every((s) => s.join() === first) ? [prefix] : [];
    }),
  );
  return (name) => {
    const at = split(numbered, name);
    return at && regular.has(at.prefix) ? at : undefined;
  };
}

const EMBEDDING =
  /(^|[._])(embed_tokens|wte|word_embeddings?|tok_embeddings|token_embeddings?|embed_in|shared|embedding|embeddings)\.weight$/;
const NO_TOKENS =
  /(^|[._])(pos|position|positional|positions|wpe|type|token_type_embeddings|segment|patch|vis|visual|vision|vision_tower|vision_model)([._]|$)/;
const HEAD = /(^|\.)(lm_head|embed_out|output|output_layer|cls\.predictions\.decoder|lm_head\.decoder|vocab_projector)\.weight$/;
const HEAD_BIAS = /(^|\.)(lm_head|embed_out|cls\.predictions|cls\.predictions\.decoder|lm_head\.decoder|vocab_projector)\.bias$/;

function inputEmbedding(loose: readonly string[], shapes: Shapes): string | undefined {
  const found = loose.filter((n) => EMBEDDING.test(n) && !NO_TOKENS.test(n) && shapes.get(n)!.length === 2);
  return found.find((n) => n.endsWith("shared.weight")) ?? found[0];
}

/** The matrix of the output layer, which many models leave out because it is the input embedding. */
export function isHead(name: string): boolean {
  return HEAD.test(name);
}

/** Has one row (or entry) per token. */
export function isVocabulary(name: string, shape: readonly number[], layout: Layout, rows: number | undefined): boolean {
  if (name === layout.embedding) return true;
  if (rows === undefined || shape[0] !== rows) return false;
  return (
    (HEAD.test(name) && shape.length === 2) ||
    (HEAD_BIAS.test(name) && shape.length === 1) ||
    (EMBEDDING.test(name) && !NO_TOKENS.test(name))
  );
}

/** Comes before the layers: in a model of several slices the first decides about it, about the others the last. */
export function isBeforeLayers(name: string): boolean {
  return (
    !/(^|[._])embed_out[._]/.test(name) &&
    /(embed|embd|wte|wpe|shared|patch|class_emb|cls_token|ln_pre|layernorm_pre|pre_layernorm|conv1|conv2|rotary|relative_pe)/.test(name)
  );
}

/** Values that are not learned though they are stored as floats: they are copied. */
export function isBuffer(name: string, shape: readonly number[]): boolean {
  return /(^|\.)(inv_freq|masked_bias)$/.test(name) || (name.endsWith(".attn.bias") && shape.length === 4);
}
