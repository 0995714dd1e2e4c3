"""Small random models with outputs and gradients: decoders of all families, bert, vit; greedy continuations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Phi3Config,
    Phi3ForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from fixture import Array, folder, gradients, noise, prefixed, spread_parameters, tokens, write_json, write_tensors

VOCABULARY = 97
GENERATED = 20
CAUSAL_LOSS = (
    "cross entropy of token t+1 given tokens 0..t, mean over all (row, t) with mask[row, t] = mask[row, t+1] = 1; f32[]"
)


@dataclass(frozen=True)
class CausalCase:
    name: str
    tokens: torch.Tensor
    mask: torch.Tensor | None = None
    positions: torch.Tensor | None = None
    gradients: bool = False


def gpt2() -> GPT2LMHeadModel:
    config = GPT2Config(
        vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_inner=64, n_layer=2, n_head=4,
        resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return built(GPT2LMHeadModel, config, seed=1)


def llama(tied: bool = False) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return built(LlamaForCausalLM, config, seed=3 if tied else 2)


def qwen2() -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0}, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return built(Qwen2ForCausalLM, config, seed=4)


def mixtral() -> MixtralForCausalLM:
    config = MixtralConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, num_local_experts=3, num_experts_per_tok=2, max_position_embeddings=64, rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0}, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return built(MixtralForCausalLM, config, seed=6)


SMALL = dict(
    vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
    max_position_embeddings=64, bos_token_id=0, eos_token_id=0, pad_token_id=None,
)  # fmt: skip


PADDING = int(tokens(12, (3, 9), VOCABULARY)[0, 3])
"""A token of the sequences that gradients are taken of: its row of the embedding gets none."""


def mistral() -> MistralForCausalLM:
    config = MistralConfig(
        **SMALL | {"pad_token_id": PADDING}, num_key_value_heads=2, rms_norm_eps=1e-5, sliding_window=5,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )  # fmt: skip
    return built(MistralForCausalLM, config, seed=28)


def qwen3() -> Qwen3ForCausalLM:
    config = Qwen3Config(
        **SMALL, num_key_value_heads=2, head_dim=6,
        use_sliding_window=True, sliding_window=4, max_window_layers=1,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )  # fmt: skip
    return built(Qwen3ForCausalLM, config, seed=27)


def phi3() -> Phi3ForCausalLM:
    """Long positions begin within the sequences: original_max_position_embeddings is 8."""
    config = Phi3Config(
        **SMALL, num_key_value_heads=2, original_max_position_embeddings=8, sliding_window=7,
        rope_parameters={
            "rope_type": "longrope", "rope_theta": 10000.0, "partial_rotary_factor": 0.75,
            "short_factor": [1.0, 1.1, 1.3], "long_factor": [1.0, 2.5, 6.0],
        },
    )  # fmt: skip
    return built(Phi3ForCausalLM, config, seed=19)


def gpt_neox() -> GPTNeoXForCausalLM:
    config = GPTNeoXConfig(**SMALL, rope_parameters={"rope_type": "default", "rope_theta": 500.0, "partial_rotary_factor": 0.5})
    return built(GPTNeoXForCausalLM, config, seed=37)


def gemma2() -> Gemma2ForCausalLM:
    config = Gemma2Config(
        **SMALL, num_key_value_heads=2, head_dim=10, query_pre_attn_scalar=7, sliding_window=4, tie_word_embeddings=False,
        attn_logit_softcapping=3.0, final_logit_softcapping=8.0,
    )  # fmt: skip
    return built(Gemma2ForCausalLM, config, seed=39)


def gemma3() -> Gemma3ForCausalLM:
    config = Gemma3TextConfig(
        **SMALL | {"pad_token_id": PADDING}, num_key_value_heads=1, head_dim=8, query_pre_attn_scalar=9, sliding_window=4, tie_word_embeddings=False,
        layer_types=["sliding_attention", "full_attention"],
        rope_parameters={
            "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
            "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
        },
    )  # fmt: skip
    return built(Gemma3ForCausalLM, config, seed=10)


def checkpoint_names(model: PreTrainedModel, named: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Names of modules as checkpoints have them."""
    if isinstance(model, MixtralForCausalLM):
        return separate_experts(named)
    if isinstance(model, GPTNeoXForCausalLM):
        return {name.replace("lm_head.", "embed_out."): value for name, value in named.items()}
    return named


def separate_experts(named: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers holds a block's experts as two tensors; checkpoints have three matrices for each."""
    out: dict[str, torch.Tensor] = {}
    for name, value in named.items():
        if ".mlp." not in name or value.dim() != 3:
            out[name.replace(".mlp.gate.", ".block_sparse_moe.gate.")] = value
            continue
        for e, matrix in enumerate(value):
            prefix = f"{name.split('.mlp.')[0]}.block_sparse_moe.experts.{e}"
            if name.endswith("down_proj"):
                out[f"{prefix}.w2.weight"] = matrix
            else:
                out[f"{prefix}.w1.weight"], out[f"{prefix}.w3.weight"] = matrix.chunk(2)
    return out


def bert_config() -> BertConfig:
    return BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        max_position_embeddings=48, type_vocab_size=2, num_labels=5, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0, pad_token_id=0,
    )  # fmt: skip


def built(kind: type[PreTrainedModel], config: object, seed: int) -> PreTrainedModel:
    config._attn_implementation = "eager"
    model = kind(config).eval()
    spread_parameters(model, seed)
    return model


def save_model(model: PreTrainedModel, path: Path) -> None:
    model.save_pretrained(path)
    (path / "generation_config.json").unlink(missing_ok=True)


def block_outputs(model: torch.nn.Module, blocks: torch.nn.ModuleList, run: object) -> tuple[object, list[torch.Tensor]]:
    """Runs the model and catches what each block gives (transformers' own last hidden state has the final norm in it)."""
    caught: list[torch.Tensor] = []

    def catch(_module: object, _inputs: object, output: object) -> None:
        caught.append(output[0] if isinstance(output, tuple) else output)

    hooks = [block.register_forward_hook(catch) for block in blocks]
    try:
        return run(), caught
    finally:
        for hook in hooks:
            hook.remove()


def causal_loss(logits: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor | None) -> torch.Tensor:
    losses = F.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
    counted = torch.ones_like(losses) if mask is None else (mask[:, 1:] * mask[:, :-1]).to(losses.dtype)
    return (losses * counted).sum() / counted.sum()


def causal_case(model: PreTrainedModel, case: CausalCase) -> dict[str, Array]:
    arguments = {"input_ids": case.tokens, "attention_mask": case.mask, "position_ids": case.positions}
    given = {name: value for name, value in arguments.items() if value is not None}
    decoder = getattr(model, model.base_model_prefix)
    blocks = decoder.h if hasattr(decoder, "h") else decoder.layers
    result, caught = block_outputs(model, blocks, lambda: model(**given, output_hidden_states=True, use_cache=False))
    loss = causal_loss(result.logits, case.tokens, case.mask)
    keep = 1.0 if case.mask is None else case.mask[..., None].to(torch.float32)
    tensors: dict[str, Array] = {
        "in/tokens": case.tokens,
        "out/logits": result.logits * keep,
        "out/last": result.hidden_states[-1] * keep,
        "out/loss": loss,
        **{f"out/hidden.{i}": h * keep for i, h in enumerate([result.hidden_states[0], *caught])},
    }
    if case.mask is not None:
        tensors["in/mask"] = case.mask.to(torch.float32)
    if case.positions is not None:
        tensors["in/positions"] = case.positions
    if case.gradients:
        tensors |= prefixed("grad", checkpoint_names(model, gradients(model, loss)))
    return prefixed(case.name, tensors)


def causal_cases() -> list[CausalCase]:
    right = torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 3 + [0] * 6])
    left = right.flip(1)
    return [
        CausalCase("plain", tokens(11, (2, 12), VOCABULARY)),
        CausalCase("right_padded", tokens(12, (3, 9), VOCABULARY), right, gradients=True),
        CausalCase("left_padded", tokens(13, (3, 9), VOCABULARY), left, (left.cumsum(1) - 1).clamp(min=0)),
        CausalCase("positions", tokens(14, (1, 6), VOCABULARY), positions=torch.arange(20, 26)[None]),
    ]


def greedy(model: PreTrainedModel, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """transformers' own greedy continuation, with an end token that does not exist, so that all of GENERATED tokens come."""
    with torch.inference_mode():
        out = model.generate(
            ids, attention_mask=mask, max_new_tokens=GENERATED, do_sample=False, pad_token_id=0, eos_token_id=VOCABULARY
        )
    return out[:, ids.shape[1] :]


def generation_tensors(model: PreTrainedModel) -> dict[str, Array]:
    """One prompt alone, and a batch of prompts of unequal length, padded on the left as transformers wants them."""
    single, ragged = tokens(15, (1, 7), VOCABULARY), tokens(16, (4, 9), VOCABULARY)
    lengths = torch.tensor([9, 5, 2, 1])
    mask = (torch.arange(9)[None] >= 9 - lengths[:, None]).long()
    return {
        "greedy/in/tokens": single,
        "greedy/out/tokens": greedy(model, single, torch.ones_like(single)),
        "ragged/in/tokens": ragged * mask,
        "ragged/in/mask": mask,
        "ragged/out/tokens": greedy(model, ragged * mask, mask),
    }


def make_causal(name: str, model: PreTrainedModel) -> None:
    path = folder("models", name)
    save_model(model, path)
    cases = causal_cases()
    tensors: dict[str, Array] = {}
    for case in cases:
        tensors |= causal_case(model, case)
    tensors |= generation_tensors(model)
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "architectures.py",
            "cases": [case.name for case in cases],
            "generation": {
                "cases": ["greedy", "ragged"],
                "new_tokens": GENERATED,
                "in": "tokens i32[batch, seq], padded on the left where mask i32[batch, seq] is 0",
                "out": "tokens i32[batch, new_tokens]: greedy continuation by transformers' generate, end tokens ignored",
            },
            "gradients_of": "right_padded",
            "loss": CAUSAL_LOSS,
            "out": {
                "logits": "f32[batch, seq, vocab]",
                "last": "f32[batch, seq, hidden]: what the head reads, final norm included",
                "hidden.i": "f32[batch, seq, hidden]: 0 the embedding output, i the output of block i−1, without the final norm",
                "loss": "f32[]",
            },
            "masked": "positions with mask 0 are written as 0 in every out tensor: compare only where mask is 1",
            "tolerance": {"logits": 1e-4, "grad": "1e-4 of max|grad| of that parameter"},
        },
    )


def make_bert_classifier() -> None:
    path = folder("models", "bert-classifier")
    model = built(BertForSequenceClassification, bert_config(), seed=5)
    save_model(model, path)
    ids, mask, segments = bert_inputs()
    labels = torch.tensor([4, 0, 2])
    run = lambda: model(input_ids=ids, attention_mask=mask, token_type_ids=segments, output_hidden_states=True)  # noqa: E731
    result = run()
    pooled = model.bert(input_ids=ids, attention_mask=mask, token_type_ids=segments).pooler_output
    loss = F.cross_entropy(result.logits, labels)
    keep = mask[..., None].to(torch.float32)
    tensors: dict[str, Array] = {
        "padded/in/tokens": ids, "padded/in/mask": mask.to(torch.float32), "padded/in/segments": segments,
        "padded/in/labels": labels, "padded/out/logits": result.logits, "padded/out/pooled": pooled, "padded/out/loss": loss,
        "padded/out/last": result.hidden_states[-1] * keep,
        **{f"padded/out/hidden.{i}": h * keep for i, h in enumerate(result.hidden_states)},
        **prefixed("padded/grad", gradients(model, loss)),
        "defaults/in/tokens": ids, "defaults/out/logits": model(input_ids=ids).logits,
    }  # fmt: skip
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "architectures.py",
            "cases": ["padded", "defaults"],
            "gradients_of": "padded",
            "loss": "mean over the batch of the cross entropy of logits against in/labels",
            "out": {"pooled": "tanh of the pooler's dense on the first token", "last": "after the last block"},
            "defaults": "no mask, no segments given: all 1 and all 0",
            "masked": "positions with mask 0 are written as 0 in last and hidden.i",
            "tolerance": {"logits": 1e-4, "grad": "1e-4 of max|grad| of that parameter"},
        },
    )


def bert_inputs() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    mask = torch.tensor([[1] * 10, [1] * 7 + [0] * 3, [1] * 2 + [0] * 8])
    segments = torch.tensor([[0] * 4 + [1] * 6, [0] * 5 + [1] * 2 + [0] * 3, [0] * 10])
    return tokens(21, (3, 10), VOCABULARY), mask, segments


def make_bert_encoder() -> None:
    path = folder("models", "bert-encoder")
    model = built(BertModel, bert_config(), seed=6)
    save_model(model, path)
    ids, mask, segments = bert_inputs()
    result = model(input_ids=ids, attention_mask=mask, token_type_ids=segments)
    weights = mask[..., None].to(torch.float32)
    mean = (result.last_hidden_state * weights).sum(1) / weights.sum(1).clamp(min=1e-9)
    unit = F.normalize(mean, dim=1)
    direction = noise(22, tuple(unit.shape))
    loss = (unit * direction).sum()
    tensors: dict[str, Array] = {
        "padded/in/tokens": ids, "padded/in/mask": weights[..., 0], "padded/in/segments": segments,
        "padded/in/direction": direction, "padded/out/pooled": result.pooler_output, "padded/out/loss": loss,
        "padded/out/last": result.last_hidden_state * weights, "padded/out/mean": mean, "padded/out/unit": unit,
        **prefixed("padded/grad", gradients(model, loss)),
    }  # fmt: skip
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "architectures.py",
            "cases": ["padded"],
            "gradients_of": "padded",
            "loss": "Σ unit · in/direction; the pooler is not on its path and has no gradient here",
            "out": {
                "mean": "Σ mask·last / max(Σ mask, 1e-9) as sentence-transformers' mean pooling",
                "unit": "mean / max(‖mean‖₂, 1e-12)",
                "pooled": "BertModel's own pooler_output",
            },
            "masked": "positions with mask 0 are written as 0 in last",
            "tolerance": {"mean": 1e-4, "grad": "1e-4 of max|grad| of that parameter"},
        },
    )


def vit_checkpoint_name(module_name: str) -> str:
    """transformers 5 renamed ViT's modules but writes checkpoints under the old names."""
    for new, old in (
        ("vit.layers.", "vit.encoder.layer."), ("attention.q_proj", "attention.attention.query"),
        ("attention.k_proj", "attention.attention.key"), ("attention.v_proj", "attention.attention.value"),
        ("attention.o_proj", "attention.output.dense"), ("mlp.fc1", "intermediate.dense"), ("mlp.fc2", "output.dense"),
    ):  # fmt: skip
        module_name = module_name.replace(new, old)
    return module_name


def make_vit() -> None:
    path = folder("models", "vit")
    config = ViTConfig(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64, image_size=24, patch_size=8,
        num_channels=3, num_labels=5, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = built(ViTForImageClassification, config, seed=7)
    save_model(model, path)
    pixels, labels = noise(31, (3, 3, 24, 24)), torch.tensor([1, 4, 0])
    result = model(pixel_values=pixels, output_hidden_states=True)
    last = model.vit(pixel_values=pixels).last_hidden_state
    loss = F.cross_entropy(result.logits, labels)
    tensors: dict[str, Array] = {
        "plain/in/pixels": pixels, "plain/in/labels": labels, "plain/out/logits": result.logits, "plain/out/loss": loss,
        "plain/out/last": last, "plain/out/cls": last[:, 0],
        **{f"plain/out/hidden.{i}": h for i, h in enumerate(result.hidden_states)},
        **prefixed("plain/grad", {vit_checkpoint_name(n): g for n, g in gradients(model, loss).items()}),
    }  # fmt: skip
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "architectures.py",
            "cases": ["plain"],
            "gradients_of": "plain",
            "loss": "mean over the batch of the cross entropy of logits against in/labels",
            "out": {
                "last": "f32[batch, 1 + patches, hidden] after vit.layernorm",
                "cls": "last[:, 0], what the classifier reads (ViTForImageClassification has no pooler)",
                "hidden.i": "0 the embedding output, i the output of block i−1, without vit.layernorm",
            },
            "tolerance": {"logits": 1e-4, "grad": "1e-4 of max|grad| of that parameter"},
        },
    )


MAKERS = {
    "models/gpt2": lambda: make_causal("gpt2", gpt2()),
    "models/llama": lambda: make_causal("llama", llama()),
    "models/llama-tied": lambda: make_causal("llama-tied", llama(tied=True)),
    "models/qwen2": lambda: make_causal("qwen2", qwen2()),
    "models/mixtral": lambda: make_causal("mixtral", mixtral()),
    "models/mistral": lambda: make_causal("mistral", mistral()),
    "models/qwen3": lambda: make_causal("qwen3", qwen3()),
    "models/phi3": lambda: make_causal("phi3", phi3()),
    "models/gpt-neox": lambda: make_causal("gpt-neox", gpt_neox()),
    "models/gemma2": lambda: make_causal("gemma2", gemma2()),
    "models/gemma3": lambda: make_causal("gemma3", gemma3()),
    "models/bert-classifier": make_bert_classifier,
    "models/bert-encoder": make_bert_encoder,
    "models/vit": make_vit,
}
