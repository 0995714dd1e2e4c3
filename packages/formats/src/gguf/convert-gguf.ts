import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { type Progress, sizeOf, throwIfAborted } from "@lfm/core";
import { writeStreamedShards } from "../safetensors/sharded.js";
import { writeTextFile } from "../whole-file.js";
import { describeGguf, type GgufModel } from "./architectures.js";
import { dequantizeF32 } from "./block-quants.js";
import { ggmlTypes } from "./ggml-types.js";
import { GgufFacts } from "./gguf-facts.js";
import { type GgufFile, type GgufTensor, openGguf, sameBytes } from "./read-gguf.js";
import type { Placed } from "./tensor-names.js";
import { type OutDtype, type Piecewise, piecesOf } from "./tensor-pieces.js";
import { describeTokenizer } from "./tokenizer-files.js";

export interface ConvertGgufOptions {
  /** Dtype of the folder. Default f32, in which every value is the file's own; bf16 and f16 round to nearest even. */
  readonly dtype?: OutDtype;
  /** Most bytes of an output file. Default 5e9. */
  readonly maxShardBytes?: number;
  /** False leaves the tokenizer out. Default true. */
  readonly tokenizer?: boolean;
  /** Metadata of the architecture that is not known here and may be passed over, by their keys. */
  readonly ignoreMetadata?: readonly string[];
  readonly progress?: (progress: Progress) => void;
  readonly signal?: AbortSignal;
}

export interface ConvertedGguf {
  readonly architecture: string;
  readonly parameters: number;
  /** How many tensors of the file have each type. */
  readonly types: Readonly<Record<string, number>>;
  readonly dtype: OutDtype;
  /** Names of what lies in the folder. */
  readonly files: readonly string[];
  readonly tokenizer: boolean;
  /** Pre-tokenizer and the like that the file does not name, with what was taken. */
  readonly notes: readonly string[];
}

const dtypeNames: Readonly<Record<OutDtype, string>> = { f32: "float32", bf16: "bfloat16", f16: "float16" };

/**
 * Makes a Hugging Face folder of a GGUF file: weights, config.json, tokenizer, chat template, generation_config.json. Some rows of one tensor are in
 * memory at a time; values are equal to those of the `gguf` Python package bit for bit.
 * @param file the first of them where a model lies in several (NAME-00001-of-00003.gguf)
 * @param folder is made; what lies there under the same names is replaced
 * @throws {LfmError} FILE_FORMAT for a file that is none, an architecture, a tokenizer or a quantisation that is not known; FILE_IO; ABORTED
 */
export async function convertGguf(file: string, folder: string, options: ConvertGgufOptions = {}): Promise<ConvertedGguf> {
  const gguf = openGguf(file);
  try {
    return await convertOpened(file, gguf, folder, options);
  } finally {
    gguf.close();
  }
}

async function convertOpened(file: string, gguf: GgufFile, folder: string, options: ConvertGgufOptions): Promise<ConvertedGguf> {
  const { dtype = "f32", tokenizer: withTokenizer = true } = options;
  const facts = new GgufFacts(file, gguf.metadata);
  const { model, head, vocabSize } = describe(facts, gguf, options.ignoreMetadata);
  const files = withTokenizer ? describeTokenizer(facts, vocabSize) : undefined;
  const tensors = new Map([...gguf.tensors.values()].filter((t) => head || t.name !== HEAD).flatMap((t) => placedTensors(facts, t, model)));
  const total = [...tensors.values()].reduce((n, t) => n + sizeOf(t.shape), 0);
  let done = 0;
  const wait = async (elements: number): Promise<void> => {
    done += elements;
    options.progress?.({ phase: "convert", done, total, unit: "parameters" });
    // Ctrl-C comes as a message, which a loop that never ends a turn would not hear.
    await setImmediate();
    throwIfAborted(options.signal, "[@lfm/formats] convert");
  };
  const streams = [...tensors].map(([name, t]) => [name, { dtype, shape: t.shape, pieces: () => piecesOf(t, dtype, wait) }] as const);
  const { maxShardBytes } = options;
  const shards = await writeStreamedShards(folder, Object.fromEntries(streams), maxShardBytes === undefined ? {} : { maxShardBytes });
  const json: Record<string, unknown> = {
    "config.json": { ...model.config, ...files?.config, dtype: dtypeNames[dtype], torch_dtype: dtypeNames[dtype] },
    ...(files && { "tokenizer.json": files.tokenizer, "tokenizer_config.json": files.tokenizerConfig }),
    ...(files && { "generation_config.json": files.generationConfig }),
  };
  for (const [name, value] of Object.entries(json)) writeTextFile(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  return {
    architecture: String(model.config.model_type),
    parameters: total,
    types: countTypes(gguf),
    dtype,
    files: [...shards, ...Object.keys(json)],
    tokenizer: files !== undefined,
    notes: withTokenizer && files === undefined ? ["the file has no tokenizer: put the model's own tokenizer.json into the folder"] : [],
  };
}

const [EMBEDDING, HEAD] = ["token_embd.weight", "output.weight"];

function describe(
  facts: GgufFacts,
  gguf: GgufFile,
  ignore: readonly string[] = [],
): { readonly model: GgufModel; readonly head: boolean; readonly vocabSize: number } {
  const embedding = gguf.tensors.get(EMBEDDING);
  const vocabSize = embedding?.shape[0];
  const own = gguf.tensors.get(HEAD);
  // Converters of GPT-2 write its tied head a second time.
  const tied = own && embedding && facts.text("general.architecture") === "gpt2" && sameBytes(own, embedding);
  const head = own !== undefined && !tied;
  const ropeFreqs = gguf.tensors.get("rope_freqs.weight");
  const ropeFactors = ropeFreqs && [...f32Of(facts, ropeFreqs)];
  const biased = (part: string): boolean => gguf.tensors.has(`blk.0.${part}.bias`);
  const tensors = { vocabSize: vocabSize ?? 0, head, ropeFactors, attentionBias: biased("attn_q"), mlpBias: biased("ffn_up") };
  const model = describeGguf(facts, tensors, ignore);
  if (vocabSize === undefined) throw facts.fail(`has no tensor "${EMBEDDING}"`);
  return { model, head, vocabSize };
}

function f32Of(facts: GgufFacts, tensor: GgufTensor): Float32Array {
  if (tensor.type.name !== "F32") throw facts.fail(`"${tensor.name}" is ${tensor.type.name}; it has to be F32`);
  const [bytes, out] = [new Uint8Array(tensor.bytes), new Float32Array(sizeOf(tensor.shape))];
  tensor.read(bytes, 0);
  dequantizeF32(bytes, out);
  return out;
}

/** The tensors of the folder that one of the file becomes: none, one, or one for each expert. */
function placedTensors(facts: GgufFacts, source: GgufTensor, { names }: GgufModel): readonly (readonly [string, Piecewise])[] {
  const placed = names(source.name);
  if (placed === null) return [];
  if (placed === undefined) throw facts.fail(`the tensor "${source.name}" has no place in a Hugging Face folder of its architecture`);
  const { dequantize } = source.type;
  if (!dequantize) throw facts.fail(`"${source.name}" is of the type ${source.type.name}, which is not read`, typesHint());
  const { experts, pairedHeads } = placed;
  if (pairedHeads !== undefined && (source.shape[0]! % pairedHeads !== 0 || (source.shape[0]! / pairedHeads) % 2 !== 0))
    throw facts.fail(`"${source.name}" of shape [${source.shape}] is no matrix of ${pairedHeads} heads`);
  if (experts !== undefined) return expertsOf(facts, source, placed, experts);
  if (placed.transposed && source.shape.length !== 2) throw facts.fail(`"${source.name}" of shape [${source.shape}] is no matrix`);
  const shape = placed.transposed ? [...source.shape].reverse() : source.shape;
  return [[placed.name, { source, dequantize, placed, shape, firstRow: 0 }]];
}

function expertsOf(facts: GgufFacts, source: GgufTensor, placed: Placed, experts: number): readonly (readonly [string, Piecewise])[] {
  const [held, ...shape] = source.shape;
  if (held !== experts || shape.length !== 2)
    throw facts.fail(`"${source.name}" of shape [${source.shape}] does not hold ${experts} matrices`);
  return Array.from({ length: experts }, (_, e) => [
    placed.name.replace("*", String(e)),
    { source, dequantize: source.type.dequantize!, placed, shape, firstRow: e * shape[0]! },
  ]);
}

function typesHint(): string {
  const read = [...ggmlTypes.values()].filter((t) => t.dequantize).map((t) => t.name);
  return `take a file in one of ${read.join(", ")}; llama-quantize --allow-requantize FILE OUT.gguf Q8_0 makes one`;
}

function countTypes(gguf: GgufFile): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const { type } of gguf.tensors.values()) counts[type.name] = (counts[type.name] ?? 0) + 1;
  return counts;
}
