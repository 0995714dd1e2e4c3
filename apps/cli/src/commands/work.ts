import type { Paradigm } from "@lfm/core";
import type { Command } from "commander";
import { loadMethods, verbs } from "../paradigms.js";
import type { Invocation } from "../program/invocation.js";

/** What the verbs that run one method are for. `merge` has a place of its own: it takes files of mergekit too. */
const descriptions: Readonly<Record<Exclude<Paradigm, "reuse">, string>> = {
  tuning: "adapt a model to data: full fine-tuning, LoRA, adapters, prompts",
  distillation: "teach a small model what a large one knows, with or without data",
  meta: "learn to learn from few examples on a family of tasks",
  editing: "change one fact that a language model holds",
  retrieval: "run a retrieval method over documents and queries, or answer from what is found",
  probe: "attack a model of your own: what it gives away of its training data, and what breaks it",
};

/** `lfm tune|distill|meta|edit|retrieve|probe METHOD …`. A verb's methods are loaded only when it is called. */
export async function registerWork(program: Command, invocation: Invocation): Promise<void> {
  for (const paradigm of ["tuning", "distillation", "meta", "editing", "retrieval", "probe"] as const) {
    const name = verbs[paradigm];
    const command = program.command(name).description(descriptions[paradigm]).usage("METHOD [options]");
    const [asked, about] = invocation.argv;
    if (asked !== name && !(asked === "help" && about === name)) continue;
    const { addMethod } = await import("./method-command.js");
    for (const method of await loadMethods[paradigm]()) addMethod(command.command(method.id), name, method, invocation);
    if (paradigm === "meta") (await import("./meta-answers.js")).registerMetaAnswers(command, invocation);
    if (paradigm === "editing") (await import("./look-into.js")).registerLookInto(command, invocation);
  }
}
