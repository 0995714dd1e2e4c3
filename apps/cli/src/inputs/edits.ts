import { LfmError } from "@lfm/core";
import { readTextFile } from "@lfm/data";
import type { EditRequest } from "@lfm/editing";
import { idsOfText } from "@lfm/models";
import { joint } from "@lfm/tuning";
import { z } from "zod";
import { type OpenedModel, requireText } from "./models.js";
import type { Sources } from "./sources.js";

/** A fact as it was given and as a model reads it. */
export interface WrittenEdit {
  /** The prompt with its subject. */
  readonly prompt: string;
  readonly target: string;
  readonly request: EditRequest;
}

const fact = z.strictObject({ prompt: z.string(), subject: z.string().min(1), target: z.string().min(1) });
type Fact = z.output<typeof fact>;

/**
 * The fact of the flags, or those of --requests.
 * @throws {LfmError} CONFIG_INVALID for a prompt without {}, a target that joins its last word, and words that the model has no token for;
 *   FILE_FORMAT for a line that is no fact; both name the line; FILE_IO
 */
export function openEdits(s: Sources): Promise<readonly WrittenEdit[]> {
  return s.once("edits", async () => {
    const m = await s.reader();
    const file = s.text("requests");
    if (file === undefined) return [written({ prompt: s.text("prompt")!, subject: s.text("subject")!, target: s.text("target")! }, m, "")];
    return readFacts(file).map(([line, given]) => written(given, m, `${file}:${line}: `));
  });
}

/** Facts with the numbers of their lines; empty lines are passed over. */
function readFacts(file: string): readonly (readonly [line: number, fact: Fact])[] {
  const found = readTextFile(file, `--requests is a file of facts, ${EXAMPLE}`)
    .split("\n")
    .flatMap((text, i) => (text.trim() === "" ? [] : [[i + 1, readFact(text, `${file}:${i + 1}`)] as const]));
  if (found.length > 0) return found;
  throw new LfmError("FILE_FORMAT", `lfm: ${file} holds no facts`, { hint: EXAMPLE });
}

const EXAMPLE = 'a line each: {"prompt": "the home of {} is", "subject": "Ada", "target": "Paris"}';

function readFact(text: string, place: string): Fact {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new LfmError("FILE_FORMAT", `lfm: ${place}: is no JSON`, { cause, hint: EXAMPLE });
  }
  const parsed = fact.safeParse(json);
  if (parsed.success) return parsed.data;
  throw new LfmError("FILE_FORMAT", `lfm: ${place}: is no fact: ${z.prettifyError(parsed.error)}`, { hint: EXAMPLE });
}

/** @param place stands before what is wrong */
function written({ prompt: template, subject, target }: Fact, m: OpenedModel, place: string): WrittenEdit {
  const [before, after, ...rest] = template.split("{}");
  if (before === undefined || after === undefined || rest.length > 0)
    throw new LfmError("CONFIG_INVALID", `lfm: ${place}the prompt must hold {} once, where the subject stands`, {
      hint: `--prompt "the home of {} is"`,
    });
  const rules = requireText(m);
  const encode = (text: string): readonly number[] => [...rules.start, ...idsOfText(rules, text)];
  const prompt = `${before}${subject}${after}`;
  const ids = encode(prompt);
  // Tokens of the target as it follows the prompt: what is added when both are read together.
  const statement = `${prompt}${joint(prompt, target)}`;
  const whole = encode(statement);
  if (whole.length > (rules.maxLength ?? whole.length))
    throw new LfmError("CONFIG_INVALID", `lfm: ${place}the fact has ${whole.length} tokens, ${m.name} reads ${rules.maxLength}`);
  const answer = whole.slice(ids.length);
  if (answer.length === 0 || ids.some((id, i) => whole[i] !== id))
    throw new LfmError("CONFIG_INVALID", `lfm: ${place}the target does not follow the prompt as words of its own`);
  const { unk } = rules.tokenizer.specials;
  if (unk !== undefined && whole.includes(unk)) {
    const word = statement.split(" ").find((w) => idsOfText(rules, w).includes(unk));
    throw new LfmError("CONFIG_INVALID", `lfm: ${place}${m.name} has no token for "${word ?? "a word"}"`);
  }
  return { prompt, target, request: { prompt: ids, subjectEnd: encode(`${before}${subject}`).length - 1, target: answer } };
}
