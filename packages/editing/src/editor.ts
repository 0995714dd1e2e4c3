import {
  type AnyMethod,
  type Delta,
  defineMethod,
  type InputDeclarations,
  joinDeltas,
  LfmError,
  type Method,
  type MethodContext,
  type Model,
  modelInput,
  parentInput,
  previousInput,
  runMethod,
  withDeltas,
} from "@lfm/core";
import type { z } from "zod";
import { type Editor, editInTurn } from "./in-turn.js";
import { type EditingInputs, type EditingOutput, type EditorInputs, editBatchInput, editRequestsInput } from "./inputs.js";

export type { Editor };

/** A method whose work for many edits of one model can be kept. */
export interface EditingMethod<Schema extends z.ZodObject = z.ZodObject> extends Method<EditingInputs, EditingOutput, Schema> {
  /** Compiles and reads nothing yet. */
  prepare(inputs: EditorInputs, config: z.output<Schema>, context: MethodContext): Editor;
}

/** What {@link defineEditingMethod} makes a method of. */
export interface EditingMethodSpec<Schema extends z.ZodObject> extends Omit<EditingMethod<Schema>, "run" | "paradigm" | "inputs"> {
  /** What it is given beside what every editing method is. */
  readonly inputs?: Partial<InputDeclarations<EditingInputs, z.output<Schema>>>;
  /** It knows no batches: its editor writes several facts one after the other. They are then written in turn from the first on. */
  readonly single?: true;
}

/** What every editing method is given. */
const editingInputs = {
  model: modelInput,
  requests: editRequestsInput,
  previous: { kind: previousInput, optional: true, about: "earlier edits" },
  parent: parentInput,
  batch: { kind: editBatchInput, optional: true },
} as const;

/**
 * A method out of its editor: `run` is one edit by an editor of its own, or where facts come in several batches an edit for each, with an editor
 * for all.
 */
export function defineEditingMethod<Schema extends z.ZodObject>({ single, ...spec }: EditingMethodSpec<Schema>): EditingMethod<Schema> {
  const method: EditingMethod<Schema> = {
    ...spec,
    inputs: { ...editingInputs, ...spec.inputs },
    paradigm: "editing",
    run: async ({ requests, previous, batch, ...inputs }, config, context) => {
      const size = batch ?? (single ? 1 : requests.length);
      if (size < requests.length) {
        const given = {
          model: inputs.model,
          requests,
          ...(previous ? { previous } : {}),
          ...(inputs.parent === undefined ? {} : { parent: inputs.parent }),
        };
        const prepare = (run: MethodContext): Editor => spec.prepare(inputs, config, run);
        return editInTurn({ method, config, size, prepare }, given, context);
      }
      const editor = spec.prepare(inputs, config, context);
      try {
        return await editor.edit(requests, previous);
      } finally {
        await editor.dispose();
      }
    },
  };
  defineMethod(method);
  return method;
}

/**
 * The editor of a method, for edit after edit of one model. Dispose it at the end.
 * @throws {LfmError} CAPABILITY_MISSING for a method that is no editor, or without the access that it needs; CONFIG_INVALID
 */
export async function prepareEditor(
  method: AnyMethod,
  inputs: EditorInputs,
  config: unknown,
  context: MethodContext,
  preset?: string,
): Promise<Editor> {
  if (!isEditingMethod(method))
    throw new LfmError("CAPABILITY_MISSING", `[@lfm/editing] ${method.paradigm}/${method.id} prepares no editor: run it edit by edit`);
  const preparing = { ...method, run: async (i: EditorInputs, c: z.output<z.ZodObject>, run: MethodContext) => method.prepare(i, c, run) };
  return runMethod(preparing, inputs, config as z.input<z.ZodObject>, context, preset);
}

function isEditingMethod(method: AnyMethod): method is EditingMethod {
  return "prepare" in method && typeof method.prepare === "function";
}

/** The model that a fact is written into. Earlier edits of one kind become one delta, so that however many share a session. */
export function editedModel(model: Model, previous: readonly Delta[]): Model {
  return withDeltas(model, joinDeltas(previous));
}

/** Something compiled of a model that goes on with another one on the same base. */
export interface OnModel {
  model(): Model;
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/** Something compiled once for the model as it is and once for it with edits on it, each when it is first asked for. */
export class CleanAndEdited<T extends OnModel> {
  private readonly make: (model: Model) => Promise<T>;
  private readonly made: { clean?: T; edited?: T } = {};

  constructor(make: (model: Model) => Promise<T>) {
    this.make = make;
  }

  /** It, on `model`. */
  async on(model: Model, which: "clean" | "edited"): Promise<T> {
    const there = this.made[which];
    if (!there) {
      const made = await this.make(model);
      this.made[which] = made;
      return made;
    }
    if (there.model() !== model) await there.swap(model);
    return there;
  }

  async dispose(): Promise<void> {
    const { clean, edited } = this.made;
    delete this.made.clean;
    delete this.made.edited;
    await clean?.dispose();
    await edited?.dispose();
  }
}
