"""Sentence embeddings of all-MiniLM-L6-v2 with transformers: tokenise, encode, mean pooling, unit length. LFM_MODELS names the folder."""

import os

import torch
import torch.nn.functional as F
import transformers
from peer import autocast, serve
from sentences import sentences
from transformers import AutoModel, AutoTokenizer

folder = os.path.join(os.environ["LFM_MODELS"], "all-MiniLM-L6-v2")
tokenizer = AutoTokenizer.from_pretrained(folder)
model = AutoModel.from_pretrained(folder).eval()
texts = sentences(64)


@torch.inference_mode()
def repeat() -> float:
    batch = tokenizer(texts, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with autocast():
        last = model(**batch).last_hidden_state
    weights = batch["attention_mask"][..., None].float()
    unit = F.normalize((last * weights).sum(1) / weights.sum(1), dim=1)
    return unit.abs().sum().item()


repeat()
serve(repeat, transformers=transformers.__version__)
