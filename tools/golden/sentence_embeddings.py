"""Sentence embeddings of all-MiniLM-L6-v2 by transformers; LFM_MODELS names the folder that holds the model. Only numbers are written."""

from __future__ import annotations

import os
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import AutoModel, AutoTokenizer

import sentence_folders
from fixture import folder, write_json, write_tensors

MAX_LENGTH = 256
WORDS = (
    "the of a rivers engine harbour quietly measured seven older engineers argued that winter bread prices rose while markets "
    "slept and unbelievable photosynthesis antidisestablishmentarianism maps remembered nothing about violet glaciers"
).split()
SPECIAL = [
    "",
    "Hi",
    "Ünïcödé, naïve café – 東京 is 13,960 km² away; e-mail: a.b@c.de!",
    "\tTabs,\nnew lines   and    spaces ",
    "WORDS IN CAPITALS and in lower case",
    " ".join(WORDS * 20),
]  # fmt: skip


def sentences() -> list[str]:
    made = [" ".join(WORDS[(i * 17 + j * (2 + i % 7)) % len(WORDS)] for j in range(3 + (i * 5) % 26)) + "." for i in range(58)]
    return [*SPECIAL, *made]


def make_minilm() -> None:
    source = Path(os.environ["LFM_MODELS"]) / "all-MiniLM-L6-v2"
    tokenizer = AutoTokenizer.from_pretrained(source)
    model = AutoModel.from_pretrained(source, attn_implementation="eager").eval()
    rows = []
    with torch.inference_mode():
        # one at a time: no padding in the referee
        for text in sentences():
            batch = tokenizer(text, truncation=True, max_length=MAX_LENGTH, return_tensors="pt")
            rows.append(F.normalize(model(**batch).last_hidden_state.mean(1), dim=1))
    path = folder("models", "minilm")
    write_tensors(path / "golden.safetensors", {"sentences/out/unit": torch.cat(rows)})
    write_json(
        path / "golden.json",
        {
            "maker": "sentence_embeddings.py",
            "model": "sentence-transformers/all-MiniLM-L6-v2",
            "max_length": MAX_LENGTH,
            "sentences": sentences(),
            "out": {"unit": "f32[sentences, hidden]: mean of the last hidden state over the tokens, at unit length"},
            "tolerance": {"cosine": 0.99999},
        },
    )


MAKERS = {"models/minilm": make_minilm, **sentence_folders.MAKERS}
