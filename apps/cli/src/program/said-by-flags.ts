import { isLfmError, LfmError } from "@lfm/core";
import type { Option } from "commander";
import { z } from "zod";

/** What zod found wrong with a method's options: `details` of the error that parseConfig throws. */
const wrongOptions = z.looseObject({
  method: z.string(),
  issues: z.array(z.looseObject({ path: z.array(z.union([z.string(), z.number()])), message: z.string() })).min(1),
});

/**
 * An error as someone says it who typed flags: options are called by their flags (`--lora-alpha`), not by their keys (`loraAlpha`, `lora_alpha`).
 * @param options of the command that was typed
 */
export function saidByFlags(error: unknown, options: readonly Option[]): unknown {
  if (!isLfmError(error)) return error;
  const flags = new Map(options.flatMap((o) => (o.negate ? [] : keysOf(o).map((key) => [key, o.long ?? key] as const))));
  const wrong = error.code === "CONFIG_INVALID" ? wrongOptions.safeParse(error.details) : undefined;
  if (wrong?.success) {
    const { method, issues } = wrong.data;
    const said = issues.map(({ path: [key, ...within], message }) => {
      const flag = flags.get(String(key));
      return `${[flag ?? key, ...within].filter((part) => part !== undefined).join(", ")}${key === undefined ? "" : ": "}${message}`;
    });
    return retold(error, `${method}: ${said.join("; ")}`, `lfm methods show ${method}`);
  }
  const spoken = [...flags].filter(([key]) => /[A-Z_]/.test(key));
  const say = (text: string): string => spoken.reduce((s, [key, flag]) => s.replace(wordOf(key), flag), text);
  return retold(error, say(error.message), error.hint === undefined ? undefined : say(error.hint));
}

/** `--lora-alpha` → loraAlpha, and lora_alpha as files of mergekit and PEFT have it. */
function keysOf(option: Option): readonly string[] {
  return [option.attributeName(), option.name().replaceAll("-", "_")];
}

/** The key where it stands for itself: no part of a longer word, a path or a flag. */
function wordOf(key: string): RegExp {
  return new RegExp(`(?<![\\w./-])${key}(?![\\w/-])`, "g");
}

function retold(error: LfmError, message: string, hint: string | undefined): LfmError {
  if (message === error.message && hint === error.hint) return error;
  const again = new LfmError(error.code, message, { details: error.details, cause: error.cause, ...(hint === undefined ? {} : { hint }) });
  if (error.stack) again.stack = error.stack;
  return again;
}
