import { existsSync } from "node:fs";
import { join } from "node:path";
import { type HostTensor, inputKind, LfmError, loadWeight } from "@lfm/core";
import { readSafetensors, writeSafetensors } from "@lfm/formats";
import { z } from "zod";

/** An editor that has learned to edit one model: a small network, as it is saved. */
export interface TrainedEditor {
  /** Id of the method that edits with it. */
  readonly method: string;
  /** What its tensors are laid out by, as that method reads it. */
  readonly config: Readonly<Record<string, unknown>>;
  /** Hash of the model that it learned to edit. */
  readonly parent: string;
  readonly tensors: Readonly<Record<string, HostTensor>>;
}

/** An editor that has learned to edit the model. */
export const trainedEditorInput = inputKind<TrainedEditor>("editor");

const FILE = "editor.safetensors";
const FORMAT = "lfm-editor";

/** One safetensors file in the folder; method, layout and the hash of the model stand in its header. @throws {LfmError} FILE_IO */
export async function saveEditor(folder: string, { method, config, parent, tensors }: TrainedEditor): Promise<string> {
  const path = join(folder, FILE);
  await writeSafetensors(path, tensors, { metadata: { format: FORMAT, method, config: JSON.stringify(config), parent } });
  return path;
}

const metadata = z.object({
  format: z.literal(FORMAT),
  method: z.string(),
  parent: z.string(),
  config: z.string().transform((text, issue) => {
    try {
      return z.record(z.string(), z.unknown()).parse(JSON.parse(text));
    } catch {
      issue.addIssue("is no JSON object");
      return z.NEVER;
    }
  }),
});

/** Reads what {@link saveEditor} wrote, whole. @param place the folder, or the file in it @throws {LfmError} FILE_FORMAT, FILE_IO */
export function loadEditor(place: string): TrainedEditor {
  const path = existsSync(join(place, FILE)) ? join(place, FILE) : place;
  const file = readSafetensors(path);
  const parsed = metadata.safeParse(file.metadata);
  if (!parsed.success)
    throw new LfmError("FILE_FORMAT", `[@lfm/editing] ${path} holds no trained editor: ${z.prettifyError(parsed.error)}`, {
      hint: "saveEditor and `lfm edit train-mend` write such files",
    });
  const { format: _format, ...known } = parsed.data;
  return { ...known, tensors: Object.fromEntries(Object.entries(file.tensors).map(([name, t]) => [name, loadWeight(t)])) };
}

/**
 * The editor, if it is one of this method for this model.
 * @param hash of the model's weights
 * @throws {LfmError} CONFIG_INVALID where none is given, or one of another method; PARENT_MISMATCH for one that learned on another model
 */
export function requireEditor(editor: TrainedEditor | undefined, method: string, hash: string): TrainedEditor {
  const hint = `train one: lfm edit train-${method} --model MODEL --requests edits.jsonl --out editor`;
  if (!editor)
    throw new LfmError("CONFIG_INVALID", `[@lfm/editing] ${method} edits with an editor that was trained for the model`, { hint });
  if (editor.method !== method)
    throw new LfmError("CONFIG_INVALID", `[@lfm/editing] the editor is one of ${editor.method}, not of ${method}`, { hint });
  if (editor.parent !== hash)
    throw new LfmError("PARENT_MISMATCH", "[@lfm/editing] the editor learned to edit another model", {
      details: { expected: editor.parent, found: hash },
      hint,
    });
  return editor;
}
