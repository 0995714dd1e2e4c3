import type { Command, Option } from "commander";
import { collects } from "./flag-values.js";

/**
 * An option that has one value may be given once: of two values the last would win without a word. Those that collect (see {@link collecting}) may
 * be given as often as one likes. Holds for a command and all below it.
 */
export function refuseTwice(command: Command): void {
  for (const below of command.commands) refuseTwice(below);
  const given = new Map<string, string>();
  for (const option of command.options) {
    if (option.parseArg !== undefined && collects(option.parseArg)) continue;
    // `--x` and `--no-x` are one option.
    const name = option.attributeName();
    command.on(`option:${option.name()}`, (value: string | null | undefined) => {
      const now = typeof value === "string" ? `${option.long} ${value}` : option.long!;
      const before = given.get(name);
      given.set(name, now);
      if (before !== undefined) command.error(twice(option, before, now), { code: "lfm.givenTwice" });
    });
  }
}

function twice(option: Option, before: string, now: string): string {
  return `error: ${before === now ? `${now} is given twice` : `${before} and ${now} are both given`}; ${option.long} has one value`;
}
