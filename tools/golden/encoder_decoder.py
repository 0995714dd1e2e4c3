"""Small random encoder-decoders with outputs and gradients: t5 (relu, tied head) and its version 1.1 (gated GELU, a head of its own)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import T5Config, T5ForConditionalGeneration

from architectures import VOCABULARY, built, save_model
from fixture import Array, folder, gradients, noise, prefixed, tokens, write_json, write_tensors


def t5(gated: bool) -> T5ForConditionalGeneration:
    config = T5Config(
        vocab_size=VOCABULARY, d_model=24, d_kv=6, d_ff=20, num_layers=2, num_decoder_layers=1, num_heads=3,
        relative_attention_num_buckets=12, relative_attention_max_distance=20, dropout_rate=0.0,
        feed_forward_proj="gated-gelu" if gated else "relu", tie_word_embeddings=not gated, decoder_start_token_id=0,
    )  # fmt: skip
    model = built(T5ForConditionalGeneration, config, seed=8 if gated else 7)
    if gated:
        model.lm_head.weight = torch.nn.Parameter(0.2 * noise(9, (VOCABULARY, 24)))
        model.config.tie_word_embeddings = False
    return model


def make(name: str, gated: bool) -> None:
    path = folder("models", name)
    model = t5(gated)
    save_model(model, path)
    ids, target = tokens(41, (2, 26), VOCABULARY), tokens(42, (2, 7), VOCABULARY)
    mask = torch.tensor([[1] * 26, [1] * 17 + [0] * 9])
    target_mask = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
    labels = tokens(43, (2, 7), VOCABULARY)
    result = model(
        input_ids=ids, attention_mask=mask, decoder_input_ids=target, decoder_attention_mask=target_mask,
        output_hidden_states=True, use_cache=False,
    )  # fmt: skip
    losses = F.cross_entropy(result.logits.transpose(1, 2), labels, reduction="none")
    loss = (losses * target_mask).sum() / target_mask.sum()
    keep = target_mask[..., None].to(torch.float32)
    tensors: dict[str, Array] = {
        "padded/in/tokens": ids, "padded/in/mask": mask.to(torch.float32), "padded/in/decoder/tokens": target,
        "padded/in/decoder/mask": target_mask.to(torch.float32), "padded/in/labels": labels,
        "padded/out/logits": result.logits * keep, "padded/out/loss": loss,
        "padded/out/encoded": result.encoder_last_hidden_state * mask[..., None],
        "padded/out/last": result.decoder_hidden_states[-1] * keep, "padded/out/hidden.0": result.decoder_hidden_states[0],
        **prefixed("padded/grad", gradients(model, loss)),
        "plain/in/tokens": ids[:, :5], "plain/in/decoder/tokens": target[:, :3],
        "plain/out/logits": model(input_ids=ids[:, :5], decoder_input_ids=target[:, :3], use_cache=False).logits,
    }  # fmt: skip
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "encoder_decoder.py",
            "cases": ["padded", "plain"],
            "gradients_of": "padded",
            "loss": "mean over positions with decoder mask 1 of the cross entropy of logits against in/labels",
            "masked": "positions with mask 0 are written as 0 in logits, encoded and last",
            "tolerance": {"logits": 1e-4, "grad": "1e-4 of max|grad| of that parameter"},
        },
    )


MAKERS = {"models/t5": lambda: make("t5", False), "models/t5-gated": lambda: make("t5-gated", True)}
