/**
 * Causal tracing (arXiv 2202.05262, section 2.1): noise on the embeddings of the subject takes the answer away; one state put back to what it was
 * without noise gives it back as far as that state carries it.
 *   clean run: p(answer);  corrupted: p*(answer) with ε ~ N(0, ν²) on the subject;  restored at (token, block): p*(answer | clean state there)
 *   indirect effect of a state: restored − corrupted, means over draws of ε
 */
import {
  add,
  compileModel,
  type Dim,
  dimEqual,
  dimSub,
  type Engine,
  expandDims,
  f32,
  gather,
  greater,
  type Hook,
  type HostTensor,
  i32,
  LfmError,
  type MethodContext,
  type Model,
  type Rng,
  type Site,
  type Spec,
  slice,
  softmax,
  squeeze,
  stack,
  sym,
  type Tensor,
  throwIfAborted,
  where,
} from "@lfm/core";

/** What is put back: what a block gives, or what its MLP or its attention alone gives. */
export const tracedParts = ["state", "mlp", "attention"] as const;
export type TracedPart = (typeof tracedParts)[number];

export interface TraceRequest {
  readonly prompt: readonly number[];
  /** The subject's first token, and the place behind its last. */
  readonly subject: readonly [start: number, end: number];
  /** Token whose probability is followed. Default: what the model names first. */
  readonly answer?: number;
}

export interface TraceOptions {
  /** f32[draws, tokens of the subject, hidden]: ε, see {@link subjectNoise}. */
  readonly noise: HostTensor;
  /** Blocks around each whose MLP or attention is put back together. */
  readonly window: number;
  /** Rows that run at once. Default 128. */
  readonly rows?: number;
}

export interface CausalTrace {
  /** Token that was followed. */
  readonly answer: number;
  /** Its probability, as it is and under noise. */
  readonly clean: number;
  readonly corrupted: number;
  /** Its probability with something put back, by part: for each token of the prompt that of every block. */
  readonly restored: Readonly<Partial<Record<TracedPart, readonly (readonly number[])[]>>>;
}

/** A model that can be traced again and again. */
export interface Tracer {
  /** What the model has for these tokens before its first block, f32[tokens, hidden]. */
  embeddings(prompt: readonly number[]): Promise<HostTensor>;
  /** @throws {LfmError} CONFIG_INVALID for a subject outside the prompt, SHAPE_MISMATCH for noise of another shape, ABORTED */
  trace(request: TraceRequest, options: TraceOptions, run: Pick<MethodContext, "signal" | "progress">): Promise<CausalTrace>;
  dispose(): Promise<void>;
}

/** Blocks that are put back together where nobody says how many: 10 of the 48 of GPT-2 XL, as in the paper, and at least one. */
export function traceWindow(layers: number): number {
  return Math.max(1, Math.round((10 / 48) * layers));
}

/** Draws of ε. @param deviation ν, in units of the embeddings; the paper takes three times the deviation of those of subjects */
export function subjectNoise(rng: Rng, [draws, tokens, hidden]: readonly [number, number, number], deviation: number): HostTensor {
  return f32(rng.normalArray(draws * tokens * hidden, deviation), [draws, tokens, hidden]);
}

/** Deviation of all elements of some embeddings, f32[tokens, hidden] each. */
export function embeddingDeviation(embeddings: readonly HostTensor[]): number {
  const values = embeddings.flatMap(({ data }) => Array.from(data, Number));
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return Math.sqrt(values.reduce((s, v) => s + (v - mean) ** 2, 0) / Math.max(1, values.length - 1));
}

/** @throws {LfmError} CAPABILITY_MISSING for a model that is no language model, or has no such parts */
export async function compileTracer(engine: Engine, model: Model, parts: readonly TracedPart[] = tracedParts): Promise<Tracer> {
  if (model.info.task !== "causal-lm")
    throw new LfmError(
      "CAPABILITY_MISSING",
      `[@lfm/editing] causal traces follow a token of a language model; ${model.info.architecture} is none`,
    );
  const places: Places = new Map(parts.map((part) => [part, sitesOf(model, part)]));
  const clean = await compileClean(engine, model, places);
  const corrupted = await compileCorrupted(engine, model, places);
  return {
    embeddings: async (prompt) => (await clean.run(prompt)).embeddings,
    trace: async (request, options, run) => {
      requireFitting(request, options.noise);
      const { probabilities, states } = await clean.run(request.prompt);
      const p = probabilities.data as Float32Array;
      const answer = request.answer ?? p.indexOf(Math.max(...p));
      const asked = everyPlace(model, parts, request.prompt.length, options.window);
      const found = await corrupted.run({ ...request, answer }, states, asked, options, run);
      const [nothing, ...rest] = found;
      const restored = Object.fromEntries(
        parts.map((part, i) => [part, gridOf(rest.slice(i * (rest.length / parts.length)), request.prompt.length, model.info.layers)]),
      );
      return { answer, clean: p[answer]!, corrupted: nothing!, restored };
    },
    dispose: async () => {
      await clean.dispose();
      await corrupted.dispose();
    },
  };
}

type Places = ReadonlyMap<TracedPart, readonly Site[]>;

/** One for every block, in order. */
function sitesOf({ info }: Model, part: TracedPart): readonly Site[] {
  const kind = part === "state" ? "block" : part;
  const sites = info.sites.filter((s) => s.kind === kind);
  if (sites.length === info.layers) return sites;
  throw new LfmError(
    "CAPABILITY_MISSING",
    `[@lfm/editing] ${info.architecture} has ${sites.length} places "${part}" in ${info.layers} blocks`,
    {
      hint: "--parts state",
    },
  );
}

/** @throws {LfmError} CONFIG_INVALID, SHAPE_MISMATCH */
function requireFitting({ prompt, subject: [start, end] }: TraceRequest, noise: HostTensor): void {
  if (!(Number.isInteger(start) && Number.isInteger(end) && start >= 0 && start < end && end <= prompt.length))
    throw new LfmError(
      "CONFIG_INVALID",
      `[@lfm/editing] a subject from ${start} to ${end} does not lie within a prompt of ${prompt.length} tokens`,
    );
  if (noise.shape.length !== 3 || noise.shape[1] !== end - start)
    throw new LfmError(
      "SHAPE_MISMATCH",
      `[@lfm/editing] noise for a subject of ${end - start} tokens is [draws, ${end - start}, hidden], got [${noise.shape}]`,
    );
}

/** What is put back in one run: at one token, a part of some blocks. Nothing where there is no part. */
interface Restored {
  readonly part?: TracedPart;
  readonly token: number;
  readonly blocks: readonly number[];
}

/** Nothing first; then by part, token and block. */
function everyPlace({ info }: Model, parts: readonly TracedPart[], tokens: number, window: number): readonly Restored[] {
  const around = (part: TracedPart, block: number): readonly number[] => {
    if (part === "state") return [block];
    const first = block - Math.floor(window / 2);
    return Array.from({ length: window }, (_, i) => first + i).filter((l) => l >= 0 && l < info.layers);
  };
  const each = parts.flatMap((part) =>
    Array.from({ length: tokens }, (_, token) =>
      Array.from({ length: info.layers }, (_, block): Restored => ({ part, token, blocks: around(part, block) })),
    ).flat(),
  );
  return [{ token: 0, blocks: [] }, ...each];
}

function gridOf(values: readonly number[], tokens: number, layers: number): readonly (readonly number[])[] {
  return Array.from({ length: tokens }, (_, token) => values.slice(token * layers, (token + 1) * layers));
}

interface CleanRun {
  run(prompt: readonly number[]): Promise<{
    /** f32[tokens, hidden] */
    readonly embeddings: HostTensor;
    /** f32[vocab] of the next token. */
    readonly probabilities: HostTensor;
    /** f32[blocks, tokens, hidden] by part. */
    readonly states: Readonly<Record<string, HostTensor>>;
  }>;
  dispose(): Promise<void>;
}

async function compileClean(engine: Engine, model: Model, places: Places): Promise<CleanRun> {
  const watched = new Set([...places.values()].flat().map((s) => s.path));
  const f = await compileModel(engine, model, { tokens: { dtype: "i32", shape: [1, sym("seq")] } }, ({ tokens }, params, at) => {
    const seen: Record<string, Tensor> = {};
    let embedded: Tensor | undefined;
    const embedding: Hook = {
      matches: isEmbedding,
      output: (y) => {
        embedded = y;
        return y;
      },
    };
    const states: Hook = {
      matches: (s) => watched.has(s.path),
      output: (y, _x, { path }) => {
        seen[path] = squeeze(y, 0);
        return y;
      },
    };
    const out = at.forward(params, { tokens }, { mode: "eval", hooks: [embedding, states, lastPosition] });
    if (!dimEqual(out.prefix ?? 0, 0))
      throw new LfmError("CAPABILITY_MISSING", "[@lfm/editing] a prompt of vectors stands in front of the tokens: it cannot be traced", {
        hint: "trace the model without that delta",
      });
    return {
      embeddings: squeeze(embedded!, 0),
      probabilities: softmax(squeeze(squeeze(out.logits!, 1), 0)),
      states: Object.fromEntries([...places].map(([part, sites]) => [part, stack(sites.map((s) => seen[s.path]!))])),
    };
  });
  return { run: (prompt) => f({ tokens: i32(prompt, [1, prompt.length]) }), dispose: f.dispose };
}

const isEmbedding = (s: Site): boolean => s.kind === "embedding";

/** The head reads the last position of every row alone: all rows are of one length. */
const lastPosition: Hook = {
  matches: (s) => s.kind === "head",
  input: (x) => slice(x, 1, dimSub(x.dim(1), 1), 1),
};

interface CorruptedRun {
  /** The answer's probability for each of what is put back, means over the draws. */
  run(
    request: TraceRequest & { readonly answer: number },
    states: Readonly<Record<string, HostTensor>>,
    asked: readonly Restored[],
    options: TraceOptions,
    run: Pick<MethodContext, "signal" | "progress">,
  ): Promise<readonly number[]>;
  dispose(): Promise<void>;
}

async function compileCorrupted(engine: Engine, model: Model, places: Places): Promise<CorruptedRun> {
  const { layers, hiddenSize } = model.info;
  const [rows, seq, parts] = [sym("rows"), sym("seq"), [...places.keys()]];
  const ofParts = (shape: readonly Dim[]): Record<string, Spec> => Object.fromEntries(parts.map((part) => [part, { dtype: "f32", shape }]));
  const specs = {
    tokens: { dtype: "i32", shape: [rows, seq] },
    noise: { dtype: "f32", shape: [rows, seq, hiddenSize] },
    answer: { dtype: "i32", shape: [1] },
    states: ofParts([layers, seq, hiddenSize]),
    // 1 where the clean state is put back.
    back: ofParts([rows, layers, seq]),
  } as const;
  const f = await compileModel(engine, model, specs, ({ tokens, noise, answer, states, back }, params, at) => {
    const corrupt: Hook = { matches: isEmbedding, output: (y) => add(y, noise) };
    const putBack = [...places].flatMap(([part, sites]) =>
      sites.map(({ path }, block): Hook => {
        const there = expandDims(squeeze(slice(back[part]!, 1, block, 1), 1), -1);
        const clean = slice(states[part]!, 0, block, 1);
        return { matches: (s) => s.path === path, output: (y) => where(greater(there, 0), clean, y) };
      }),
    );
    const { logits } = at.forward(params, { tokens }, { mode: "eval", hooks: [corrupt, ...putBack, lastPosition] });
    return { probabilities: gather(softmax(squeeze(logits!, 1)), answer, 1) };
  });
  return {
    run: async ({ prompt, subject: [start], answer }, states, asked, { noise, rows: most = 128 }, { signal, progress }) => {
      const [draws, span] = noise.shape as readonly [number, number];
      const count = prompt.length;
      const at = Math.max(1, Math.floor(most / draws));
      const found: number[] = [];
      for (let from = 0; from < asked.length; from += at) {
        throwIfAborted(signal, "[@lfm/editing] causal trace");
        const now = asked.slice(from, from + at);
        const all = now.length * draws;
        const noises = new Float32Array(all * count * hiddenSize);
        const backs = Object.fromEntries(parts.map((part) => [part, new Float32Array(all * layers * count)]));
        for (let row = 0; row < all; row++) {
          const draw = (noise.data as Float32Array).subarray((row % draws) * span * hiddenSize, ((row % draws) + 1) * span * hiddenSize);
          noises.set(draw, (row * count + start) * hiddenSize);
          const { part, token, blocks } = now[Math.floor(row / draws)]!;
          if (part) for (const block of blocks) backs[part]![(row * layers + block) * count + token] = 1;
        }
        const { probabilities } = await f({
          tokens: i32(Array.from({ length: all }, () => prompt).flat(), [all, count]),
          noise: f32(noises, [all, count, hiddenSize]),
          answer: i32([answer]),
          states,
          back: Object.fromEntries(parts.map((part) => [part, f32(backs[part]!, [all, layers, count])])),
        });
        for (let i = 0; i < now.length; i++)
          found.push((probabilities.data as Float32Array).subarray(i * draws, (i + 1) * draws).reduce((a, b) => a + b, 0) / draws);
        progress({ phase: "trace", done: found.length, total: asked.length, unit: "state" });
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
      return found;
    },
    dispose: f.dispose,
  };
}
