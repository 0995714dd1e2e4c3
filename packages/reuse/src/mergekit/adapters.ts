import { existsSync } from "node:fs";
import { join } from "node:path";
import { type FileTensor, LfmError } from "@lfm/core";
import { type LoraLayer, type LoraParts, loraParts, openPeftAdapter, type PeftAdapter, type TokenRows } from "@lfm/formats";
import type { TensorSource } from "../merging/plan.js";
import { gatheredTensor } from "./gathered-rows.js";
import { isHead, isVocabulary, layoutOf } from "./layout.js";
import { isTaskHead, withTaskHead } from "./task-heads.js";
import { dtypeOf, shapeOf, storedTensor } from "./tensor-types.js";
import { type OutputParts, staysTied, type TiedOutput, tiedOutput, untiedConfig } from "./tied-output.js";

/** Models whose linear layers are stored as [in, out], by model_type, and those layers. */
const CONV1D = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer"];
const CONV1D_LAYER = /(^|\.)(c_attn|c_proj|c_fc|q_attn)\.weight$/;

/** Whether a folder holds an adapter of PEFT that can be merged while it is read. @throws {LfmError} FILE_FORMAT, OP_UNSUPPORTED */
export function isStreamed(folder: string): boolean {
  if (!existsSync(join(folder, "adapter_config.json"))) return false;
  const kind = openPeftAdapter(folder).config.peft_type;
  return kind === "LORA" || kind === "TRAINABLE_TOKENS";
}

/** What an adapter makes of a model beside its tensors. */
export interface AdaptedModel {
  /** config.json of the model with the adapter. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly notes: readonly string[];
}

/**
 * The tensors of a model with an adapter of PEFT merged into them: parameters that were trained in full replaced, W + s·B·A (DoRA: rescaled),
 * rows of embeddings replaced. Every tensor of the adapter takes part, or the merge is refused by its name. Where the adapter gives the embedding
 * and the output layer that is the embedding different values, the result has both.
 * @param model tensors by name; changed in place
 * @param config the model's config.json
 * @throws {LfmError} FILE_IO, FILE_FORMAT, OP_UNSUPPORTED, PARAM_NOT_FOUND, SHAPE_MISMATCH
 */
export function mergeAdapter(
  model: Map<string, TensorSource>,
  folder: string,
  config: Readonly<Record<string, unknown>>,
  text: string,
): AdaptedModel {
  if (!existsSync(join(folder, "adapter_config.json")))
    throw new LfmError("FILE_IO", `[@lfm/reuse] "${text}": ${folder} has no adapter_config.json`, {
      hint: "what stands after + is the folder of a PEFT adapter",
    });
  const adapter = openPeftAdapter(folder);
  const parts = loraParts(adapter);
  const merge = new AdapterMerge(model, parts, config, text);
  const output = tiedOutput(model, config);
  const rows = vocabularyRows(model);
  const untied = output !== undefined && merge.untie(output, adapter);
  const heads = merge.parameters();
  merge.layers();
  merge.tokens();
  const now = vocabularyRows(model);
  const notes: string[] = [];
  let changed: Readonly<Record<string, unknown>> = config;
  if (untied) {
    changed = untiedConfig(changed, text);
    notes.push(`"${text}": embedding and output layer were one and are two with the adapter (tie_word_embeddings: false)`);
  }
  if (now !== undefined && now !== rows) {
    changed = withRows(changed, now);
    const own = existsSync(join(folder, "tokenizer.json"))
      ? "the adapter's tokenizer comes with them"
      : "the adapter's folder has no tokenizer for them";
    notes.push(`"${text}": the adapter has ${now} rows of tokens, the model had ${rows}; ${own}`);
    const short = [...model].find(([name, t]) => isHead(name) && shapeOf(t)[0] !== now);
    if (short)
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/reuse] "${text}": the adapter has ${now} rows of tokens, the output layer "${short[0]}" has ${shapeOf(short[1])[0]}`,
      );
  }
  if (heads.length > 0) {
    const found = withTaskHead(model, changed, { heads, folder, task: adapter.config.task_type, text });
    changed = found.config;
    notes.push(...found.notes);
  }
  return { config: changed, notes };
}

function vocabularyRows(model: ReadonlyMap<string, TensorSource>): number | undefined {
  const { embedding } = layoutOf(new Map([...model].map(([name, t]) => [name, shapeOf(t)])));
  return embedding === undefined ? undefined : shapeOf(model.get(embedding)!)[0];
}

function withRows(config: Readonly<Record<string, unknown>>, rows: number): Readonly<Record<string, unknown>> {
  const text = config.text_config as Readonly<Record<string, unknown>> | undefined;
  return text && "vocab_size" in text && !("vocab_size" in config)
    ? { ...config, text_config: { ...text, vocab_size: rows } }
    : { ...config, vocab_size: rows };
}

/** The parts of one adapter on their way into one model. */
class AdapterMerge {
  constructor(
    private readonly model: Map<string, TensorSource>,
    private readonly parts: LoraParts<FileTensor>,
    private readonly config: Readonly<Record<string, unknown>>,
    private readonly text: string,
  ) {}

  /** Gives the output layer a matrix of its own where the adapter makes two of what was one. @returns whether it did */
  untie(output: TiedOutput, adapter: PeftAdapter<FileTensor>): boolean {
    const [embedding, head] = [this.partsAt(output.embedding), this.partsAt(output.head)];
    if (![embedding.parameter, embedding.layer, ...Object.values(head)].some((part) => part !== undefined)) return false;
    const base = this.model.get(output.embedding)!;
    const module = moduleOf(output.embedding);
    const saved = (adapter.config.modules_to_save ?? []).some((name) => module.endsWith(name));
    if (staysTied(base, embedding, head, { saved })) {
      this.tied = new Map([[output.head, undefined]]);
      return false;
    }
    // A module that was trained in full leaves the other one as it was; a matrix that was saved along (resized) is that of both.
    this.model.set(output.head, embedding.parameter && !saved ? storedTensor(output.embedding, embedding.parameter) : base);
    // Rows of tokens follow the tie in PEFT, too.
    if (embedding.tokens && !head.tokens) this.follow = { name: output.head, tokens: embedding.tokens };
    return true;
  }

  /** The output layer that stays the embedding: what the adapter holds for it is a copy. */
  private tied: ReadonlyMap<string, undefined> = new Map();
  private follow: { readonly name: string; readonly tokens: TokenRows<FileTensor> } | undefined;

  private partsAt(name: string): OutputParts {
    const at = new Map([[name, undefined]]);
    const of = <T>(record: Readonly<Record<string, T>>, suffix: string): T | undefined =>
      Object.entries(record).find(([own]) => nameIn(at, `${own}${suffix}`) !== undefined)?.[1];
    const { layers, parameters, tokens } = this.parts;
    return { parameter: of(parameters, ""), layer: of(layers, ".weight"), tokens: of(tokens, ".weight") };
  }

  /** What a name of the adapter is in the model; undefined for a copy that is left out. @throws {LfmError} PARAM_NOT_FOUND */
  private place(own: string): string | undefined {
    if (nameIn(this.tied, own) !== undefined) return undefined;
    const name = nameIn(this.model, own);
    if (name !== undefined || isTaskHead(own)) return name ?? own;
    throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] "${this.text}": the adapter changes "${own}", which the model does not have`, {
      hint: "is it an adapter of this model?",
    });
  }

  /** @returns names of heads that the model did not have, or had for other classes */
  parameters(): readonly string[] {
    const heads: string[] = [];
    const layout = layoutOf(new Map([...this.model].map(([name, t]) => [name, shapeOf(t)])));
    const rows = layout.embedding === undefined ? undefined : shapeOf(this.model.get(layout.embedding)!)[0];
    for (const [own, tensor] of Object.entries(this.parts.parameters)) {
      const name = this.place(own);
      if (name === undefined) continue;
      const source = this.model.get(name);
      const [before, after] = [source ? shapeOf(source) : [], tensor.shape];
      this.model.set(name, storedTensor(own, tensor));
      if (before.join() === after.join()) continue;
      if (isTaskHead(own)) heads.push(name);
      // Other tokens are other rows.
      else if (!isVocabulary(name, before, layout, rows) || before.slice(1).join() !== after.slice(1).join())
        throw this.mismatch(`"${own}" is [${after.join(", ")}]`, name, before);
    }
    return heads;
  }

  private mismatch(what: string, name: string, shape: readonly number[]): LfmError {
    return new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/reuse] "${this.text}": the adapter's ${what}, the model's "${name}" is [${shape.join(", ")}]`,
      {
        hint: "is it an adapter of this model?",
      },
    );
  }

  layers(): void {
    for (const [path, layer] of Object.entries(this.parts.layers)) {
      const name = this.place(`${path}.weight`);
      if (name === undefined) continue;
      const weight = this.model.get(name);
      if (!weight)
        throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] "${this.text}": the adapter changes "${name}", which the model does not have`);
      this.model.set(name, {
        kind: "adapted",
        weight,
        down: storedTensor(`${path}.lora_A`, layer.a),
        up: storedTensor(`${path}.lora_B`, layer.b),
        scale: layer.scale,
        transposed: this.isTransposed(name, layer, shapeOf(weight)),
        ...(layer.magnitude ? { magnitude: storedTensor(`${path}.lora_magnitude_vector`, layer.magnitude) } : {}),
      });
      if (layer.bias) this.shift(path, layer.bias, layer.scale);
    }
  }

  /** @throws {LfmError} OP_UNSUPPORTED for a layer without a bias, as PEFT */
  private shift(path: string, by: FileTensor, scale: number): void {
    const name = nameIn(this.model, `${path}.bias`);
    if (name === undefined)
      throw new LfmError("OP_UNSUPPORTED", `[@lfm/reuse] "${this.text}": lora_bias of "${path}", which has no bias to add it to`);
    this.model.set(name, { kind: "shifted", weight: this.model.get(name)!, by: storedTensor(`${path}.lora_B.bias`, by), scale });
  }

  /** @throws {LfmError} SHAPE_MISMATCH */
  private isTransposed(name: string, { a, b, embedding }: LoraLayer<FileTensor>, shape: readonly number[]): boolean {
    const [inputs, outputs] = [a.shape[1]!, b.shape[0]!];
    const transposed = embedding || (CONV1D.includes(String(this.config.model_type)) && CONV1D_LAYER.test(name));
    if (shape.join() === (transposed ? [inputs, outputs] : [outputs, inputs]).join()) return transposed;
    throw this.mismatch(`LoRA is ${outputs}×${inputs}`, name, shape);
  }

  tokens(): void {
    for (const [path, tokens] of Object.entries(this.parts.tokens)) {
      const name = this.place(`${path}.weight`);
      if (name !== undefined) this.replaceRows(name, `${path}.trainable_tokens_delta`, tokens);
    }
    if (this.follow) this.replaceRows(this.follow.name, "trainable_tokens_delta", this.follow.tokens);
  }

  /** @throws {LfmError} SHAPE_MISMATCH */
  private replaceRows(name: string, own: string, { rows, values }: TokenRows<FileTensor>): void {
    const weight = this.model.get(name)!;
    const [count, width] = shapeOf(weight) as readonly [number, number];
    const outside = rows.find((row) => row >= count);
    if (outside !== undefined) throw this.mismatch(`"${own}" has a row ${outside}`, name, shapeOf(weight));
    if (values.shape[1] !== width) throw this.mismatch(`"${own}" has rows of ${values.shape[1]} values`, name, shapeOf(weight));
    const places = new Map(rows.map((row, i) => [row, i]));
    const gathered = gatheredTensor([weight, storedTensor(own, values)], 0, count, (i) => {
      const place = places.get(i);
      return place === undefined ? i : [[1, place]];
    });
    this.model.set(name, { ...gathered, dtype: dtypeOf(weight) });
  }
}

const moduleOf = (name: string): string => name.slice(0, name.lastIndexOf("."));

/** A name may be of the model with its head, `transformer.h.0…`, where the file holds `h.0…`, and the other way round. */
export function nameIn(model: ReadonlyMap<string, unknown>, name: string): string | undefined {
  if (model.has(name)) return name;
  const shorter = name.slice(name.indexOf(".") + 1);
  if (model.has(shorter)) return shorter;
  const longer = [...model.keys()].filter((n) => n.endsWith(`.${name}`));
  return longer.length === 1 ? longer[0] : undefined;
}
