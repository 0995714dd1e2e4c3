"""One LoRA step (r 8 on q_proj and v_proj) of SmolLM2-135M with PEFT, 4 × 128 tokens: `smollm_step.py PROMPT` leaves the first PROMPT tokens out of the loss.

LFM_SMOLLM2 names the folder.
"""

import os
import sys

import peft
import torch
import transformers
from peer import autocast, serve
from transformers import AutoModelForCausalLM
from weights import fill, token_batch

BATCH, LENGTH = 4, 128
prompt = int(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(os.environ["LFM_SMOLLM2"], dtype=torch.float32)
vocabulary = model.config.vocab_size
model = peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=8, target_modules=["q_proj", "v_proj"]))
fill(model, only="lora_")
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0, fused=True)
step = 0


def repeat() -> float:
    global step
    ids = token_batch(step, BATCH, LENGTH, vocabulary)
    labels = ids.clone()
    labels[:, :prompt] = -100
    step += 1
    optimizer.zero_grad(set_to_none=True)
    with autocast():
        loss = model(input_ids=ids, labels=labels).loss
    loss.backward()
    optimizer.step()
    return loss.item()


for _ in range(2):
    repeat()
serve(repeat, transformers=transformers.__version__, peft=peft.__version__)
