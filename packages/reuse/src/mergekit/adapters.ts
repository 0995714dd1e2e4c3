import { existsSync } from "node:fs";
import { join } from "node:path";
import { type FileTensor, LfmError } from "@lfm/core";
import { loraParts, openPeftAdapter } from "@lfm/formats";
import type { AdaptedTensor, StoredTensor, TensorSource } from "../merging/plan.js";

/** A tensor of an open file as a plan names it. */
export function storedTensor(name: string, { dtype, shape, file }: FileTensor): StoredTensor {
  return { kind: "stored", file: file.path, name, position: file.offset, dtype, shape };
}

/** Models whose linear layers are stored as [in, out]. */
const CONV1D = ["gpt2", "openai-gpt", "imagegpt", "decision_transformer"];

/** Whether a folder holds a LoRA of PEFT, which can be merged while it is read. @throws {LfmError} FILE_FORMAT, OP_UNSUPPORTED */
export function isLora(folder: string): boolean {
  return existsSync(join(folder, "adapter_config.json")) && openPeftAdapter(folder).config.peft_type === "LORA";
}

/**
 * The tensors of a model with a LoRA of PEFT merged into them: W + scale·B·A, and those that were trained in full replaced.
 * @param model tensors by name; changed in place
 * @param config the model's config.json
 * @throws {LfmError} FILE_IO, FILE_FORMAT, OP_UNSUPPORTED (DoRA, trained LoRA biases), PARAM_NOT_FOUND, SHAPE_MISMATCH
 */
export function mergeAdapter(
  model: Map<string, TensorSource>,
  folder: string,
  config: Readonly<Record<string, unknown>>,
  text: string,
): void {
  if (!existsSync(join(folder, "adapter_config.json")))
    throw new LfmError("FILE_IO", `[@lfm/reuse] "${text}": ${folder} has no adapter_config.json`, {
      hint: "what stands after + is the folder of a PEFT adapter",
    });
  const adapter = openPeftAdapter(folder);
  const { layers, parameters } = loraParts(adapter);
  for (const [path, layer] of Object.entries(layers)) {
    const name = nameIn(model, `${path}.weight`);
    const weight = name === undefined ? undefined : model.get(name);
    if (name === undefined || weight?.kind !== "stored")
      throw new LfmError("PARAM_NOT_FOUND", `[@lfm/reuse] "${text}": the adapter changes "${path}.weight", which the model does not have`, {
        hint: /lm_head/.test(path)
          ? "the model's output layer is its embedding: save the model with an output layer of its own first"
          : "is it an adapter of this model?",
      });
    if (layer.magnitude || layer.bias)
      throw new LfmError(
        "OP_UNSUPPORTED",
        `[@lfm/reuse] "${text}": ${layer.magnitude ? "DoRA" : "lora_bias"} of "${path}" cannot be merged while it is read`,
        {
          hint: "merge the adapter with PEFT first: PeftModel.from_pretrained(model, adapter).merge_and_unload().save_pretrained(folder)",
        },
      );
    const [inputs, outputs] = [layer.a.shape[1]!, layer.b.shape[0]!];
    const [rows, columns] = weight.shape;
    const fits = (r: number, c: number): boolean => weight.shape.length === 2 && rows === r && columns === c;
    const asConv1d =
      adapter.config.peft_type === "LORA" && (adapter.config.fan_in_fan_out === true || CONV1D.includes(String(config.model_type)));
    const transposed = layer.embedding || (fits(inputs, outputs) && (inputs !== outputs || asConv1d));
    if (!(transposed ? fits(inputs, outputs) : fits(outputs, inputs)))
      throw new LfmError(
        "SHAPE_MISMATCH",
        `[@lfm/reuse] "${text}": the adapter of "${path}" is ${outputs}×${inputs}, "${name}" is [${weight.shape.join(", ")}]`,
        { hint: "is it an adapter of this model?" },
      );
    model.set(name, {
      kind: "adapted",
      weight,
      down: storedTensor(`${path}.lora_A`, layer.a),
      up: storedTensor(`${path}.lora_B`, layer.b),
      scale: layer.scale,
      transposed,
    } satisfies AdaptedTensor);
  }
  for (const [name, tensor] of Object.entries(parameters)) model.set(nameIn(model, name) ?? name, storedTensor(name, tensor));
}

/** A name may be of the model with its head, `transformer.h.0…`, where the file holds `h.0…`, and the other way round. */
export function nameIn(model: ReadonlyMap<string, TensorSource>, name: string): string | undefined {
  if (model.has(name)) return name;
  const shorter = name.slice(name.indexOf(".") + 1);
  if (model.has(shorter)) return shorter;
  const longer = [...model.keys()].filter((n) => n.endsWith(`.${name}`));
  return longer.length === 1 ? longer[0] : undefined;
}
