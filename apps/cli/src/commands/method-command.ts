import type { AnyMethod, Paradigm } from "@lfm/core";
import { type FieldInput, inputsOf } from "@lfm/core/method-inputs";
import { type Command, Option } from "commander";
import type { z } from "zod";
import type { Flag } from "../inputs/kind-flags.js";
import { checkGiven, flagsOf, usageOf } from "../inputs/kinds.js";
import { act, type Invocation, withCommonOptions } from "../program/invocation.js";
import type { VerbOptions } from "../program/job.js";
import { resultPlace, withComputeOptions } from "./compute-options.js";
import { collect } from "./flag-values.js";
import { takeRunFile, withRunFile } from "./run-file.js";
import { addSchemaFlags, givenOptions } from "./schema-flags.js";

/** Paradigms whose methods have learning curves. */
const LEARNS: readonly Paradigm[] = ["tuning", "distillation", "meta"];

/**
 * Makes a command of a method: the flags of its inputs come from their kinds, those of its options from its schema.
 * @param verb what stands before the method's id
 */
export function addMethod(command: Command, verb: string, method: AnyMethod, invocation: Invocation): Command {
  withMethod(command, verb, method);
  if (method.paradigm === "tuning" && "start" in method)
    command
      .option("--plan", "show what would learn, and which layers would not; train nothing")
      .option("--whole", "save the whole model with what was learned in its weights, a folder that transformers loads, instead of a delta");
  return command.action(methodAction(command, verb, method, invocation, "method"));
}

/** The flags of a method: of its inputs, its options, its result. */
export function withMethod(command: Command, verb: string, method: AnyMethod): Command {
  const inputs = inputsOf(method);
  const place = placeOf(verb, method);
  withRunFile(withComputeOptions(withCommonOptions(command.description(method.summary))))
    .argument("[out]", "where the result goes, as --out")
    .option("--out <dir>", `where the result goes (default ${place})`)
    .option("--overwrite", "replace the folder of the result")
    .option("--fresh", "start over: drop what a stopped run has learned in that place")
    .usage(`${verb === "merge" ? `${method.id} ` : ""}${usageOf(inputs)} [options] [out]`);
  for (const flag of flagsOf(inputs)) command.addOption(optionFor(flag));
  for (const { options } of optionsOf(inputs)) addSchemaFlags(command, options);
  // What lies on a model is as exact as it was learned; whole weights may be narrowed.
  if (verb === "merge" && !inputs.some((i) => ["parent", "deltas", "adapters", "model-name"].includes(i.kind)))
    command.addOption(new Option("--dtype <dtype>", "dtype of the result [f32]").choices(["f32", "bf16", "f16"]));
  if (LEARNS.includes(method.paradigm)) command.option("--tensorboard", "write the learning curves as an event file of TensorBoard too");
  withPresets(command, method);
  return addSchemaFlags(command, method.config);
}

/** Inputs that bring options of their own. */
function optionsOf(inputs: readonly FieldInput[]): readonly { readonly field: string; readonly options: z.ZodObject }[] {
  return inputs.flatMap(({ field, options }) => (options ? [{ field, options }] : []));
}

const placeOf = (verb: string, method: AnyMethod): string => `lfm-out/${verb}-${method.id}`;

/** What a method's command does: reads what was given, checks it, and has the job done. */
export function methodAction(
  command: Command,
  verb: string,
  method: AnyMethod,
  invocation: Invocation,
  job: "method" | "sweep" | "eval-edits",
): (...given: unknown[]) => Promise<void> {
  const inputs = inputsOf(method);
  return (...given) => {
    const last = given[given.length - 3];
    return act(invocation, command.opts<VerbOptions>(), async (console) => {
      await takeRunFile(command);
      const options = command.opts<VerbOptions>();
      const out = (await resultPlace(typeof last === "string" ? last : undefined, options)) ?? placeOf(verb, method);
      const { parseConfig } = await import("@lfm/core");
      const config = givenOptions(command, method.config);
      await checkGiven(method.id, inputs, parseConfig(method, config, options.preset), options);
      const inputOptions = Object.fromEntries(optionsOf(inputs).map(({ field, options }) => [field, givenOptions(command, options)]));
      const request = { ...options, out, method: `${method.paradigm}/${method.id}`, config, inputOptions };
      return (await import("../program/run-verb.js")).runVerb(options.plan === true ? "plan" : job, request, console, invocation);
    });
  };
}

/** Named settings of a method, where it has any. */
export function withPresets(command: Command, method: AnyMethod): Command {
  const presets = Object.keys(method.presets ?? {});
  if (presets.length === 0) return command;
  return command.addOption(new Option("--preset <name>", "named settings; flags override them").choices(presets));
}

function optionFor({ name, value, text, read, many, default: preset, choices }: Flag): Option {
  const option = new Option(`--${name} ${value}`.trim(), text);
  if (many) option.argParser(collect);
  if (read) option.argParser(read);
  if (choices) option.choices(choices);
  return preset === undefined ? option : option.default(preset);
}
