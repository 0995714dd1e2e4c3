"""Adapters of every part that PEFT saves, on small models, with the weights and the logits that they make of the model: for merges of files and deltas."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import LoraConfig, PeftConfig, PeftModel, TrainableTokensConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from fixture import folder, noise, spread_parameters, tokens, write_json, write_tensors
from formats import sort_targets

VOCABULARY, WIDTH = 23, 8


def llama(tied: bool) -> Callable[[], PreTrainedModel]:
    def make() -> PreTrainedModel:
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
                num_key_value_heads=1, max_position_embeddings=16, tie_word_embeddings=tied,
            )  # fmt: skip
        )
        spread_parameters(model, seed=1)
        return model.eval()

    return make


def gpt2() -> PreTrainedModel:
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_embd=WIDTH, n_layer=1, n_head=2, n_positions=16, bos_token_id=None, eos_token_id=None))
    spread_parameters(model, seed=2)
    return model.eval()


def bert() -> PreTrainedModel:
    model = BertForSequenceClassification(
        BertConfig(
            vocab_size=VOCABULARY, hidden_size=WIDTH, intermediate_size=12, num_hidden_layers=1, num_attention_heads=2,
            max_position_embeddings=16, num_labels=3,
        )  # fmt: skip
    )
    spread_parameters(model, seed=3)
    return model.eval()


@dataclass(frozen=True)
class Case:
    base: str
    config: PeftConfig
    #: As a file that was written by `state_dict()`, with the adapter's name in its keys.
    raw: bool = False
    #: Tokens that were added before training.
    added: int = 0


BASES = {"llama": llama(False), "tied": llama(True), "gpt2": gpt2, "bert": bert}


def lora(*targets: str, **options: object) -> LoraConfig:
    return LoraConfig(**{"r": 2, "lora_alpha": 3, "target_modules": list(targets), "task_type": "CAUSAL_LM", **options})


def classes(*targets: str, **options: object) -> LoraConfig:
    return lora(*targets, task_type="SEQ_CLS", **options)


CASES = {
    "embedding-and-head": Case("llama", lora("embed_tokens", "q_proj", "lm_head")),
    "embedding-tied": Case("tied", lora("embed_tokens", "q_proj")),
    "head-tied": Case("tied", lora("lm_head", "q_proj")),
    "ensure-tied": Case("tied", lora("embed_tokens", "q_proj", ensure_weight_tying=True)),
    "saved-apart": Case("tied", lora("q_proj", modules_to_save=["embed_tokens", "lm_head"])),
    "saved-one": Case("tied", lora("q_proj", modules_to_save=["embed_tokens"])),
    "tokens": Case("llama", lora("q_proj", trainable_token_indices=[4, 6])),
    "tokens-of-both": Case("llama", lora("q_proj", trainable_token_indices={"embed_tokens": [4, 6], "lm_head": [1]})),
    "tokens-tied": Case("tied", lora("q_proj", trainable_token_indices=[4, 6])),
    "tokens-alone": Case("tied", TrainableTokensConfig(token_indices=[2, 5, 7], task_type="CAUSAL_LM")),
    "dora": Case("llama", lora("embed_tokens", "k_proj", "down_proj", use_dora=True)),
    "dora-gpt2": Case("gpt2", lora("c_attn", "c_proj", use_dora=True, fan_in_fan_out=True)),
    "conv1d": Case("gpt2", lora("c_attn", "wte", use_rslora=True, rank_pattern={"c_attn": 3}, alpha_pattern={r"wt.": 5}, fan_in_fan_out=True)),
    "fan-in-of-linear": Case("llama", lora("q_proj", "up_proj", fan_in_fan_out=True)),
    "biases": Case("bert", classes("query", "dense", bias="all")),
    "lora-biases": Case("bert", classes("query", bias="lora_only")),
    "bias-of-b": Case("bert", classes("query", "value", lora_bias=True)),
    "names-left": Case("bert", classes("query", "word_embeddings"), raw=True),
    "resized": Case("llama", lora("q_proj", modules_to_save=["embed_tokens", "lm_head"]), added=2),
    "resized-tied": Case("tied", lora("embed_tokens"), added=2),
}


def adapted(name: str) -> PeftModel:
    case = CASES[name]
    base = BASES[case.base]()
    if case.added:
        torch.manual_seed(0)
        base.resize_token_embeddings(VOCABULARY + case.added, mean_resizing=False)
    model = get_peft_model(base, case.config).eval()
    with torch.no_grad():
        # What is tied stays tied: shared tensors are moved once.
        for i, (_, p) in enumerate(sorted((n, p) for n, p in model.named_parameters() if p.requires_grad)):
            p.add_(0.3 * noise(100 + i, tuple(p.shape)))
    return model


def save(model: PeftModel, path: Path, raw: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save_pretrained(path)
    (path / "README.md").unlink(missing_ok=True)
    sort_targets(path / "adapter_config.json")
    if raw:
        names = ("lora_", "modules_to_save", "original_module")
        kept = {k: v.contiguous().clone() for k, v in model.state_dict().items() if any(n in k for n in names)}
        write_tensors(path / "adapter_model.safetensors", kept)


def make() -> None:
    path = folder("reuse", "adapters")
    for name, base in BASES.items():
        base().save_pretrained(path / name)
        (path / name / "generation_config.json").unlink(missing_ok=True)
    expected, facts = {}, {}
    for name, case in CASES.items():
        model = adapted(name)
        save(model, path / f"{case.base}-{name}", case.raw)
        ids = tokens(7, (2, 6), VOCABULARY + case.added)
        with torch.no_grad():
            expected[f"{name}/in/tokens"] = ids
            expected[f"{name}/out/logits"] = model(input_ids=ids).logits
            # Merging in place moves what is tied: weights are compared where nothing came apart.
            merged = model.merge_and_unload() if case.base != "tied" or name.startswith("tokens") else None
            if merged is not None:
                expected |= {f"{name}/out/{n}": p for n, p in merged.state_dict().items() if n != "lm_head.weight" or case.base == "llama"}
        facts[name] = {"base": case.base, "adapter": f"{case.base}-{name}", "rows": VOCABULARY + case.added}
    write_tensors(path / "golden.safetensors", expected)
    write_json(path / "golden.json", {"maker": "adapter_merges.py", "tolerance": 1e-5, "cases": facts})
    for file in path.rglob("*.json"):
        json.loads(file.read_text())


MAKERS = {"reuse/adapters": make}
