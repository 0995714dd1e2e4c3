"""What transformers says with real models: greedy ids of SmolLM2-135M-Instruct, glassllm-en and stories260k, and logits of the small two.

LFM_MODELS holds glassllm-en and stories260k; SmolLM2 is what `npm run smollm2` made in .cache.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixture import ROOT

PLAIN = [
    "The capital of France is", "Once upon a time, there was a", "def fibonacci(n):\n", "The three primary colors are", "Water boils at",
    "In 1969, Neil Armstrong", "A recipe for pancakes:\n\n1.", "Photosynthesis is the process by which", "The opposite of hot is",
    "E = mc", "My favourite book is", "1, 2, 3, 4,", "Café, naïve and", "She sells sea shells",
]  # fmt: skip
CHAT = [
    "What is the capital of Germany?", "Write a haiku about autumn.", "What is 12 + 30?", "Name three fruits.",
    "Translate 'good morning' into French.", "Why is the sky blue?",
]  # fmt: skip
STORIES = ["Once upon a time", "Lily and Tom", "The dog", "One day, a little girl named", "He was very"]
NEW_TOKENS = 32


def greedy(model: torch.nn.Module, ids: list[int], new_tokens: int = NEW_TOKENS) -> list[int]:
    given = torch.tensor([ids])
    out = model.generate(given, attention_mask=torch.ones_like(given), max_new_tokens=new_tokens, do_sample=False)
    return out[0, len(ids) :].tolist()


def folder_of(name: str) -> Path | None:
    found = [ROOT / ".cache" / name, Path(os.environ.get("LFM_MODELS", "/nowhere")) / name]
    return next((path for path in found if (path / "config.json").exists()), None)


def opened(path: Path) -> tuple[torch.nn.Module, AutoTokenizer]:
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, attn_implementation="eager").eval()
    return model, AutoTokenizer.from_pretrained(path)


def make_smollm2() -> None:
    path = folder_of("smollm2-135m-instruct")
    if path is None:
        print("left as it is: cli/real-smollm2 (run `npm run smollm2`)", flush=True)
        return
    model, tokenizer = opened(path)
    cases = []
    for prompt in PLAIN:
        ids = tokenizer(prompt)["input_ids"]
        cases.append({"prompt": prompt, "ids": ids, "continuation": greedy(model, ids)})
    for prompt in CHAT:
        text = tokenizer.apply_chat_template([{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        cases.append({"chat": prompt, "text": text, "ids": ids, "continuation": greedy(model, ids)})
    for case in cases:
        case["decoded"] = tokenizer.decode(case["continuation"], skip_special_tokens=True)
    write(ROOT / "apps/cli/test/golden/real-smollm2.json", {"maker": "real_models.py", "dtype": "bf16 weights, f32 computation", "cases": cases})


def make_small() -> None:
    golden: dict[str, object] = {"maker": "real_models.py", "tolerance": 1e-4}
    for name in ("glassllm-en", "stories260k"):
        path = folder_of(name)
        if path is None:
            print(f"left as they are: cli/real-small (LFM_MODELS has no {name})", flush=True)
            return
        model, tokenizer = opened(path)
        cases = []
        for prompt in STORIES:
            ids = tokenizer(prompt)["input_ids"]
            continuation = greedy(model, ids)
            cases.append({"prompt": prompt, "ids": ids, "decoded": tokenizer.decode(continuation, skip_special_tokens=True)})
        golden[name] = cases
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([cases[0]["ids"]])).logits[0, -1]
        golden[f"{name} logits"] = {str(i): logits[i].item() for i in range(0, logits.numel(), 7)}
    write(ROOT / "apps/cli/test/golden/real-small.json", golden)


def write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=1, ensure_ascii=True) + "\n")


MAKERS = {"cli/real-smollm2": make_smollm2, "cli/real-small": make_small}
