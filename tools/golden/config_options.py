"""Fields of transformers' config classes, and what one option after another makes of small models.

Parameters are not stored: both sides draw them, by the crc32 of their names.
"""

from __future__ import annotations

import copy
import dataclasses
import zlib
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    BertModel,
    PreTrainedConfig,
    PreTrainedModel,
    T5ForConditionalGeneration,
    ViTModel,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from architectures import checkpoint_names, vit_checkpoint_name
from fixture import Array, Draws, folder, noise, prefixed, tokens, write_json, write_tensors

TYPES = [
    "gpt2", "llama", "qwen2", "mixtral", "mistral", "qwen3", "phi3", "gpt_neox", "gemma", "gemma2", "gemma3_text", "bert", "t5", "vit",
    "roberta", "distilbert", "dinov2", "resnet",
]  # fmt: skip
VOCABULARY = 23

Config = dict[str, Any]

GPT2: Config = {"n_positions": 16, "n_embd": 12, "n_layer": 2, "n_head": 2}
DECODER: Config = {
    "hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 1, "max_position_embeddings": 8, "pad_token_id": None,
}  # fmt: skip
ROTARY: Config = {"head_dim": 16}
GEMMA: Config = {"head_dim": 6, "query_pre_attn_scalar": 5, "sliding_window": 3}
NEOX = {k: v for k, v in DECODER.items() if k != "num_key_value_heads"}
BERT = {**NEOX, "max_position_embeddings": 16}
VIT: Config = {
    "hidden_size": 12, "intermediate_size": 10, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 8, "patch_size": 4,
}  # fmt: skip
T5: Config = {"d_model": 8, "d_kv": 4, "d_ff": 6, "num_layers": 1, "num_heads": 2}

ACTIVATIONS = [
    "gelu", "gelu_python", "gelu_python_tanh", "gelu_pytorch_tanh", "gelu_fast", "gelu_accurate", "gelu_10", "quick_gelu",
    "relu", "relu2", "relu6", "silu", "swish", "sigmoid", "tanh", "linear",
]  # fmt: skip


def scaling(rope_type: str, **more: Any) -> Config:
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": 500.0, **more}}


LONG = {"short_factor": [1, 1.1, 1.2, 1.4, 1.5, 2, 2.5, 3], "long_factor": [1, 1.5, 2, 3, 4, 6, 8, 9]}
LLAMA3 = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 6}

CASES: dict[str, tuple[str, Config]] = {
    "gpt2": ("gpt2", GPT2),
    "gpt2-unscaled": ("gpt2", GPT2 | {"scale_attn_weights": False}),
    "gpt2-inverse-layer": ("gpt2", GPT2 | {"scale_attn_by_inverse_layer_idx": True}),
    "gpt2-unscaled-inverse-layer": ("gpt2", GPT2 | {"scale_attn_by_inverse_layer_idx": True, "scale_attn_weights": False}),
    "gpt2-inner": ("gpt2", GPT2 | {"n_inner": 10, "layer_norm_epsilon": 0.1, "tie_word_embeddings": False}),
    **{f"gpt2-{name}": ("gpt2", GPT2 | {"activation_function": name}) for name in ACTIVATIONS},
    "llama": ("llama", DECODER),
    "llama-nulls": ("llama", DECODER | {"num_key_value_heads": None, "head_dim": None, "rope_scaling": None}),
    "llama-biases": ("llama", DECODER | {"attention_bias": True, "mlp_bias": True, "hidden_act": "gelu", "rms_norm_eps": 0.1}),
    "llama-head-dim": ("llama", DECODER | {"head_dim": 4, "tie_word_embeddings": True, "rope_theta": 300.0}),
    "rope-linear": ("llama", DECODER | ROTARY | scaling("linear", factor=2.5)),
    "rope-linear-older": ("llama", DECODER | ROTARY | {"rope_theta": 500.0, "rope_scaling": {"type": "linear", "factor": 2.5}}),
    "rope-dynamic": ("llama", DECODER | ROTARY | scaling("dynamic", factor=2.5)),
    "rope-dynamic-short": ("llama", DECODER | ROTARY | {"max_position_embeddings": 64} | scaling("dynamic", factor=2.5)),
    "rope-yarn": ("llama", DECODER | ROTARY | scaling("yarn", factor=2.0, original_max_position_embeddings=4)),
    "rope-yarn-older": ("llama", DECODER | ROTARY | {"rope_theta": 9000.0, "rope_scaling": {"type": "yarn", "factor": 4.0}}),
    "rope-yarn-attention-factor": ("llama", DECODER | ROTARY | scaling("yarn", factor=2.0, attention_factor=1.3, beta_fast=2, beta_slow=0.1)),
    "rope-yarn-mscale": ("llama", DECODER | ROTARY | scaling("yarn", factor=4.0, mscale=0.7, mscale_all_dim=1.4)),
    "rope-yarn-untruncated": ("llama", DECODER | ROTARY | scaling("yarn", factor=4.0, truncate=False, beta_fast=2, beta_slow=0.1)),
    "rope-llama3": ("llama", DECODER | ROTARY | scaling("llama3", **LLAMA3)),
    "rope-longrope": ("llama", DECODER | ROTARY | scaling("longrope", factor=2.0, original_max_position_embeddings=6, **LONG)),
    "rope-longrope-short": ("llama", DECODER | ROTARY | {"max_position_embeddings": 64} | scaling("longrope", factor=4.0, original_max_position_embeddings=16, **LONG)),
    "rope-longrope-attention-factor": ("llama", DECODER | ROTARY | scaling("longrope", factor=2.0, attention_factor=1.2, **LONG)),
    "qwen2": ("qwen2", DECODER),
    "qwen2-window": ("qwen2", DECODER | {"use_sliding_window": True, "sliding_window": 3, "max_window_layers": 1}),
    "qwen2-layer-types": ("qwen2", DECODER | {"use_sliding_window": True, "sliding_window": 3, "layer_types": ["sliding_attention", "full_attention"]}),
    "qwen2-window-unused": ("qwen2", DECODER | {"sliding_window": 3, "max_window_layers": 0}),
    "mistral": ("mistral", DECODER),
    "mistral-unbounded": ("mistral", DECODER | {"sliding_window": None, "head_dim": 8}),
    "mistral-window": ("mistral", DECODER | {"sliding_window": 2}),
    "mixtral-window": ("mixtral", DECODER | {"sliding_window": 3, "num_local_experts": 3, "num_experts_per_tok": 2}),
    "qwen3": ("qwen3", DECODER | {"head_dim": 8, "attention_bias": True}),
    "qwen3-layer-types": ("qwen3", DECODER | {"head_dim": 8, "use_sliding_window": True, "sliding_window": 2, "layer_types": ["sliding_attention", "full_attention"]}),
    "phi3": ("phi3", DECODER),
    "phi3-partial-older": ("phi3", DECODER | {"hidden_size": 24, "partial_rotary_factor": 0.5, "original_max_position_embeddings": 4, "rope_scaling": {"type": "su", "original_max_position_embeddings": 4, "short_factor": [1, 2, 3], "long_factor": [2, 3, 4]}}),
    "gpt-neox": ("gpt_neox", NEOX | {"hidden_size": 32}),
    "gpt-neox-serial": ("gpt_neox", NEOX | {"hidden_size": 32, "use_parallel_residual": False, "attention_bias": False, "hidden_act": "gelu_new"}),
    "gpt-neox-older": ("gpt_neox", NEOX | {"rotary_pct": 1.0, "rotary_emb_base": 300, "tie_word_embeddings": True, "layer_norm_eps": 0.1}),
    "gemma": ("gemma", DECODER | {"head_dim": 6}),
    "gemma-older": ("gemma", DECODER | {"head_dim": 6, "hidden_act": "gelu", "attention_bias": True, "tie_word_embeddings": False}),
    "gemma2": ("gemma2", DECODER | GEMMA),
    "gemma2-uncapped": ("gemma2", DECODER | GEMMA | {"attn_logit_softcapping": None, "final_logit_softcapping": None, "attention_bias": True}),
    "gemma2-layer-types": ("gemma2", DECODER | GEMMA | {"attn_logit_softcapping": 2.0, "layer_types": ["full_attention", "sliding_attention"], "hidden_activation": "gelu"}),
    "gemma3": ("gemma3_text", DECODER | GEMMA),
    "gemma3-older": ("gemma3_text", DECODER | GEMMA | {"num_hidden_layers": 3, "sliding_window_pattern": 2, "rope_theta": 700.0, "rope_local_base_freq": 90.0, "rope_scaling": {"rope_type": "linear", "factor": 8.0}}),
    "gemma3-capped": ("gemma3_text", DECODER | GEMMA | {"final_logit_softcapping": 2.0, "attention_bias": True, "tie_word_embeddings": False}),
    "bert": ("bert", BERT),
    "bert-silu": ("bert", BERT | {"hidden_act": "silu", "layer_norm_eps": 0.1}),
    "vit": ("vit", VIT),
    "vit-pooler": ("vit", VIT | {"pooler_act": "relu", "pooler_output_size": 5, "qkv_bias": False, "hidden_act": "quick_gelu"}),
    "t5-gelu": ("t5", T5 | {"feed_forward_proj": "gelu"}),
    "t5-gated-silu": ("t5", T5 | {"feed_forward_proj": "gated-silu", "relative_attention_num_buckets": 8, "relative_attention_max_distance": 6}),
    "t5-gated-gelu": ("t5", T5 | {"feed_forward_proj": "gated-gelu", "num_decoder_layers": 2}),
}  # fmt: skip


def draw_parameters(named: dict[str, torch.Tensor]) -> None:
    """1 + u/3 for scales of norms, u/3 for biases, u/2 for matrices; u in [−1, 1) by Draws(crc32(name))."""
    with torch.no_grad():
        for name, parameter in named.items():
            u = torch.from_numpy(Draws(zlib.crc32(name.encode())).f32(*parameter.shape)).float()
            if parameter.ndim > 1:
                parameter.copy_(u / 2)
            else:
                parameter.copy_(1 + u / 3 if name.endswith("weight") else u / 3)


def parameters(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    named = dict(model.named_parameters())
    if isinstance(model, ViTModel):
        return {vit_checkpoint_name(f"vit.{name}").removeprefix("vit."): p for name, p in named.items()}
    return checkpoint_names(model, named)


def built(config: PreTrainedConfig) -> PreTrainedModel:
    config._attn_implementation = "eager"
    if config.model_type == "bert":
        return BertModel(config).eval()
    if config.model_type == "vit":
        return ViTModel(config).eval()
    if config.model_type == "t5":
        return T5ForConditionalGeneration(config).eval()
    return AutoModelForCausalLM.from_config(config, attn_implementation="eager", experts_implementation="eager").eval()


def given(config: Config) -> dict[str, torch.Tensor]:
    if config["model_type"] == "vit":
        return {"pixels": noise(2, (2, 3, 8, 8))}
    ids = {"tokens": tokens(1, (2, 10), VOCABULARY)}
    return ids | ({"decoder": tokens(3, (2, 4), VOCABULARY)} if config["model_type"] == "t5" else {})


def option_case(model_type: str, options: Config) -> tuple[Config, dict[str, Array]]:
    config = {"model_type": model_type, "architectures": [], **({} if model_type == "vit" else {"vocab_size": VOCABULARY}), **options}
    model = built(CONFIG_MAPPING[model_type].from_dict(copy.deepcopy(config)))
    draw_parameters(parameters(model))
    inputs = given(config)
    names = {"tokens": "input_ids", "pixels": "pixel_values", "decoder": "decoder_input_ids"}
    with torch.inference_mode():
        out = model(**{names[name]: value for name, value in inputs.items()})
    tensors: dict[str, Array] = {f"in/{name}": value for name, value in inputs.items()}
    tensors |= {"out/pooled": out.pooler_output} if model_type in ("bert", "vit") else {"out/logits": out.logits}
    if "rope_parameters" in options or "rope_scaling" in options:
        rotary = getattr(getattr(model, "model", None), "rotary_emb", None)
        if rotary is not None and hasattr(rotary, "inv_freq"):
            tensors |= {"out/inv_freq": rotary.inv_freq, "out/attention_scaling": torch.tensor(rotary.attention_scaling)}
    return config, tensors


def make_options() -> None:
    path = folder("models", "config-options")
    configs: dict[str, Config] = {}
    tensors: dict[str, Array] = {}
    for name, (model_type, options) in CASES.items():
        configs[name], made = option_case(model_type, options)
        tensors |= prefixed(name, made)
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "config_options.py",
            "configs": configs,
            "parameters": "u in [−1, 1): x ← (1664525·x + 1013904223) mod 2³², u = x/2³¹ − 1, from crc32 of the parameter's name; "
            "u/2 where it has more than one dimension, else 1 + u/3 for a weight and u/3 for a bias",
            "out": {
                "logits": "f32[batch, seq, vocab]", "pooled": "f32[batch, width]",
                "inv_freq": "radians per position of each pair of dimensions after this pass", "attention_scaling": "factor of cosines and sines",
            },
            "tolerance": {"logits": 1e-4, "inv_freq": "1e-6 of each"},
        },
    )  # fmt: skip


def plain(value: object) -> object:
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def make_fields() -> None:
    """Every field of a class with its default; of those that are computed from others, what comes of a config without any."""
    fields = {
        model_type: {
            f.name: None if f.default is dataclasses.MISSING else plain(f.default)
            for f in dataclasses.fields(CONFIG_MAPPING[model_type])
            if not f.name.startswith("_")
        }
        for model_type in TYPES
    }
    write_json(folder("models", "config-fields") / "golden.json", {"maker": "config_options.py", "fields": fields})


MAKERS = {"models/config-options": make_options, "models/config-fields": make_fields}
