import { LfmError } from "@lfm/core";
import { idsOfText, type TextRules } from "@lfm/models";
import type { EditRequest } from "./inputs.js";

/** A fact to write, in words. */
export interface FactInWords {
  /** The text up to its answer. */
  readonly prompt: string;
  readonly subject: string;
  /** Where in `prompt` the subject begins; absent where it does not stand there. */
  readonly subjectStart?: number;
  readonly target: string;
  /** Where the fact stands, for messages. */
  readonly at?: string;
}

/**
 * A fact as a model reads it: the prompt, the token that its subject ends in, and the answer as it follows the prompt, with a space between where
 * neither has one.
 * @throws {LfmError} CONFIG_INVALID, naming the place, for a prompt that lacks its subject, an empty subject or target, a target that joins the
 *   prompt's last word, a subject that ends where no token tells, more tokens than the model reads, and words that it has no token for
 */
export function factTokens(rules: TextRules, fact: FactInWords): EditRequest {
  const { prompt, subject, subjectStart, target } = fact;
  if (subject.trim() === "") throw refusal(fact, "the subject is empty");
  if (target.trim() === "") throw refusal(fact, "the target is empty: there is nothing to answer");
  if (subjectStart === undefined)
    throw refusal(
      fact,
      `the prompt lacks its subject ${JSON.stringify(subject)}: "${prompt}"`,
      'write {} where it stands: "the home of {} is"',
    );
  const ids = idsOfText(rules, prompt);
  const statement = /\s$/.test(prompt) || /^\s/.test(target) ? `${prompt}${target}` : `${prompt} ${target}`;
  const whole = idsOfText(rules, statement);
  const { start, maxLength, tokenizer } = rules;
  const length = start.length + whole.length;
  if (maxLength !== undefined && length > maxLength) throw refusal(fact, `the fact has ${length} tokens, the model reads ${maxLength}`);
  const answer = whole.slice(ids.length);
  if (answer.length === 0 || ids.some((id, i) => whole[i] !== id))
    throw refusal(fact, `the target ${JSON.stringify(target)} does not follow the prompt as words of its own`);
  const { unk } = tokenizer.specials;
  if (unk !== undefined && whole.includes(unk)) {
    // A word may have a token of its own behind a space alone.
    const word = statement.split(" ").find((w) => [w, ` ${w}`].every((text) => idsOfText(rules, text).includes(unk)));
    throw refusal(fact, `the model has no token for "${word ?? "a word"}"`);
  }
  const end = lastToken(rules, ids, prompt.slice(0, subjectStart + subject.length));
  if (end === undefined)
    throw refusal(fact, `no token tells where the subject ${JSON.stringify(subject)} ends in "${prompt}"`, "put a space behind {}");
  return { prompt: [...start, ...ids], subjectEnd: start.length + end, target: answer, start: start.length };
}

/**
 * The token that holds the last letter of a text that others begin with. Where the text ends inside of a token ("Adaville" after "Ada"), it is read
 * in other tokens by itself.
 */
function lastToken(rules: TextRules, ids: readonly number[], text: string): number | undefined {
  const alone = idsOfText(rules, text);
  if (alone.length > 0 && alone.every((id, i) => ids[i] === id)) return alone.length - 1;
  const said = text.trimStart();
  const found = ids.findIndex((_, i) =>
    rules.tokenizer
      .decode(ids.slice(0, i + 1))
      .trimStart()
      .startsWith(said),
  );
  return found < 0 ? undefined : found;
}

function refusal({ at }: FactInWords, message: string, hint?: string): LfmError {
  return new LfmError(
    "CONFIG_INVALID",
    `[@lfm/editing] ${at === undefined ? "" : `${at}: `}${message}`,
    hint === undefined ? {} : { hint },
  );
}
