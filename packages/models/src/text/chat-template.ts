import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { isLfmError, LfmError } from "@lfm/core";
import type { ChatMessage } from "@lfm/data";
import { readJsonObject } from "@lfm/formats";
import { type BoundedTemplate, boundedTemplate } from "./jinja.js";

/** How a model folder writes a conversation. */
export interface ChatTemplate {
  /**
   * The text of a conversation, as transformers' `apply_chat_template` (5) writes it.
   * @param addGenerationPrompt whether an answer is begun at its end
   * @throws {LfmError} FILE_FORMAT for a template that is none, CONFIG_INVALID for a conversation that it refuses, BUDGET_EXCEEDED for one that
   *   loops for ever or makes more than a conversation can be
   */
  render(messages: readonly ChatMessage[], addGenerationPrompt: boolean): string;
}

/** Templates beside the default one, a file each. */
const MORE = "additional_chat_templates";

/**
 * The chat template of a folder: chat_template.jinja (with additional_chat_templates), else what tokenizer_config.json has, a text or a list of
 * named ones, of which the default counts. Undefined where there is none.
 * @throws {LfmError} FILE_IO, FILE_FORMAT, CONFIG_INVALID for several without a default
 */
export function readChatTemplate(folder: string): ChatTemplate | undefined {
  const [config, map] = ["tokenizer_config.json", "special_tokens_map.json"].map((name) => optionalJson(join(folder, name)));
  const files = templateFiles(folder);
  const templates = Object.keys(files).length > 0 ? files : namedTemplates(config!.chat_template, join(folder, "tokenizer_config.json"));
  if (Object.keys(templates).length === 0) return undefined;
  if (templates.default === undefined)
    throw new LfmError("CONFIG_INVALID", `[@lfm/models] ${folder} has several chat templates and none is the default`, {
      hint: `there are ${Object.keys(templates).join(", ")}: save the one that you want as chat_template.jinja`,
    });
  return chatTemplate(templates.default, specialTexts({ ...map, ...config }));
}

/**
 * @param source a Jinja template
 * @param specials texts of special tokens by name, `bos_token` …
 */
export function chatTemplate(source: string, specials: Readonly<Record<string, string>> = {}): ChatTemplate {
  let template: BoundedTemplate | undefined;
  return {
    render: (messages, addGenerationPrompt) => {
      template ??= parse(source);
      // What is null counts as not there: templates ask for the key alone.
      const given = messages.map((m) => Object.fromEntries(Object.entries(m).filter(([, value]) => value !== null)));
      try {
        return template.render({ ...specials, messages: given, add_generation_prompt: addGenerationPrompt });
      } catch (cause) {
        if (isLfmError(cause)) throw cause;
        throw new LfmError("CONFIG_INVALID", `[@lfm/models] the chat template refuses the conversation: ${(cause as Error).message}`, {
          cause,
        });
      }
    },
  };
}

function parse(source: string): BoundedTemplate {
  try {
    return boundedTemplate(source);
  } catch (cause) {
    if (isLfmError(cause)) throw cause;
    throw new LfmError("FILE_FORMAT", `[@lfm/models] the chat template cannot be read: ${(cause as Error).message}`, { cause });
  }
}

function optionalJson(path: string): Record<string, unknown> {
  return existsSync(path) ? readJsonObject(path) : {};
}

function templateFiles(folder: string): Record<string, string> {
  const single = join(folder, "chat_template.jinja");
  const more = join(folder, MORE);
  const names = existsSync(more) ? readdirSync(more).filter((name) => name.endsWith(".jinja")) : [];
  return {
    ...(existsSync(single) ? { default: readFileSync(single, "utf8") } : {}),
    ...Object.fromEntries(names.sort().map((name) => [name.slice(0, -".jinja".length), readFileSync(join(more, name), "utf8")])),
  };
}

function namedTemplates(value: unknown, path: string): Record<string, string> {
  if (value === undefined || value === null) return {};
  if (typeof value === "string") return { default: value };
  const entries = (Array.isArray(value) ? value : [undefined]).map((entry: unknown) => {
    const { name, template } = (typeof entry === "object" && entry !== null ? entry : {}) as {
      readonly name?: unknown;
      readonly template?: unknown;
    };
    if (typeof name === "string" && typeof template === "string") return [name, template] as const;
    throw new LfmError("FILE_FORMAT", `[@lfm/models] ${path}: chat_template is neither a text nor a list of {name, template}`);
  });
  return Object.fromEntries(entries);
}

/** `bos_token` and its like by name: as texts, or as objects with `content`. */
function specialTexts(config: Readonly<Record<string, unknown>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config).flatMap(([name, value]) => {
      const text = typeof value === "object" && value !== null ? (value as { readonly content?: unknown }).content : value;
      return name.endsWith("_token") && typeof text === "string" ? [[name, text] as const] : [];
    }),
  );
}
