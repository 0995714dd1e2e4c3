import type { Engine, Model, Rng } from "@lfm/core";
import { createGenerator, type Generator, idsOfText, type TextRules } from "@lfm/models";
import { type Continued, createAnswerScorer, type ScorerOptions } from "./answer-scorer.js";
import { answerTokens } from "./answer-tokens.js";
import type { EditProbe } from "./probes.js";
import type { Generation, ProbeReading } from "./protocols.js";

/** Asks a model questions, and another one on the same base the same, in the same sessions where their edits are of one kind. */
export interface EditReader {
  /**
   * What the model answers: scored token by token, and generated greedily.
   * @throws {LfmError} SHAPE_MISMATCH for a question or an answer without tokens, ABORTED
   */
  read(probes: readonly EditProbe[], signal?: AbortSignal): Promise<readonly ProbeReading[]>;
  /**
   * Texts that begin with the openings, drawn among the five most probable tokens as ROME's evaluation does.
   * @param tokens new ones of each
   */
  write(openings: readonly string[], tokens: number, rng: Rng, signal?: AbortSignal): Promise<readonly string[]>;
  /** Asks another model from now on. @throws {LfmError} PARENT_MISMATCH */
  swap(model: Model): Promise<void>;
  dispose(): Promise<void>;
}

/** Tokens beyond those of the longest answer that are generated, to see where the model ends. */
const BEYOND = 3;
const DRAWN_AMONG = 5;

/** @throws {LfmError} CAPABILITY_MISSING for a model that does not continue a text */
export async function createEditReader(engine: Engine, model: Model, rules: TextRules, options: ScorerOptions = {}): Promise<EditReader> {
  const scorer = await createAnswerScorer(engine, model, options);
  let at = model;
  // Made when something is to be generated, and moved on when something is to be generated again.
  let generator: { readonly of: Generator; model: Model } | undefined;
  const generating = async (): Promise<Generator> => {
    generator ??= { of: await createGenerator(engine, at), model: at };
    if (generator.model !== at) await generator.of.swap(at);
    generator.model = at;
    return generator.of;
  };
  return {
    read: async (probes, signal) => {
      const asked = probes.map((probe) => ({ probe, ...answerTokens(rules, probe.prompt, probe.answer) }));
      const rivals = probes.flatMap(({ prompt, rival }, i) => (rival === undefined ? [] : [{ i, ...answerTokens(rules, prompt, rival) }]));
      const scores = await scorer.score([...asked, ...rivals], signal);
      const rivalOf = new Map(rivals.map(({ i, answer }, k) => [i, { score: scores[asked.length + k]!, tokens: answer }]));
      const spoken = await continued(await generating(), rules, asked, signal);
      return asked.map(({ answer }, i): ProbeReading => {
        const rival = rivalOf.get(i);
        const scored = { answer: scores[i]!, wanted: answer, generated: spoken[i]! };
        return rival ? { ...scored, rival: rival.score, unwanted: rival.tokens } : scored;
      });
    },
    write: async (openings, tokens, rng, signal) => {
      const prompts = openings.map((text) => [...rules.start, ...idsOfText(rules, text)]);
      const stop = signal ? { signal } : {};
      const sampling = { maxNewTokens: tokens, temperature: 1, topK: DRAWN_AMONG, eos: rules.ends, rng, ...stop };
      const written = await (await generating()).generateBatch(prompts, sampling);
      return written.map(({ tokens: ids }, i) => `${openings[i]!} ${rules.tokenizer.decode(ids).trimStart()}`);
    },
    swap: async (to) => {
      await scorer.swap(to);
      at = to;
    },
    dispose: async () => {
      await scorer.dispose();
      await generator?.of.dispose();
    },
  };
}

async function continued(
  generator: Generator,
  rules: TextRules,
  asked: readonly Continued[],
  signal: AbortSignal | undefined,
): Promise<readonly Generation[]> {
  // A question that is asked twice is answered once.
  const prompts = new Map(asked.map(({ prompt }) => [prompt.join(" "), prompt]));
  const keys = [...prompts.keys()];
  const maxNewTokens = Math.max(0, ...asked.map(({ answer }) => answer.length)) + BEYOND;
  const found = await generator.generateBatch([...prompts.values()], { maxNewTokens, eos: rules.ends, ...(signal ? { signal } : {}) });
  const byKey = new Map(
    keys.map((key, i) => {
      const { tokens, finish } = found[i]!;
      return [key, generationOf(rules.tokenizer.decode(tokens), finish === "eos")] as const;
    }),
  );
  return asked.map(({ prompt }) => byKey.get(prompt.join(" "))!);
}

/** A text up to the end of its line or sentence. */
function generationOf(text: string, eos: boolean): Generation {
  const trimmed = text.trimStart();
  const end = trimmed.search(/\n|[.!?](?:\s|$)/);
  return end < 0 ? { text: trimmed, ended: eos } : { text: trimmed.slice(0, end).trimEnd(), ended: true };
}
