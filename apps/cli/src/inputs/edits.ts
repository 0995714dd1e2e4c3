import { LfmError } from "@lfm/core";
import type { EditRequest } from "@lfm/editing";
import { requireTokenizer } from "./models.js";
import type { Sources } from "./sources.js";

/** A fact as it was given and as a model reads it. */
export interface WrittenEdit {
  /** The prompt with its subject. */
  readonly prompt: string;
  readonly target: string;
  readonly request: EditRequest;
}

/** @throws {LfmError} CONFIG_INVALID for a prompt without {}, a target that joins its last word, and words that the model has no token for */
export function openEdit(s: Sources): Promise<WrittenEdit> {
  return s.once("edit", async () => {
    const m = await s.reader();
    const [template, subject, target] = [s.text("prompt")!, s.text("subject")!, s.text("target")!];
    const [before, ...rest] = template.split("{}");
    if (rest.length !== 1)
      throw new LfmError("CONFIG_INVALID", "lfm: the prompt must hold {} once, where the subject stands", {
        hint: `--prompt "the home of {} is"`,
      });
    const { specials } = requireTokenizer(m);
    const { encode, start } = await plainEncoder(s);
    const prompt = template.replace("{}", subject);
    const ids = [...start, ...encode(prompt)];
    // Tokens of the target as it follows the prompt: what is added when both are read together.
    const whole = [...start, ...encode(`${prompt} ${target}`)];
    const answer = whole.slice(ids.length);
    if (answer.length === 0 || ids.some((id, i) => whole[i] !== id))
      throw new LfmError("CONFIG_INVALID", "lfm: the target does not follow the prompt as words of its own");
    const { unk } = specials;
    if (unk !== undefined && whole.includes(unk)) {
      const word = `${prompt} ${target}`.split(" ").find((w) => encode(w).includes(unk));
      throw new LfmError("CONFIG_INVALID", `lfm: ${m.name} has no token for "${word ?? "a word"}"`);
    }
    const subjectEnd = [...start, ...encode(`${before}${subject}`)].length - 1;
    return { prompt, target, request: { prompt: ids, subjectEnd, target: answer } };
  });
}

async function plainEncoder(s: Sources): Promise<{ encode(text: string): readonly number[]; start: readonly number[] }> {
  const tokenizer = requireTokenizer(await s.reader());
  const { bos } = tokenizer.specials;
  return { encode: (text) => [...tokenizer.encode(text, { addSpecialTokens: false }).ids], start: bos === undefined ? [] : [bos] };
}
