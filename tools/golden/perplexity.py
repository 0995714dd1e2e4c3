"""Perplexity in windows by the recipe of transformers' documentation ("Perplexity of fixed-length models"), on the small model of models/text."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from fixture import ROOT, write_json

TEXT = " ".join(["the cat sat on the mat", "a dog ran home", "Ada of Rome is in Paris", "red blue green one two three", "the road home is fine"] * 4)
# Window and stride in tokens; the last leaves a window with a single new token.
CASES = ((16, 16), (16, 8), (32, 5), (64, 64), (23, 23), (36, 36))


def perplexity(ids: torch.Tensor, model: torch.nn.Module, window: int, stride: int) -> float:
    """Each window's mean loss over what no window before had, weighted by that number of tokens less one."""
    length = ids.size(1)
    total, tokens, seen = 0.0, 0, 0
    for begin in range(0, length, stride):
        end = min(begin + window, length)
        fresh = end - seen
        part = ids[:, begin:end]
        labels = part.clone()
        labels[:, :-fresh] = -100
        with torch.inference_mode():
            loss = model(part, labels=labels).loss
        counted = int((labels != -100).sum()) - 1
        if counted > 0:
            total += float(loss) * counted
            tokens += counted
        seen = end
        if end == length:
            break
    return float(torch.exp(torch.tensor(total / tokens, dtype=torch.float64)))


def make_perplexity() -> None:
    path = ROOT / "packages/models/test/golden/text"
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    ids = tokenizer(TEXT, return_tensors="pt").input_ids
    target = ROOT / "apps/cli/test/golden"
    target.mkdir(parents=True, exist_ok=True)
    write_json(
        target / "perplexity.json",
        {
            "maker": "perplexity.py",
            "model": "packages/models/test/golden/text",
            "text": TEXT,
            "tokens": ids.size(1),
            "tolerance": 1e-4,
            "cases": [{"window": w, "stride": s, "perplexity": perplexity(ids, model, w, s)} for w, s in CASES],
        },
    )


MAKERS = {"cli/perplexity": make_perplexity}
