"""One training step of a causal language model with transformers (full) or PEFT: zero_grad, forward, backward, fused AdamW.

`tuning_step.py METHOD BATCH LENGTH PROMPT`: METHOD is full, lora, dora, ia3, prefix or prompt; the first PROMPT tokens are not predicted.
LFM_PEER_MODEL names the folder of the model, or else LFM_SMOLLM2.
"""

import os
import sys

import peft
import torch
import transformers
from peer import autocast, serve
from transformers import AutoModelForCausalLM
from weights import fill, token_batch, uniform

method, batch, length, prompt = sys.argv[1], *map(int, sys.argv[2:5])
VIRTUAL = 20
folder = os.environ.get("LFM_PEER_MODEL") or os.environ["LFM_SMOLLM2"]
config = transformers.AutoConfig.from_pretrained(folder)
config.resid_pdrop = config.embd_pdrop = config.attn_pdrop = 0.0
model = AutoModelForCausalLM.from_pretrained(folder, config=config, dtype=torch.float32)
vocabulary = model.config.vocab_size
fused = model.config.model_type == "gpt2"
attention = ["c_attn"] if fused else ["q_proj", "v_proj"]
if method in ("lora", "dora"):
    # Weights in PEFT's default are stored as (in, out) in GPT-2 alone.
    options = peft.LoraConfig(r=8, lora_alpha=8, target_modules=attention, fan_in_fan_out=fused, use_dora=method == "dora")
    model = peft.get_peft_model(model, options)
    fill(model, only="lora_A")
    fill(model, only="lora_B")
elif method == "ia3":
    inner = ["mlp.c_proj"] if fused else ["down_proj"]
    scaled = (attention if fused else ["k_proj", "v_proj"]) + inner
    model = peft.get_peft_model(model, peft.IA3Config(target_modules=scaled, feedforward_modules=inner, fan_in_fan_out=fused))
elif method in ("prefix", "prompt"):
    kind = peft.PrefixTuningConfig if method == "prefix" else peft.PromptTuningConfig
    model = peft.get_peft_model(model, kind(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL))
    with torch.no_grad():
        for p in model.prompt_encoder.parameters():
            p.copy_(torch.from_numpy(uniform("prompt_embeddings", p.numel())).reshape(p.shape) * 0.02 * 3**0.5)
model.train()
optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-4, weight_decay=0.0, fused=True)
step = 0


def repeat() -> float:
    global step
    ids = token_batch(step, batch, length, vocabulary)
    labels = ids.clone()
    # The first token has nothing before it; behind a prompt PEFT would predict it, too.
    labels[:, : max(prompt, 1)] = -100
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
