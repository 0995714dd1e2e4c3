import type { Gpt2Shape } from "./made-model.js";
import { type SteppedMethod, steppedMethods } from "./training-step.js";

/** A comparison: our module in ours/, their script in theirs/. */
export interface PeerJob {
  /** Module in ours/ and its arguments, where it is not that of the comparison's name. */
  readonly ours?: readonly [module: string, ...args: readonly string[]];
  readonly what: string;
  readonly peer: string;
  readonly script: string;
  readonly arguments: readonly string[];
  /** theirs / ours that is asked for. */
  readonly target: number;
  /** The peer has a second form that does its products in bf16. */
  readonly bf16: boolean;
  /** A model that is made for this comparison; both sides read it from the folder LFM_PEER_MODEL. */
  readonly model?: Gpt2Shape;
  /** Variable that names a folder of a real model. */
  readonly needs?: "LFM_MODELS" | "LFM_SMOLLM2" | "LFM_SEARCH";
  /** Our side's time is not in products of ONNX Runtime: there is no profile of it. */
  readonly unprofiled?: true;
  /** What both sides return per repetition and how close it must be, relative; null where it is not comparable (other random weights). */
  readonly agreement: { readonly of: string; readonly within: number } | null;
}

const small: Gpt2Shape = { width: 256, layers: 4, heads: 4, vocabulary: 2048, positions: 256 };
const gpt2: Gpt2Shape = { width: 768, layers: 12, heads: 12, vocabulary: 50257, positions: 1024 };

/** Comparisons of search, over the folder that search-data.ts makes. */
const search = { script: "search.py", bf16: false, needs: "LFM_SEARCH", unprofiled: true } as const;

const losses = { of: "losses", within: 1e-3 };

interface StepOn {
  /** Made for the comparison; without one the real SmolLM2. */
  readonly model?: Gpt2Shape;
  readonly shape: string;
  readonly batch: number;
  readonly target: number;
}

const LENGTH = 128;

/** What learns in a step, in words. */
const learns: Readonly<Record<SteppedMethod, string>> = {
  full: "full fine-tuning",
  lora: "LoRA r8 on c_attn, or on queries and values,",
  dora: "DoRA r8 on the same layers",
  ia3: "IA³",
  prefix: "prefix tuning of 20 rows",
  prompt: "prompt tuning of 20 vectors",
};

function tuningStep(method: SteppedMethod, { model, shape, batch, target }: StepOn, prompt = 0, base = "f32"): PeerJob {
  const args = [method, String(batch), String(LENGTH), String(prompt)];
  return {
    what: `${learns[method]} step: ${shape}`,
    peer: method === "full" ? "transformers + torch fused AdamW" : "PEFT",
    ours: ["tuning-step", ...args, base],
    script: "tuning_step.py",
    arguments: args,
    target,
    bf16: true,
    agreement: losses,
    ...(model ? { model } : { needs: "LFM_SMOLLM2" as const }),
  };
}

/** A step of every method on one model; of full fine-tuning on the small one alone. */
function steps(suffix: string, on: StepOn): Readonly<Record<string, PeerJob>> {
  const methods = steppedMethods.filter((method) => method !== "full" || suffix === "");
  return Object.fromEntries(
    methods.map((method) => [`${method}-step${suffix}`, tuningStep(method, method === "full" ? { ...on, target: 1 } : on)]),
  );
}

export const peerJobs: Readonly<Record<string, PeerJob>> = {
  ...steps("", { model: small, shape: "GPT-2 architecture d256 L4 B16 T128 V2048", batch: 16, target: 1.3 }),
  ...steps("-gpt2", { model: gpt2, shape: "GPT-2-small size, d768 L12 B4 T128 V50257", batch: 4, target: 1.1 }),
  ...steps("-smollm2", { shape: "the real SmolLM2-135M, B4 T128, all positions scored", batch: 4, target: 1.4 }),
  "lora-step-smollm2-masked": {
    ...tuningStep(
      "lora",
      { shape: "the real SmolLM2-135M, B4 T128, the last 32 of 128 positions scored: prompts are masked", batch: 4, target: 1.7 },
      96,
    ),
  },
  "lora-step-smollm2-int8": {
    ...tuningStep(
      "lora",
      { shape: "the real SmolLM2-135M on a base in 8 bits (--base int8), B4 T128, against f32", batch: 4, target: 1.7 },
      0,
      "int8",
    ),
    // The base is rounded: the losses are near, not the same.
    agreement: { of: "losses", within: 2e-2 },
  },
  "maml-loop": {
    what: "MAML, second order, sinusoid net 1-40-40-1, 25 tasks × 5 inner steps, K = 10, one outer step",
    peer: "torch loop as in learn2learn",
    script: "maml.py",
    arguments: ["loop"],
    target: 15,
    bf16: false,
    agreement: losses,
  },
  "maml-vmap": {
    what: "MAML, second order, sinusoid net 1-40-40-1, 25 tasks × 5 inner steps, K = 10, one outer step",
    peer: "torch.func vmap",
    script: "maml.py",
    arguments: ["vmap"],
    target: 3,
    bf16: false,
    agreement: losses,
  },
  encode: {
    what: "MiniLM sentence embeddings, 64 sentences of ~22 tokens, f32, tokenising included",
    peer: "transformers",
    script: "encode.py",
    arguments: [],
    target: 1.5,
    bf16: true,
    needs: "LFM_MODELS",
    agreement: { of: "embeddings' sum", within: 1e-3 },
  },
  "encode-int8": {
    what: "the same sentences with weights and activations in 8 bits (--base int8) against f32",
    peer: "transformers",
    script: "encode.py",
    arguments: [],
    target: 2,
    bf16: true,
    needs: "LFM_MODELS",
    agreement: { of: "embeddings' sum", within: 1e-2 },
  },
  "decode-int8": {
    what: "decoding of 64 tokens by the real SmolLM2-135M in 8 bits (--base int8) against f32, batch 1, prompt 32",
    peer: "transformers generate",
    script: "decode.py",
    arguments: ["smollm2"],
    target: 3,
    bf16: true,
    needs: "LFM_SMOLLM2",
    agreement: { of: "numbers of tokens", within: 0 },
  },
  "search-flat": {
    ...search,
    what: "exact search of 100,000 sentence vectors of 384, 256 questions one after the other, the 10 best",
    peer: "faiss IndexFlatIP",
    arguments: ["flat", "1"],
    target: 0.8,
    agreement: { of: "sums of scores", within: 1e-4 },
  },
  "search-flat-64": {
    ...search,
    what: "the same in batches of 64 questions",
    peer: "faiss IndexFlatIP",
    arguments: ["flat", "64"],
    target: 0.8,
    agreement: { of: "sums of scores", within: 1e-4 },
  },
  "search-graph": {
    ...search,
    what: "HNSW32 over the same vectors at recall@10 of .95 or more, 500 questions one after the other; ours in 8 bits, compared again in f32",
    peer: "faiss IndexHNSWFlat",
    arguments: ["graph"],
    target: 0.8,
    agreement: { of: "recalls", within: 0.05 },
  },
  "search-words": {
    ...search,
    what: "BM25 over SciFact's 5,183 abstracts, its 300 test claims one after the other, the 10 best",
    peer: "bm25s",
    arguments: ["words"],
    target: 1,
    agreement: { of: "sums of scores", within: 1e-3 },
  },
  decode: {
    what: "greedy decoding of 64 tokens at GPT-2-small size, batch 1, prompt 32, f32",
    peer: "transformers generate",
    script: "decode.py",
    arguments: [],
    model: gpt2,
    target: 1.5,
    bf16: true,
    agreement: { of: "token ids' sum", within: 1e-9 },
  },
};
