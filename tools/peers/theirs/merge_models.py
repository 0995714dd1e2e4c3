"""Checkpoints to merge: a base and models around it. `merge_models.py FOLDER ARCHITECTURE SIZE MODELS DTYPE [SHARD_BYTES]`

Each model is FOLDER/base, FOLDER/model-1, …: config.json and safetensors as transformers saves them.
"""

import os
import sys

import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

folder, architecture, size, models, dtype = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), getattr(torch, sys.argv[5])
shard = sys.argv[6] if len(sys.argv) > 6 else "50GB"
SIZES = {
    # vocabulary, width, layers, heads, inner width
    "tiny": (301, 64, 5, 4, 176),
    "10mb": (4000, 256, 3, 4, 704),
    "254m": (32000, 1024, 16, 16, 2816),
    # one embedding of 500 MB in bf16, about 1 GB in all
    "1gb": (122070, 2048, 4, 16, 5632),
    "2gb": (122070, 2048, 14, 16, 5632),
}
vocabulary, width, layers, heads, inner = SIZES[size]
if architecture == "llama":
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads // 2,
        intermediate_size=inner,
        tie_word_embeddings=size in ("1gb", "2gb"),
    )
    make = LlamaForCausalLM
else:
    config = GPT2Config(vocab_size=vocabulary, n_embd=width, n_layer=layers, n_head=heads, n_positions=128)
    make = GPT2LMHeadModel

torch.manual_seed(0)
torch.set_default_dtype(dtype)
model = make(config)
with torch.no_grad():
    for i in range(models + 1):
        if i > 0:
            for p in model.parameters():
                # A tenth of the weights' own size: far enough for every rounding to show.
                p.add_(torch.randn_like(p) * 0.002 * i**0.5)
        name = "base" if i == 0 else f"model-{i}"
        model.save_pretrained(os.path.join(folder, name), max_shard_size=shard)
print(sum(p.numel() for p in model.parameters()))
