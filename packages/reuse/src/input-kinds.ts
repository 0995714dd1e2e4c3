import { type HostTensor, inputKind } from "@lfm/core";
import type { PeftAdapter } from "@lfm/formats";
import type { DataBatch, Statistics, TaskProbe } from "@lfm/statistics";
import type { Prompts } from "./data-driven/gate-rows.js";
import type { HeldOutBatch } from "./ensembling/held-out.js";

/** LoRA adapters as they lie in files, by name. */
export const adaptersInput = inputKind<Readonly<Record<string, PeftAdapter>>>("adapters");
/** Fisher weights of each model, by its name. */
export const fishersInput = inputKind<Readonly<Record<string, Statistics>>>("fishers");
/** Gram matrices of each model, by its name. */
export const gramsInput = inputKind<Readonly<Record<string, Statistics>>>("grams");
/** Unlabelled examples of each model's task, by its name, with the answers that are looked at. */
export const taskProbesInput = inputKind<Readonly<Record<string, TaskProbe>>>("task-probes");
/** Unlabelled batches that all models read. */
export const examplesInput = inputKind<readonly DataBatch[]>("examples");
/** Labelled batches that no member learned from. */
export const heldOutInput = inputKind<readonly HeldOutBatch[]>("held-out");
/** Score of parameters on examples; under the option `lower_is_better` a loss. */
export const scoreInput = inputKind<(params: Readonly<Record<string, HostTensor>>) => Promise<number> | number>("score");
/** Token ids of what each model shall answer, by its name. */
export const expertPromptsInput = inputKind<Readonly<Record<string, Prompts>>>("expert-prompts");
