import type { Command, Option } from "commander";
import { collects } from "./flag-values.js";

/** Where a value came from that stands in a run file: the command line wins over it, and it over defaults. */
export const RUN_FILE = "config";

/** Options that say something of the call itself, and have no place in a file. */
const OF_THE_CALL = ["config", "plan", "json", "quiet", "debug"];

/** Adds `--config FILE`; {@link takeRunFile} takes what stands in it. */
export function withRunFile(command: Command): Command {
  return command.option("--config <file>", "YAML or JSON with these options by flag or key; what is typed wins");
}

/** The options that a run file of a command may have. */
export function runFileOptions(command: Command): readonly Option[] {
  return command.options.filter((o) => !o.negate && !OF_THE_CALL.includes(o.attributeName()));
}

/**
 * Takes the options that the file of --config has and the command line has not. Values are read as if they were typed; paths stand to the
 * working directory, as typed ones do.
 * @throws {LfmError} FILE_IO, FILE_FORMAT for what is no mapping, CONFIG_INVALID for an option that the command does not have
 */
export async function takeRunFile(command: Command): Promise<void> {
  const file: unknown = command.getOptionValue("config");
  if (typeof file !== "string") return;
  const { LfmError, nearestName } = await import("@lfm/core");
  const options = runFileOptions(command);
  const names = new Map(options.flatMap((o) => [[o.attributeName(), o] as const, [o.name(), o] as const]));
  const given = new Map<Option, string>();
  for (const [name, value] of Object.entries(await readMapping(file))) {
    const wrong = (what: string, hint?: string): never => {
      throw new LfmError("CONFIG_INVALID", `lfm: ${file}: ${what}`, hint === undefined ? {} : { hint });
    };
    const option = names.get(name);
    if (!option) {
      const near = nearestName(name, names.keys());
      return wrong(
        `there is no option "${name}" here`,
        near ? `did you mean "${near}"?` : `there are: ${options.map((o) => o.name()).join(", ")}`,
      );
    }
    const before = given.get(option);
    if (before !== undefined) return wrong(`${before} and ${name} are one option`);
    given.set(option, name);
    if (value === null || command.getOptionValueSource(option.attributeName()) === "cli") continue;
    const read = readAs(option, value, (what) => wrong(`${name}: ${what}`));
    command.setOptionValueWithSource(option.attributeName(), read, RUN_FILE);
  }
}

async function readMapping(file: string): Promise<Readonly<Record<string, unknown>>> {
  const [{ LfmError }, { readTextFile }, { parse }] = await Promise.all([import("@lfm/core"), import("@lfm/data"), import("yaml")]);
  const text = readTextFile(file, "--config names a YAML or JSON file");
  const bad = (what: string, cause?: unknown): Error =>
    new LfmError("FILE_FORMAT", `lfm: ${file} ${what}`, { hint: "lr: 0.003\ntargetModules: [q, v]", cause });
  let value: unknown;
  try {
    // JSON is YAML too.
    value = parse(text, { maxAliasCount: 0 });
  } catch (cause) {
    throw bad(`is no YAML: ${cause instanceof Error ? cause.message.split("\n")[0] : String(cause)}`, cause);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw bad("holds no options by name");
  return value as Readonly<Record<string, unknown>>;
}

/** A value of a file as the flag's own reader makes it. */
function readAs(option: Option, value: unknown, refuse: (what: string) => never): unknown {
  if (option.isBoolean()) return typeof value === "boolean" ? value : refuse("it is true or false");
  if (typeof value === "boolean") return refuse(`it has a value: ${option.flags}`);
  const { parseArg, argChoices } = option;
  const several = Array.isArray(value);
  const texts = (several ? value : [value]).map((v: unknown) => (typeof v === "string" ? v : JSON.stringify(v)));
  const strange = argChoices && texts.find((t) => !argChoices.includes(t));
  if (strange !== undefined) return refuse(`it is one of ${argChoices!.join(", ")}, not ${strange}`);
  if (several && !(parseArg && collects(parseArg))) return refuse("it has one value");
  if (!parseArg) return texts[0];
  try {
    return texts.reduce<unknown>((before, text) => parseArg(text, before), undefined);
  } catch (error) {
    return refuse(error instanceof Error ? error.message : String(error));
  }
}
