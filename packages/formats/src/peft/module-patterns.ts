import { LfmError } from "@lfm/core";
import { RE2JS } from "re2js";

/** Characters of a pattern: names of modules are shorter by far. */
const LONGEST = 1000;
/** Steps (states × characters) of all comparisons of one file; about a second. Hundreds of patterns over hundreds of layers stay below a tenth. */
const MOST_STEPS = 1e8;

/** Values by patterns of module names, as `rank_pattern` and `alpha_pattern` have them. */
export interface ModulePatterns {
  /** The value of the first pattern that is, as a regular expression, the path or its end after a dot; as PEFT looks it up. */
  of(path: string): number | undefined;
}

/**
 * Patterns come with the file and are not trusted: they are matched in time linear in the path (RE2), not by backtracking.
 * @throws {LfmError} FILE_FORMAT for what is no regular expression; OP_UNSUPPORTED for one that cannot be matched in linear time (looking ahead or
 *   back, references to groups); BUDGET_EXCEEDED where comparing would take long, here or in `of`
 */
export function modulePatterns(what: string, values: Readonly<Record<string, number>> | null | undefined): ModulePatterns {
  const patterns = Object.entries(values ?? {}).map(([key, value]) => ({ value, fits: matcher(what, key) }));
  const budget = { left: MOST_STEPS };
  return {
    of: (path) =>
      patterns.find(({ fits: { steps, test } }) => {
        budget.left -= steps(path);
        if (budget.left < 0)
          throw new LfmError(
            "BUDGET_EXCEEDED",
            `[@lfm/formats] LoRA: ${what} has ${patterns.length} patterns, too many to compare with every module`,
            {
              hint: "name modules by their paths",
            },
          );
        return test(path);
      })?.value,
  };
}

interface Matcher {
  steps(path: string): number;
  test(path: string): boolean;
}

function matcher(what: string, key: string): Matcher {
  if (key.length > LONGEST)
    throw new LfmError("BUDGET_EXCEEDED", `[@lfm/formats] LoRA: a pattern of ${what} has ${key.length} characters, more than ${LONGEST}`);
  return plainMatcher(key) ?? linearMatcher(what, key);
}

/** A path or the end of one, as most programs write them: `q_proj`, `^model\.layers\.0\.mlp\.up_proj$`; a dot stands for any character. */
function plainMatcher(key: string): Matcher | undefined {
  const plain = /^(\^?)((?:[\w-]|\\?\.)+)\$?$/.exec(key);
  if (!plain) return undefined;
  const [, anchor, body] = plain as unknown as readonly [string, string, string];
  // A dot that is meant stands as itself, one for any character as nothing.
  const parts = body.match(/\\\.|./g)!.map((c) => (c === "\\." ? "." : c === "." ? undefined : c));
  const test = (path: string): boolean => {
    const start = path.length - parts.length;
    if (start < 0 || (start > 0 && (anchor !== "" || path[start - 1] !== "."))) return false;
    for (let i = parts.length - 1; i >= 0; i--) if (parts[i] !== undefined && parts[i] !== path[start + i]) return false;
    return true;
  };
  return { steps: () => 1, test };
}

function linearMatcher(what: string, key: string): Matcher {
  let inner: RE2JS;
  try {
    inner = RE2JS.compile(`(?:.*\\.)?(?:${key})`);
    RE2JS.compile(key);
  } catch (cause) {
    const backtracks = /\(\?<?[=!]|\\[1-9]|\(\?P=/.test(key);
    throw new LfmError(
      backtracks ? "OP_UNSUPPORTED" : "FILE_FORMAT",
      backtracks
        ? `[@lfm/formats] LoRA: the pattern "${key}" of ${what} looks around or back, which can take for ever`
        : `[@lfm/formats] LoRA: the pattern "${key}" of ${what} is no regular expression`,
      { cause, hint: "name the modules by their paths" },
    );
  }
  const size = inner.programSize();
  return { steps: (path) => size * path.length, test: (path) => inner.testExact(path) };
}
