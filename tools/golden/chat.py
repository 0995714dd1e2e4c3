"""transformers' `apply_chat_template`: the text of conversations, their ids, and the assistant's tokens where a template marks them."""

from __future__ import annotations

from transformers import AutoTokenizer

from fixture import ROOT, folder, write_json

TOKENIZER = ROOT / "packages/formats/test/golden/byte-bpe"

TEMPLATES = {
    "turns": """{% for message in messages %}
    {% if loop.first and message['role'] != 'system' %}
{{ 'system: answer briefly' + '\\n' }}
    {%- endif %}
{{ '[' + message['role'] + ']\\n' + message['content'] + eos_token + '\\n' }}
{%- endfor %}
{% if add_generation_prompt %}{{ '[assistant]\\n' }}{% endif %}""",
    "marked": """{{ bos_token }}{% for message in messages %}{% if message.role == 'assistant' %}{{ '<a>' }}{% generation %}{{ message.content | trim }}{{ eos_token }}{% endgeneration %}{{ '</a>' }}{% else %}<{{ message.role }}>{{ message['content'] | trim }}</{{ message.role }}>{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<a>' }}{% endif %}""",
    "strict": """{%- set found = namespace(system='') -%}
{%- for m in messages if m.role == 'system' -%}{%- set found.system = m.content -%}{%- endfor -%}
{%- set talk = messages | rejectattr('role', 'equalto', 'system') | list -%}
{%- for m in talk -%}
{%- if (m.role == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception('roles must alternate') }}{%- endif -%}
{%- if m.role == 'user' -%}{{ '[INST] ' + (found.system + '\\n\\n' if loop.last and found.system else '') + m.content | trim + ' [/INST]' }}
{%- else -%}{{ ' ' + m.content + eos_token }}{%- endif -%}
{%- endfor -%}""",
    "tools": """{% for m in messages %}{{ m.role | upper }}: {{ m.content }}{% if m.tool_calls is defined %}{% for call in m.tool_calls %} {{ call | tojson }}{% endfor %}{% endif %}{{ '\\n' }}{% endfor %}{{ 'A:' if add_generation_prompt }}""",
}

CONVERSATIONS = {
    "a question": [{"role": "user", "content": "Where is home?"}],
    "system and several turns": [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "  Hi there \n"},
        {"role": "assistant", "content": "Hello! How are you?"},
        {"role": "user", "content": "Fine – naïve café 東京"},
        {"role": "assistant", "content": " Good.\n\nBye"},
    ],
    "an answer": [{"role": "user", "content": "2 + 2"}, {"role": "assistant", "content": "4"}],
    "calls": [
        {"role": "user", "content": "weather"},
        {"role": "assistant", "content": "", "tool_calls": [{"name": "look", "arguments": {"q": "é <b>", "n": 1.5, "on": True, "x": None}}], "name": None},
    ],
    "two users": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
}  # fmt: skip


def make_chat() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    cases = []
    for template, source in TEMPLATES.items():
        for name, messages in CONVERSATIONS.items():
            case: dict[str, object] = {"template": template, "conversation": name, "messages": messages}
            try:
                for prompted in (False, True):
                    text = tokenizer.apply_chat_template(messages, chat_template=source, add_generation_prompt=prompted, tokenize=False)
                    ids = tokenizer(text, add_special_tokens=False).input_ids
                    given = tokenizer.apply_chat_template(messages, chat_template=source, add_generation_prompt=prompted)
                    assert list(given["input_ids"] if hasattr(given, "keys") else given) == ids
                    case["prompted" if prompted else "whole"] = {"text": text, "ids": ids}
                if "{% generation %}" in source:
                    marked = tokenizer.apply_chat_template(messages, chat_template=source, return_dict=True, return_assistant_tokens_mask=True)
                    case["answers"] = list(marked["assistant_masks"])
            except Exception as refused:
                case["refused"] = str(refused)
            cases.append(case)
    path = folder("models", "chat")
    write_json(
        path / "golden.json",
        {
            "maker": "chat.py",
            "tokenizer": "packages/formats/test/golden/byte-bpe",
            "templates": TEMPLATES,
            "in": "messages, by a template",
            "out": "text and ids without (whole) and with (prompted) an answer begun; answers: 1 for the assistant's tokens; refused: what it said instead",
            "tolerance": "equal",
            "cases": cases,
        },
    )


MAKERS = {"models/chat": make_chat}
