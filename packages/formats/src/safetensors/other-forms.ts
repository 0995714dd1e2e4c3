import { join } from "node:path";
import { LfmError } from "@lfm/core";

/** A form of weights that is not read, and the line that makes safetensors of it. */
interface OtherForm {
  readonly what: string;
  readonly endings: RegExp;
  /** @param to name of the file that it shall become, where that is not the model's */
  convert(folder: string, file: string, to?: string): string;
}

const forms: readonly OtherForm[] = [
  {
    what: "pickled weights, which can run code",
    endings: /\.(bin|pt|pth|ckpt)$/,
    convert: (folder, file, target = "model.safetensors") => {
      const name = file.replace(/-\d+-of-\d+(\.\w+)$/, "-*$1");
      const all = `glob.glob(${python(join(folder, name))})`;
      const tensors = `{k: v.contiguous().clone() for f in sorted(${all}) for k, v in torch.load(f, map_location="cpu", weights_only=True).items()}`;
      const to = python(join(folder, target));
      return `python -c ${shell(`import glob, torch; from safetensors.torch import save_file; save_file(${tensors}, ${to}, {"format": "pt"})`)}`;
    },
  },
  {
    what: "a GGUF file",
    endings: /\.gguf$/,
    convert: (folder, file) => `lfm convert ${shell(join(folder, file))} ${shell(`${folder}-converted`)}`,
  },
  {
    what: "weights of TensorFlow",
    endings: /\.h5$/,
    convert: (folder) =>
      `pip install "transformers<5" tensorflow && python -c ${shell(`from transformers import AutoModel as M; M.from_pretrained(${python(folder)}, from_tf=True).save_pretrained(${python(folder)})`)}`,
  },
  {
    what: "weights of Flax",
    endings: /\.msgpack$/,
    convert: (folder) =>
      `pip install "transformers<5" flax && python -c ${shell(`from transformers import AutoModel as M; M.from_pretrained(${python(folder)}, from_flax=True).save_pretrained(${python(folder)})`)}`,
  },
];

/** Files beside weights that end like them. */
const NO_WEIGHTS = /^(training_args|optimizer|scheduler|rng_state.*)\.(bin|pt|pth)$/;

/** The form that a file's name tells, undefined for one that may be safetensors. */
export function formOf(file: string): OtherForm | undefined {
  return NO_WEIGHTS.test(file) ? undefined : forms.find((form) => form.endings.test(file));
}

/** Why a folder's weights are not read, with the line that converts them where there is one. @param names files of the folder */
export function unread(folder: string, names: readonly string[]): LfmError {
  const file = names.find((name) => formOf(name) !== undefined);
  const form = file === undefined ? undefined : formOf(file);
  const what = form ? `, but ${file}: ${form.what}` : "";
  return new LfmError(
    "FILE_FORMAT",
    `[@lfm/formats] ${folder} holds no safetensors file${what}`,
    form ? { hint: form.convert(folder, file!) } : {},
  );
}

/** A text in Python, and in JSON as it happens. */
function python(text: string): string {
  return JSON.stringify(text);
}

function shell(text: string): string {
  return /^[\w./=:@-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}
