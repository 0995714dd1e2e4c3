"""
Greedy decoding of 64 tokens with transformers' generate: batch 1, prompt of 32 tokens, f32. The GPT-2-shaped model of LFM_PEER_MODEL, whose ids are
summed up; with `smollm2` that of LFM_SMOLLM2, beside a rounded one that says something else: tokens are counted.
"""

import os
import sys

import torch
import transformers
from peer import autocast, serve
from transformers import AutoModelForCausalLM
from weights import token_batch

real = sys.argv[1:] == ["smollm2"]
folder, vocabulary = (os.environ["LFM_SMOLLM2"], 49152) if real else (os.environ["LFM_PEER_MODEL"], 50257)
model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
step = 0


@torch.inference_mode()
def repeat() -> float:
    global step
    ids = token_batch(step, 1, 32, vocabulary)
    step += 1
    with autocast():
        out = model.generate(ids, max_new_tokens=64, min_new_tokens=64, do_sample=False, pad_token_id=0, attention_mask=torch.ones_like(ids))
    return float(out.shape[1] - 32 if real else out[0, 32:].sum())


repeat()
serve(repeat, transformers=transformers.__version__)
