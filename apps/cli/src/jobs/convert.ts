import { existsSync, readdirSync, statSync } from "node:fs";
import { LfmError } from "@lfm/core";
import { type ConvertGgufOptions, convertGguf } from "@lfm/formats";
import { withResult } from "../outputs/result-folder.js";
import type { JobContext, JobRequest, JobResult } from "../program/job.js";

interface ConvertRequest extends JobRequest {
  readonly file: string;
  readonly out: string;
  readonly dtype: NonNullable<ConvertGgufOptions["dtype"]>;
  readonly shardSize?: number;
  readonly tokenizer: boolean;
  readonly ignoreMetadata?: readonly string[];
  readonly overwrite?: boolean;
}

/** `lfm convert`: a GGUF file becomes a folder. */
export async function convert(request: ConvertRequest, job: JobContext): Promise<JobResult> {
  const { file, out, dtype, shardSize, tokenizer, ignoreMetadata, overwrite = false } = request;
  requireGguf(file);
  const converted = await withResult(out, { overwrite, inputs: [file] }, ({ finish }) =>
    finish((folder) =>
      convertGguf(file, folder, {
        dtype,
        tokenizer,
        ...(shardSize === undefined ? {} : { maxShardBytes: shardSize }),
        ...(ignoreMetadata ? { ignoreMetadata } : {}),
        ...(job.signal ? { signal: job.signal } : {}),
        progress: (p) => job.progress(p),
      }),
    ),
  );
  const { architecture, parameters, types, notes } = converted;
  for (const note of notes) job.log(note);
  const held = Object.entries(types).map(([type, n]) => `${n} ${type}`);
  return {
    value: { ...converted, out },
    text: `${architecture}: ${parameters.toLocaleString("en")} parameters (${held.join(", ")}) as ${dtype}, saved to ${out}`,
  };
}

const PICKLED = /\.(bin|pt|pth|ckpt)$/;

/** @throws {LfmError} CONFIG_INVALID for what is no GGUF file, with the way that there is */
function requireGguf(file: string): void {
  if (!existsSync(file)) throw new LfmError("FILE_IO", `lfm: ${file} does not exist`);
  const folder = statSync(file).isDirectory();
  const names = folder ? readdirSync(file) : [file];
  const within = names.find((name) => name.endsWith(".gguf"));
  if (!folder && within !== undefined) return;
  if (names.some((name) => name.endsWith(".safetensors")))
    throw new LfmError("CONFIG_INVALID", `lfm: ${file} is read as it is: nothing has to be converted`, { hint: "--model with its folder" });
  if (names.some((name) => PICKLED.test(name)))
    throw new LfmError("CONFIG_INVALID", `lfm: ${file} is a pickle: it can run code when it is opened, and is not read`, {
      hint: `python -c "from transformers import AutoModelForCausalLM as M; M.from_pretrained('${folder ? file : "FOLDER"}').save_pretrained('OUT')"`,
    });
  throw new LfmError("CONFIG_INVALID", `lfm: ${file} is no GGUF file`, {
    hint: within === undefined ? "lfm convert model.gguf OUT" : `lfm convert ${file}/${within} OUT`,
  });
}
