import { closeSync, copyFileSync, existsSync, mkdtempSync, openSync, readSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { type Delta, isPlain, LfmError, type Model } from "@lfm/core";
import {
  copyTokenizer,
  type GgufLoraBase,
  type LoraParts,
  loraParts,
  type OutputPlace,
  readPeftAdapter,
  writeGgufLora,
} from "@lfm/formats";
import { hasPeftForm, toHubFolder, toPeft } from "@lfm/tuning";
import { namesOfClasses } from "../inputs/labels.js";
import { type NamedModel, openPlain, resolveModel, splitDeltas } from "../inputs/models.js";
import { editAsLora } from "../outputs/edit-as-lora.js";
import { writeOnnx } from "../outputs/onnx-model.js";
import { withResult, withResultFile } from "../outputs/result-folder.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";
import { formatBytes } from "../render/table.js";

interface ExportRequest extends JobRequest {
  /** MODEL or MODEL+DELTA+… */
  readonly model: string;
  readonly onnx?: string;
  readonly ggufLora?: string;
  readonly peft?: string;
  readonly adapters?: string;
  readonly overwrite?: boolean;
}

/** `lfm export`: a model or a delta in another program's form. */
export async function exportModel(request: ExportRequest, job: JobContext): Promise<JobResult> {
  const forms = [request.onnx, request.ggufLora, request.peft, request.adapters].filter((form) => form !== undefined);
  if (forms.length !== 1)
    throw new LfmError(
      "CONFIG_INVALID",
      `lfm: export writes one of --onnx, --gguf-lora, --peft and --adapters; ${forms.length} are given`,
      {
        hint: `lfm export ${request.model} --onnx OUT`,
      },
    );
  const { base, deltas } = splitDeltas(request.model);
  if (request.onnx !== undefined) return exportOnnxFolder(request, base, deltas, request.onnx, job);
  if (deltas.length !== 1)
    throw new LfmError("CONFIG_INVALID", `lfm: --gguf-lora, --peft and --adapters write one delta; ${request.model} has ${deltas.length}`, {
      hint: `lfm export ${base}+DELTA ${request.peft !== undefined ? "--peft OUT" : request.adapters !== undefined ? "--adapters OUT" : "--gguf-lora OUT.gguf"}`,
    });
  if (request.ggufLora !== undefined) return exportGgufLora(request, base, deltas, request.ggufLora, job);
  if (request.adapters !== undefined) return exportAdapters(request, base, deltas, request.adapters, job);
  return exportPeft(request, base, deltas, request.peft!, job);
}

async function exportOnnxFolder(
  request: ExportRequest,
  base: string,
  deltas: readonly string[],
  out: string,
  job: JobContext,
): Promise<JobResult> {
  const { inputs, outputs, bytes, external } = await withResult(out, placeOf(request, [base, ...deltas]), async ({ finish }) => {
    const m = await resolveModel(base, deltas, job);
    // What is a change of weights is put into them; the rest stays in the graph as what it does.
    const plain = m.deltas.every((d) => isPlain(m.model, d));
    const model: Model = plain && m.deltas.length > 0 ? (await openPlain(request.model, job)).model : m.model;
    return finish(async (folder) => {
      if (m.folder !== undefined) {
        copyTokenizer(m.folder, folder);
        for (const name of ["config.json", "generation_config.json"])
          if (existsSync(join(m.folder, name))) copyFileSync(join(m.folder, name), join(folder, name));
      }
      return writeOnnx(folder, model);
    });
  });
  return {
    value: { model: request.model, out, inputs, outputs, bytes, external },
    text: `${request.model} as ONNX (${formatBytes(bytes)}): ${inputs.join(", ")} → ${outputs.join(", ")}, saved to ${out}/model.onnx${external ? " with its weights in model.onnx.data" : ""}`,
  };
}

function placeOf({ overwrite = false }: ExportRequest, inputs: readonly string[]): OutputPlace {
  return { overwrite, inputs };
}

/** Whether a file is one that may be replaced by another adapter. */
function isGguf(file: string): boolean {
  const fd = openSync(file, "r");
  try {
    const first = Buffer.alloc(4);
    return readSync(fd, first) === 4 && first.toString("latin1") === "GGUF";
  } finally {
    closeSync(fd);
  }
}

interface OnBase {
  readonly base: NamedModel;
  readonly delta: Delta;
}

/** @throws {LfmError} CAPABILITY_MISSING for a delta that PEFT has no form of */
async function withPeftForm(name: string, folders: readonly string[], job: JobContext): Promise<OnBase> {
  const base = await resolveModel(name, folders, job);
  const [delta, ...more] = base.deltas;
  if (!delta || more.length > 0)
    throw new LfmError("CAPABILITY_MISSING", `lfm: ${folders[0]} is a stack of ${base.deltas.length} deltas: one is written`, {
      hint: `lfm patch ls ${folders[0]}`,
    });
  const lora = editAsLora(delta) ?? delta;
  if (hasPeftForm(lora, base.model)) return { base, delta: lora };
  throw new LfmError("CAPABILITY_MISSING", `lfm: ${folders[0]} is a delta of ${delta.method}, which has no form in PEFT`, {
    hint: `lfm export ${name}+${folders[0]} --onnx OUT`,
  });
}

async function exportPeft(
  request: ExportRequest,
  name: string,
  folders: readonly string[],
  out: string,
  job: JobContext,
): Promise<JobResult> {
  const { delta } = await withResult(out, placeOf(request, [name, ...folders]), async ({ finish }) => {
    const found = await withPeftForm(name, folders, job);
    await finish((folder) => toPeft(folder, found.delta, found.base.model, { base: name }));
    return found;
  });
  return {
    value: { model: request.model, method: delta.method, out },
    text: `${delta.method} for PEFT, saved to ${out}: PeftModel.from_pretrained(base, "${out}")`,
  };
}

/** In the form of the library `adapters`; the folder's name becomes the adapter's. */
async function exportAdapters(
  request: ExportRequest,
  name: string,
  folders: readonly string[],
  out: string,
  job: JobContext,
): Promise<JobResult> {
  const adapter = basename(out).replaceAll(/[^\w-]/g, "-");
  const { delta } = await withResult(out, placeOf(request, [name, ...folders]), async ({ finish }) => {
    const found = await resolveModel(name, folders, job);
    const [delta] = found.deltas;
    const labels = namesOfClasses(found.model);
    await finish((folder) => toHubFolder(folder, delta!, found.model, { name: adapter, base: name, ...(labels ? { labels } : {}) }));
    return { delta: delta! };
  });
  const load = delta.members.length > 0 ? "load_adapter_setup" : "load_adapter";
  return {
    value: { model: request.model, method: delta.method, adapter, out },
    text: `${delta.method} for the library adapters, saved to ${out}: model.${load}(${JSON.stringify(out)}, use_safetensors=True)`,
  };
}

async function exportGgufLora(
  request: ExportRequest,
  name: string,
  folders: readonly string[],
  out: string,
  job: JobContext,
): Promise<JobResult> {
  const layers = await withResultFile(out, { ...placeOf(request, [name, ...folders]), isResult: isGguf }, async (save) => {
    const { parts, base } = await loraOf(name, folders, job);
    await save((file) => writeGgufLora(file, parts, base));
    return Object.keys(parts.layers).length;
  });
  return {
    value: { model: request.model, layers, out },
    text: `${layers} layers of LoRA for llama.cpp, saved to ${out}: llama-cli -m BASE.gguf --lora ${out}`,
  };
}

/** @throws {LfmError} CAPABILITY_MISSING for a delta that is no LoRA */
async function loraOf(
  name: string,
  folders: readonly string[],
  job: JobContext,
): Promise<{ readonly parts: LoraParts; readonly base: GgufLoraBase }> {
  const { base, delta } = await withPeftForm(name, folders, job);
  const scratch = mkdtempSync(join(tmpdir(), "lfm-export-"));
  try {
    await toPeft(scratch, delta, base.model, { base: name });
    const adapter = readPeftAdapter(scratch);
    if (adapter.config.peft_type !== "LORA")
      throw new LfmError("CAPABILITY_MISSING", `lfm: ${folders[0]} is a delta of ${delta.method}: llama.cpp loads LoRA only`, {
        hint: `lfm export ${name}+${folders[0]} --peft OUT`,
      });
    const { architecture, heads = 1, config } = base.model.info;
    const kvHeads = typeof config.num_key_value_heads === "number" ? config.num_key_value_heads : heads;
    return { parts: loraParts(adapter), base: { modelType: architecture, heads, kvHeads } };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
