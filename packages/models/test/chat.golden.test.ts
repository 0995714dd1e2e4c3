import { cpSync, mkdirSync, mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChatMessage } from "@lfm/data";
import { loadTokenizer, type Tokenizer } from "@lfm/formats";
import { chatIds, chatPromptIds, chatTemplate, readTextRules, type TextRules, textRules } from "@lfm/models";
import { beforeAll, describe, expect, it } from "vitest";
import { goldenFolder } from "./golden-fixture.js";

interface Written {
  readonly text: string;
  readonly ids: readonly number[];
}
interface Case {
  readonly template: string;
  readonly conversation: string;
  readonly messages: readonly ChatMessage[];
  readonly whole: Written;
  readonly prompted: Written;
  readonly answers?: readonly number[];
  readonly refused?: string;
}
interface Golden {
  readonly templates: Readonly<Record<string, string>>;
  readonly cases: readonly Case[];
}

const { templates, cases } = JSON.parse(readFileSync(join(goldenFolder("chat"), "golden.json"), "utf8")) as Golden;
const source = join(import.meta.dirname, "../../formats/test/golden/byte-bpe");
const specials = { bos_token: "<s>", eos_token: "</s>" };
let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadTokenizer(source);
});
const rulesOf = (template: string): TextRules => textRules(tokenizer, { chat: chatTemplate(templates[template]!, specials) });
const taken = (ids: readonly number[], answers: readonly number[]): string => tokenizer.decode(ids.filter((_, i) => answers[i] === 1));

describe("conversations against transformers' apply_chat_template", () => {
  it.each(cases.map((c) => [c.template, c.conversation, c] as const))("%s: %s", (template, _, { messages, whole, prompted, refused }) => {
    const rules = rulesOf(template);
    if (refused !== undefined) {
      expect(() => chatPromptIds(rules, messages)).toThrow(
        expect.objectContaining({ code: "CONFIG_INVALID", message: expect.stringContaining(refused) }),
      );
      return;
    }
    expect(rules.chat!.render(messages, false)).toBe(whole.text);
    expect(rules.chat!.render(messages, true)).toBe(prompted.text);
    expect(chatPromptIds(rules, messages)).toEqual(prompted.ids);
  });

  it.each(cases.filter((c) => c.answers).map((c) => [c.conversation, c] as const))(
    "mark the assistant's tokens: %s",
    (_, { messages, whole, answers }) => {
      expect(chatIds(rulesOf("marked"), messages)).toEqual({ ids: whole.ids, answers });
    },
  );

  it("mark them where the template does not: what stands behind a generation prompt, up to the end of the turn", () => {
    const { messages, whole } = cases.find((c) => c.template === "turns" && c.conversation === "system and several turns")!;
    const { ids, answers } = chatIds(rulesOf("turns"), messages);
    expect(ids).toEqual(whole.ids);
    expect(taken(ids, answers)).toBe("Hello! How are you?</s> Good.\n\nBye</s>");
  });

  it("find them where a template leaves out of earlier turns what it writes in the last", () => {
    const rules = textRules(tokenizer, {
      chat: chatTemplate(
        "{% for m in messages %}[{{ m.role }}]{% if m.role == 'assistant' and loop.last %}(thought){% endif %}{{ m.content }}</s>{% endfor %}{% if add_generation_prompt %}[assistant]{% endif %}",
      ),
    });
    const turn = (role: string, content: string): ChatMessage => ({ role, content });
    const { ids, answers } = chatIds(rules, [turn("user", "a"), turn("assistant", "one"), turn("user", "b"), turn("assistant", "two")]);
    expect(taken(ids, answers)).toBe("one</s>(thought)two</s>");
  });

  it("are refused where the template writes what was said before otherwise", () => {
    const { messages } = cases.find((c) => c.template === "strict" && c.conversation === "system and several turns")!;
    expect(() => chatIds(rulesOf("strict"), messages)).toThrow(expect.objectContaining({ code: "CONFIG_INVALID" }));
  });

  it("need a template, and one that can be read", () => {
    const ask: readonly ChatMessage[] = [{ role: "user", content: "a" }];
    expect(() => chatPromptIds(textRules(tokenizer), ask)).toThrow(expect.objectContaining({ code: "CAPABILITY_MISSING" }));
    const broken = textRules(tokenizer, { chat: chatTemplate("{% for m in %}") });
    expect(() => chatPromptIds(broken, ask)).toThrow(expect.objectContaining({ code: "FILE_FORMAT" }));
  });
});

describe("a folder's chat template", () => {
  const folderOf = (chat_template: unknown, files: Readonly<Record<string, string>> = {}): TextRules => {
    const folder = mkdtempSync(join(tmpdir(), "lfm-chat-"));
    cpSync(source, folder, { recursive: true });
    const config = JSON.parse(readFileSync(join(folder, "tokenizer_config.json"), "utf8")) as object;
    writeFileSync(join(folder, "tokenizer_config.json"), JSON.stringify({ ...config, chat_template }));
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(folder, name, ".."), { recursive: true });
      writeFileSync(join(folder, name), text);
    }
    return readTextRules(folder, tokenizer);
  };
  const said = (rules: TextRules): string => rules.chat!.render([{ role: "user", content: "x" }], false);

  it("is a text or one of a list in tokenizer_config.json, or a file, which comes first", () => {
    expect(folderOf(null).chat).toBeUndefined();
    expect(said(folderOf("string {{ bos_token }}"))).toBe("string <s>");
    const list = [
      { name: "tool_use", template: "tools" },
      { name: "default", template: "list" },
    ];
    expect(said(folderOf(list))).toBe("list");
    expect(said(folderOf(list, { "chat_template.jinja": "file" }))).toBe("file");
    expect(said(folderOf("string", { "chat_template.jinja": "file", "additional_chat_templates/rag.jinja": "rag" }))).toBe("file");
  });

  it("is refused where none of several is the default, and where it is no template", () => {
    expect(() => folderOf([{ name: "tool_use", template: "tools" }])).toThrow(
      expect.objectContaining({ code: "CONFIG_INVALID", hint: expect.stringContaining("tool_use") }),
    );
    expect(() => folderOf(7)).toThrow(expect.objectContaining({ code: "FILE_FORMAT" }));
  });
});
