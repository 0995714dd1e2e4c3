import type { Delta, HostTensor, Model, Monitor } from "@lfm/core";
import type { Run } from "@lfm/data";
import type { EditorScores, TrainedEditor } from "@lfm/editing";
import type { PeftConfigInput } from "@lfm/formats";
import type { MetaOutput } from "@lfm/meta";
import type { Findings } from "@lfm/probe";
import type { RagAnswer } from "@lfm/retrieval";

/** What methods hand back: of these fields those that a method fills. */
export interface Found {
  /** A delta on the first model. */
  readonly delta?: Delta;
  readonly model?: Model;
  readonly student?: Model;
  /** Parameters and config.json of a model of another architecture. */
  readonly params?: Readonly<Record<string, HostTensor>>;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly adapter?: { readonly config: PeftConfigInput; readonly tensors: Readonly<Record<string, HostTensor>> };
  /** An editor that was trained, facts that it learned from and that it is measured on, and what it scores there. */
  readonly editor?: TrainedEditor;
  readonly cases?: { readonly train: number; readonly heldOut: number };
  readonly heldOut?: EditorScores;
  readonly run?: Run;
  readonly answers?: readonly RagAnswer[];
  readonly predict?: MetaOutput["predict"];
  readonly norm?: MetaOutput["norm"];
  readonly monitors?: readonly Monitor[];
  readonly curves?: Readonly<Record<string, readonly (readonly [number, number])[]>>;
  /** What an attack found of a model, and of the same before its adaptation. */
  readonly findings?: Findings;
  readonly before?: Findings;
  // what is said of a result
  /** Rows that a black box was asked about. */
  readonly queries?: number;
  readonly layers?: readonly { readonly path: string; readonly rank: number; readonly energy: number }[];
  readonly omitted?: readonly string[];
  readonly chosen?: readonly string[];
  readonly alone?: Readonly<Record<string, number>>;
  readonly score?: number;
  readonly weights?: Readonly<Record<string, number>>;
  /** Of each model by parameter, in the order of the models. */
  readonly coefficients?: Readonly<Record<string, readonly number[]>>;
}

/** The output of a method under the names above; a list is a list of answers. */
export function foundOf(output: unknown): Found {
  return Array.isArray(output) ? { answers: output as readonly RagAnswer[] } : (output as Found);
}

/** Something said of a result: as data for --json and report.json, and as lines of text. */
export interface Said {
  readonly value: Readonly<Record<string, unknown>>;
  readonly lines: readonly string[];
}

export const nothing: Said = { value: {}, lines: [] };
