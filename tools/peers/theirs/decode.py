"""Greedy decoding of 64 tokens with transformers' generate: GPT-2-small size, batch 1, prompt of 32 tokens, f32."""

import os

import torch
import transformers
from peer import autocast, serve
from transformers import GPT2LMHeadModel
from weights import token_batch

model = GPT2LMHeadModel.from_pretrained(os.environ["LFM_PEER_MODEL"]).eval()
step = 0


@torch.inference_mode()
def repeat() -> float:
    global step
    ids = token_batch(step, 1, 32, 50257)
    step += 1
    with autocast():
        out = model.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids))
    return float(out[0, 32:].sum())


repeat()
serve(repeat, transformers=transformers.__version__)
