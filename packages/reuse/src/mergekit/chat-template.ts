import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { LfmError, nearestName } from "@lfm/core";
import { readJsonObject } from "@lfm/formats";
import type { MergeDocument } from "./document.js";
import type { ModelFiles } from "./model-files.js";

/**
 * Formats of chats under the names that mergekit knows, as Jinja. They render what the models were trained on; mergekit's own files for
 * alpaca, exaone and llama3 also render line breaks and indents of the file itself.
 */
const templates: Readonly<Record<string, string>> = {
  alpaca: [
    "{%- set system = messages | selectattr('role', 'equalto', 'system') | list -%}",
    "{{ system[-1].content | trim if system else '' }}{{ '\\n\\n' }}",
    "{%- set titles = {'user': 'Instruction', 'assistant': 'Response', 'user_context': 'Input'} -%}",
    "{%- for m in messages if m.role in titles -%}",
    "{{ '### ' + titles[m.role] + ':\\n' + m.content | trim + ('' if loop.last else '\\n\\n') }}",
    "{%- endfor -%}",
    "{%- if add_generation_prompt and messages[-1].role != 'assistant' -%}{{ '\\n\\n### Response:\\n' }}{%- endif -%}",
  ].join("\n"),
  chatml: [
    "{%- for m in messages -%}{{ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' }}{%- endfor -%}",
    "{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}",
  ].join("\n"),
  exaone: [
    "{%- if messages and messages[0].role != 'system' -%}{{ '[|system|][|endofturn|]\\n' }}{%- endif -%}",
    "{%- for m in messages -%}{{ '[|' ~ m.role ~ '|]' ~ m.content ~ ('\\n' if m.role == 'user' else '[|endofturn|]\\n') }}{%- endfor -%}",
    "{%- if add_generation_prompt -%}{{ '[|assistant|]' }}{%- endif -%}",
  ].join("\n"),
  llama3: [
    "{{- bos_token if messages else '' -}}",
    "{%- for m in messages -%}{{ '<|start_header_id|>' ~ m.role ~ '<|end_header_id|>\\n\\n' ~ m.content | trim ~ '<|eot_id|>' }}{%- endfor -%}",
    "{%- if add_generation_prompt -%}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif -%}",
  ].join("\n"),
  mistral: [
    "{%- set has_system = messages[0].role == 'system' -%}",
    "{%- set turns = messages[1:] if has_system else messages -%}",
    "{{- bos_token -}}",
    "{%- for m in turns -%}",
    "{%- if m.role != ('user' if loop.index0 % 2 == 0 else 'assistant') -%}{{ raise_exception('user and assistant must take turns after an optional system message') }}{%- endif -%}",
    "{%- if m.role == 'user' -%}{{ ' [INST] ' ~ (messages[0].content ~ '\\n\\n' if loop.first and has_system else '') ~ m.content ~ ' [/INST]' }}",
    "{%- else -%}{{ ' ' ~ m.content ~ eos_token }}{%- endif -%}",
    "{%- endfor -%}",
  ].join("\n"),
};

/**
 * The template that `chat_template` asks for: a known name, Jinja as it stands, or with `auto` the one that most models have.
 * @returns undefined where nothing is asked for, or no model has one
 * @throws {LfmError} CONFIG_INVALID
 */
export function chatTemplate(document: MergeDocument, models: readonly ModelFiles[]): string | undefined {
  const asked = document.chatTemplate;
  if (asked === undefined) return undefined;
  if (asked === "auto") return mostFrequent(models.flatMap((m) => templateOf(m.tokenizerFolder)?.trim() || []));
  const isName = !asked.includes("{") && !asked.includes("\n");
  if (isName && Object.hasOwn(templates, asked)) return templates[asked];
  if (isName || asked.length < 20) {
    const near = nearestName(asked, ["auto", ...Object.keys(templates)]);
    throw new LfmError("CONFIG_INVALID", `[@lfm/reuse] ${document.locate(["chat_template"])}: "${asked}" is no chat template`, {
      hint: near ? `did you mean "${near}"?` : `give auto, ${Object.keys(templates).join(", ")}, or a Jinja template`,
    });
  }
  return asked;
}

function templateOf(folder: string): string | undefined {
  const jinja = join(folder, "chat_template.jinja");
  if (existsSync(jinja)) return readFileSync(jinja, "utf8");
  const config = join(folder, "tokenizer_config.json");
  if (!existsSync(config)) return undefined;
  const { chat_template: template } = readJsonObject(config);
  if (typeof template === "string") return template;
  // Several named templates: the default one.
  const list = Array.isArray(template) ? (template as { name?: string; template?: string }[]) : [];
  return list.find((t) => t.name === "default")?.template;
}

/** The first of those that occur most often. */
function mostFrequent(values: readonly string[]): string | undefined {
  const counts = new Map<string, number>();
  for (const v of values) counts.set(v, (counts.get(v) ?? 0) + 1);
  return [...counts].sort(([, a], [, b]) => b - a)[0]?.[0];
}
