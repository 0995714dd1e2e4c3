"""One training step of a GPT-2-shaped model with transformers (full) or PEFT (LoRA): zero_grad, forward, backward, fused AdamW.

LFM_PEER_MODEL names the folder of the model.
"""

import os
import sys

import torch
import transformers
from peer import autocast, serve
from transformers import GPT2LMHeadModel
from weights import fill, token_batch

mode, batch, length = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
model = GPT2LMHeadModel.from_pretrained(os.environ["LFM_PEER_MODEL"], resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
vocabulary = model.config.vocab_size
versions = {"transformers": transformers.__version__}
if mode == "lora":
    import peft

    versions["peft"] = peft.__version__
    model = peft.get_peft_model(model, peft.LoraConfig(r=8, lora_alpha=8, target_modules=["c_attn"], fan_in_fan_out=True))
    fill(model, only="lora_")
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0, fused=True)
step = 0


def repeat() -> float:
    global step
    ids = token_batch(step, batch, length, vocabulary)
    step += 1
    optimizer.zero_grad(set_to_none=True)
    with autocast():
        loss = model(input_ids=ids, labels=ids).loss
    loss.backward()
    optimizer.step()
    return loss.item()


for _ in range(2):
    repeat()
serve(repeat, **versions)
