/**
 * In-context knowledge editing (IKE, arXiv 2305.12740): new facts stand before every question as words, behind demonstrations of how facts are to be
 * used; nothing is changed. The nearest demonstrations stand last. Of eight, one repeats its fact (copy), three ask in other words (update), and four
 * ask for something else, which is answered as ever (retain).
 */
import {
  type Delta,
  equal,
  expandDims,
  type Hook,
  i32,
  LfmError,
  type MethodContext,
  type Model,
  makeDelta,
  type Rng,
  type Tensor,
  throwIfAborted,
  where,
  withDeltas,
} from "@lfm/core";
import { createPredictor, idsOfText, requireRead, type TextRules, textRulesInput, tokensInFront } from "@lfm/models";
import { z } from "zod";
import { defineEditingMethod, type Editor } from "../editor.js";
import { type EditDemonstration, type EditRequest, promptRows, requireRequests } from "../inputs.js";

/** i32[n] of what stands in front, and i32[1]: what is read in place of the token that a question begins with. */
const [CONTEXT, JOINT] = ["context_tokens", "joint_token"] as const;

const config = z.strictObject({
  before: z.string().default("New Fact: ").describe("what stands before a fact"),
  between: z.string().default("\n").describe("what stands between two facts"),
  after: z.string().default("\nPrompt: ").describe("what stands between the last fact and the question"),
  separator: z.string().default("\n\n").describe("what stands behind a demonstration"),
  shots: z.number().int().min(0).default(32).describe("demonstrations k in front, as many as there are and fit"),
});
type IkeConfig = z.output<typeof config>;

export const ike = defineEditingMethod({
  id: "ike",
  summary: "Puts the new facts, behind demonstrations, before every question; nothing is changed.",
  paper: {
    title: "Can We Edit Factual Knowledge by In-Context Learning?",
    arxiv: "2305.12740",
    year: 2023,
    survey: "7.2 memory-based editing",
  },
  needs: ["activations", "tokenizer"],
  inputs: { text: textRulesInput },
  config,
  presets: {
    ice: { summary: "the facts alone, no demonstrations (ICE)", config: { shots: 0 } },
    zoo: { summary: "sentences of the zoo's world", config: { before: "", between: " . ", after: " . ", separator: " . " } },
  },
  delta: {
    hooks: (_c, t) => [...(t[JOINT] ? [inPlaceOfStart(t[JOINT])] : []), tokensInFront(t[CONTEXT]!)],
    frozen: () => true,
  },
  prepare: ({ model, parent = null, text, demonstrations = [] }, c, context): Editor => {
    if (!text)
      throw new LfmError("CONFIG_INVALID", "[@lfm/editing] ike: facts are put into words, and how the model reads text is not known", {
        hint: "give text: textRules(tokenizer)",
      });
    const encoder = new StatementEncoder(model);
    return {
      edit: async (requests, previous = []) => {
        requireRequests(requests);
        throwIfAborted(context.signal, "[@lfm/editing] ike");
        const questions = requests.flatMap((request) => promptRows(request, [[]]));
        const longest = Math.max(...questions.map((row) => row.tokens.length));
        const most = (model.info.maxLength ?? Number.POSITIVE_INFINITY) - longest;
        const shown = c.shots > 0 ? await encoder.nearest(demonstrations, requests, c.shots, context) : [];
        const demos = inWords(shown, text, c, context.rng.split("demonstrations"));
        const facts = requests.map((request) => `${c.before}${statementOf(request, text)}`).join(c.between);
        const tokens = fitting(demos, `${facts}${c.after}`, text, most);
        context.progress({ phase: "ike", done: 1, total: 1, unit: "prompt" });
        const delta = makeDelta(ike, c, contextTensors(tokens, text), { parent });
        return { delta, model: withDeltas(model, [...previous, delta]), curves: {} };
      },
      dispose: () => encoder.dispose(),
    };
  },
});

/** A question begins with a token that stands at the beginning of a text alone: where something is in front it begins there, and in its place stands the last of that. */
function contextTensors(tokens: readonly number[], { start }: TextRules): Delta["tensors"] {
  if (start.length !== 1) return { [CONTEXT]: i32([...start, ...tokens]) };
  return { [CONTEXT]: i32([...start, ...tokens.slice(0, -1)]), [JOINT]: i32(tokens.slice(-1)) };
}

/** token — i32[1] */
function inPlaceOfStart(token: Tensor): Hook {
  return {
    matches: (site) => site.kind === "embedding",
    sequence: (sequence, _site, { embed }) => {
      if (!embed) throw new LfmError("CAPABILITY_MISSING", "[@lfm/editing] ike: the model embeds no tokens");
      const first = expandDims(equal(sequence.positions, 0), -1);
      return { ...sequence, embeddings: where(first, embed(expandDims(token, 0)), sequence.embeddings) };
    },
  };
}

/** A fact in words, as its tokens spell it. */
function statementOf({ prompt, target }: Pick<EditRequest, "prompt" | "target">, text: TextRules): string {
  return text.tokenizer.decode(withoutStart([...prompt, ...target], text));
}

function withoutStart(tokens: readonly number[], { start }: TextRules): readonly number[] {
  return start.every((token, i) => tokens[i] === token) ? tokens.slice(start.length) : tokens;
}

const kinds = ["copy", "update", "update", "update", "retain", "retain", "retain", "retain"] as const;

/** Demonstrations as they stand, each with what is behind it. */
function inWords(cases: readonly EditDemonstration[], text: TextRules, c: IkeConfig, rng: Rng): readonly string[] {
  const drawn = rng.split("kinds").shuffle(cases.map((_, i) => kinds[i % kinds.length]!));
  return cases.map(({ request, paraphrases, unrelated }, i) => {
    const own = rng.split(i);
    const kind = drawn[i]!;
    const asked =
      kind === "update" && paraphrases.length > 0
        ? statementOf(own.pick(paraphrases), text)
        : kind === "retain" && unrelated.length > 0
          ? text.tokenizer.decode(withoutStart(own.pick(unrelated), text))
          : statementOf(request, text);
    return `${c.before}${statementOf(request, text)}${c.after}${asked}${c.separator}`;
  });
}

/** As many of the nearest demonstrations as fit, and the facts. @throws {LfmError} CONFIG_INVALID where these alone do not fit, and for words without a token */
function fitting(demonstrations: readonly string[], facts: string, text: TextRules, most: number): readonly number[] {
  for (let left = 0; left <= demonstrations.length; left++) {
    const tokens = idsOfText(text, `${demonstrations.slice(left).join("")}${facts}`);
    if (tokens.length + text.start.length > most) continue;
    requireRead(text, tokens);
    return tokens;
  }
  throw new LfmError(
    "CONFIG_INVALID",
    `[@lfm/editing] ike: the facts do not fit into the ${most} tokens that the model reads before the question`,
    {
      hint: "write fewer facts into one delta",
    },
  );
}

/** Nearness of facts: the cosine of what the model itself makes of them, the mean of its last states. */
class StatementEncoder {
  private predictor: Awaited<ReturnType<typeof createPredictor>> | undefined;
  private known: { readonly cases: readonly EditDemonstration[]; readonly vectors: readonly Float64Array[] } | undefined;

  constructor(private readonly model: Model) {}

  /** The k nearest to the facts together, the nearest last. */
  async nearest(
    cases: readonly EditDemonstration[],
    facts: readonly EditRequest[],
    k: number,
    context: Pick<MethodContext, "engine" | "signal">,
  ): Promise<readonly EditDemonstration[]> {
    if (cases.length === 0) return [];
    if (this.known?.cases !== cases) {
      const vectors = await this.encode(
        cases.map((c) => c.request),
        context,
      );
      this.known = { cases, vectors };
    }
    const wanted = await this.encode(facts, context);
    const query = wanted[0]!.map((_, j) => wanted.reduce((s, v) => s + v[j]!, 0));
    const scores = this.known.vectors.map((v) => v.reduce((s, x, j) => s + x * query[j]!, 0));
    const order = cases.map((_, i) => i).sort((a, b) => scores[a]! - scores[b]! || b - a);
    return order.slice(-k).map((i) => cases[i]!);
  }

  async dispose(): Promise<void> {
    await this.predictor?.dispose();
    this.predictor = undefined;
  }

  /** Of length 1. */
  private async encode(
    facts: readonly EditRequest[],
    { engine, signal }: Pick<MethodContext, "engine" | "signal">,
  ): Promise<Float64Array[]> {
    this.predictor ??= await createPredictor(engine, this.model, "mean");
    const states = await this.predictor.predict(
      facts.map(({ prompt, target }) => [...prompt, ...target]),
      signal,
    );
    return states.map(({ data }) => {
      const vector = Float64Array.from(data as Float32Array);
      const length = Math.sqrt(vector.reduce((s, v) => s + v * v, 0));
      return vector.map((v) => v / length);
    });
  }
}
