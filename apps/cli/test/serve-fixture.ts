import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { f32, type HostTensor, makeDelta, ortEngine, parseConfig, Rng } from "@lfm/core";
import { loadModel } from "@lfm/models";
import { lora, toPeft } from "@lfm/tuning";
import OpenAI from "openai";
import { openServed } from "../src/serve/open-served.js";
import type { Served } from "../src/serve/served.js";
import { type RunningServer, type ServerOptions, startServer } from "../src/serve/server.js";

const golden = join(import.meta.dirname, "../../../packages/models/test/golden");
const root = mkdtempSync(join(tmpdir(), "lfm-serve-"));

function folder(name: string, files: Readonly<Record<string, readonly string[]>>): string {
  const made = join(root, name);
  mkdirSync(made, { recursive: true });
  for (const [from, names] of Object.entries(files)) for (const file of names) copyFileSync(join(golden, from, file), join(made, file));
  return made;
}

/** A language model of 35 words that can chat, and reads 64 tokens. */
export const languageModel = folder("words", { text: ["config.json", "model.safetensors", "tokenizer_config.json"] });
// Nothing stands around a text, so that its ids are those of its words.
const tokenizer = JSON.parse(readFileSync(join(golden, "text/tokenizer.json"), "utf8")) as Record<string, unknown>;
writeFileSync(join(languageModel, "tokenizer.json"), JSON.stringify({ ...tokenizer, post_processor: null }));
writeFileSync(
  join(languageModel, "chat_template.jinja"),
  "{% for m in messages %}{{ m.role == 'system' and 'one ' or '' }}{{ m.content }} {% endfor %}{% if add_generation_prompt %}is{% endif %}",
);
/** An encoder with vectors of 32 values. */
export const encoder = folder("vectors", {
  "bert-encoder": ["config.json", "model.safetensors"],
  "sentence-folders": ["tokenizer.json", "tokenizer_config.json"],
});

/** A LoRA on the language model, of its own rank, saved as PEFT does. */
export async function adapterFolder(name: string, seed: number, r: number, useDora = false): Promise<string> {
  const { model } = await loadModel(languageModel);
  const [config, rng, made] = [
    parseConfig(lora, { r, loraAlpha: 4 * r, targetModules: ["q", "v", "down_proj"], useDora }),
    new Rng(seed),
    join(root, name),
  ];
  const tensors: Record<string, HostTensor> = {};
  for (const { path, weight, role } of model.info.sites) {
    if (!weight || !role || !["q", "v", "out"].includes(role)) continue;
    tensors[`${path}.lora_A.weight`] = f32(rng.normalArray(r * weight.in, 0.4), [r, weight.in]);
    tensors[`${path}.lora_B.weight`] = f32(rng.normalArray(weight.out * r, 0.4), [weight.out, r]);
    if (useDora) tensors[`${path}.lora_magnitude_vector`] = f32(new Float32Array(weight.out).fill(1), [weight.out]);
  }
  await toPeft(made, makeDelta(lora, config, tensors), model, { base: languageModel });
  return made;
}

export const quiet = { log: () => {}, progress: () => {} };

const defaults = {
  limits: { slots: 4, queue: 16, maxTokens: 40, timeoutMs: 20_000, bodyBytes: 10_000 },
  drainMs: 5000,
};

export interface Started {
  readonly served: readonly Served[];
  readonly server: RunningServer;
  readonly client: OpenAI;
  /** Of the server itself, without /v1. */
  readonly origin: string;
}

export async function open(models: readonly string[], adapters: readonly string[] = []): Promise<readonly Served[]> {
  return openServed({ models, adapters, slots: defaults.limits.slots }, await ortEngine({ threads: 1 }), quiet);
}

export async function start(
  served: readonly Served[],
  { apiKey, limits, ...options }: Partial<Omit<ServerOptions, "limits">> & { readonly limits?: Partial<ServerOptions["limits"]> } = {},
): Promise<Started> {
  const server = await startServer(served, {
    ...defaults,
    host: "127.0.0.1",
    port: 0,
    seed: 0,
    log: () => {},
    ...options,
    apiKey,
    limits: { ...defaults.limits, ...limits },
  });
  const client = new OpenAI({ baseURL: server.url, apiKey: apiKey ?? "none", maxRetries: 0 });
  return { served, server, client, origin: server.url.slice(0, -3) };
}
