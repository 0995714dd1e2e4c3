"""Folders that the library `adapters` saves, with what its models answer and five AdamW steps: bottleneck adapters, Compacter, AdapterFusion.

The library needs an older transformers than the other makers, so this one stands alone: `python adapter_hub.py` with requirements-adapters.txt.
"""

from __future__ import annotations

import json
from pathlib import Path

import adapters
import torch
from adapters import AdapterPlusConfig, BnConfig, DoubleSeqBnConfig, Fuse, ParBnConfig, SeqBnConfig
from adapters.configuration import CompacterConfig, CompacterPlusPlusConfig
from fixture import ROOT, folder, noise, write_json, write_tensors
from safetensors.torch import save_file
from transformers import (
    AutoConfig,
    BertForSequenceClassification,
    DistilBertForSequenceClassification,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    RobertaForSequenceClassification,
    T5ForConditionalGeneration,
    ViTForImageClassification,
)

STEPS, ROWS, LENGTH = 5, 3, 6
LR, DECAY = 0.01, 0.1
NAME = "mood"
CLASSES = {
    "bert-classifier": BertForSequenceClassification,
    "roberta-classifier": RobertaForSequenceClassification,
    "distilbert-classifier": DistilBertForSequenceClassification,
    "gpt2": GPT2LMHeadModel,
    "llama": LlamaForCausalLM,
    "t5": T5ForConditionalGeneration,
    "vit": ViTForImageClassification,
}
CASES: dict[str, tuple[str, BnConfig]] = {
    "bert-seq-bn": ("bert-classifier", SeqBnConfig(reduction_factor=8)),
    "bert-double-seq-bn": ("bert-classifier", DoubleSeqBnConfig(reduction_factor=8)),
    "bert-par-bn": ("bert-classifier", ParBnConfig(reduction_factor=8)),
    "bert-compacter": ("bert-classifier", CompacterConfig(reduction_factor=8)),
    "bert-norms": (
        "bert-classifier",
        SeqBnConfig(reduction_factor=8, ln_before=True, ln_after=True, adapter_residual_before_ln=True, residual_before_ln="post_add", leave_out=[0]),
    ),
    "roberta-seq-bn": ("roberta-classifier", SeqBnConfig(reduction_factor=8, ln_after=True, residual_before_ln=False)),
    "distilbert-double-seq-bn": ("distilbert-classifier", DoubleSeqBnConfig(reduction_factor=8)),
    "gpt2-seq-bn": ("gpt2", SeqBnConfig(reduction_factor=8)),
    "gpt2-compacter-pp": ("gpt2", CompacterPlusPlusConfig(reduction_factor=8)),
    "llama-scaled-par-bn": ("llama", ParBnConfig(reduction_factor=8, scaling="learned")),
    "t5-double-seq-bn": ("t5", DoubleSeqBnConfig(reduction_factor=6, cross_adapter=True)),
    "vit-adapter-plus": ("vit", AdapterPlusConfig(reduction_factor=8, stochastic_depth=0.0)),
}
TRAINED = {"bert-seq-bn", "bert-par-bn", "bert-compacter", "gpt2-seq-bn"}


def load(kind: str) -> torch.nn.Module:
    path = ROOT / "packages/models/test/golden" / kind
    config = AutoConfig.from_pretrained(path)
    if hasattr(config, "rope_parameters"):  # as transformers 5 writes it
        config.rope_theta = config.rope_parameters["rope_theta"]
    model = CLASSES[kind].from_pretrained(path, config=config, dtype=torch.float32, attn_implementation="eager").eval()
    # Not a path of this machine.
    model.config.name_or_path = kind
    adapters.init(model)
    return model


def batch(kind: str, step: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(80 + step)
    if kind == "vit":
        return {"pixel_values": torch.randn(2, 3, 24, 24, generator=generator), "labels": torch.randint(0, 2, (2,), generator=generator)}
    tokens = torch.randint(5, 50, (ROWS, LENGTH), generator=generator)
    if kind == "t5":
        return {"input_ids": tokens, "decoder_input_ids": torch.randint(5, 50, (ROWS, 4), generator=generator)}
    if kind in ("gpt2", "llama"):
        return {"input_ids": tokens}
    return {"input_ids": tokens, "labels": torch.randint(0, 2, (ROWS,), generator=generator)}


def logits_of(model: torch.nn.Module, given: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**{k: v for k, v in given.items() if k != "labels"}).logits


def loss_of(model: torch.nn.Module, given: dict[str, torch.Tensor]) -> torch.Tensor:
    logits = logits_of(model, given)
    if "labels" in given:
        return torch.nn.functional.cross_entropy(logits, given["labels"])
    return torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), given["input_ids"][:, 1:].flatten())


def spread(named: list[tuple[str, torch.nn.Parameter]]) -> None:
    with torch.no_grad():
        for i, (name, p) in enumerate(sorted(named)):
            centre = p.clone() if "norm" in name or "scaling" in name else torch.zeros(())
            p.copy_(centre + 0.3 * noise(i, tuple(p.shape)))


def train(model: torch.nn.Module, kind: str, parameters: list[torch.nn.Parameter], regularised: bool = False) -> list[float]:
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model, batch(kind, step))
        if regularised:
            loss = loss + model.base_model.get_fusion_regularization_loss()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def batches(kind: str) -> dict[str, torch.Tensor]:
    return {f"in/{step}.{name}": t for step in range(STEPS) for name, t in batch(kind, step).items()}


def save(model: torch.nn.Module, path: Path, name: str, with_head: bool) -> None:
    try:
        model.save_adapter(str(path), name, with_head=with_head, use_safetensors=True)
    except RuntimeError:
        # A norm in front of the bottleneck is registered twice, and the library's own saving stumbles over that.
        tensors = {n: p.detach().clone() for n, p in model.state_dict().items() if f".adapters.{name}." in n}
        save_file(tensors, path / "adapter.safetensors")


def make(case: str) -> None:
    kind, config = CASES[case]
    model = load(kind)
    model.add_adapter(NAME, config=config)
    model.train_adapter(NAME)
    model.eval()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad and f".{NAME}." in n]
    spread(trained)
    path = folder("tuning", f"adapter-hub/{case}")
    save(model, path, NAME, with_head=case.startswith("roberta"))
    with torch.no_grad():
        tensors = {"out/logits": logits_of(model, batch(kind, 0))}
        model.set_active_adapters(None)
        assert (logits_of(model, batch(kind, 0)) - tensors["out/logits"]).abs().max() > 0.05, "an adapter that does nothing shows nothing"
        model.set_active_adapters(NAME)
    golden: dict[str, object] = {"maker": "adapter_hub.py", "model": kind, "count": sum(p.numel() for _, p in trained)}
    if case in TRAINED:
        golden |= {"lr": LR, "weightDecay": DECAY, "losses": train(model, kind, [p for _, p in trained])}
        tensors |= batches(kind) | {f"end/{n}": p.detach().clone() for n, p in trained}
    else:
        tensors |= {f"in/0.{name}": t for name, t in batch(kind, 0).items()}
    write_tensors(path / "golden.safetensors", tensors)
    write_json(path / "golden.json", golden)


def make_fusion() -> None:
    """Two adapters, and what fuses them; each saved in its own folder, as the library does."""
    kind = "bert-classifier"
    model = load(kind)
    names = ["mood", "topic"]
    for i, name in enumerate(names):
        model.add_adapter(name, config=SeqBnConfig(reduction_factor=8 - 4 * i))
        spread([(n, p) for n, p in model.named_parameters() if f".{name}." in n])
    setup = Fuse(*names)
    model.add_adapter_fusion(setup, "dynamic")
    model.train_adapter_fusion(setup)
    model.eval()
    trained = [(n, p) for n, p in model.named_parameters() if p.requires_grad and "fusion" in n]
    spread(trained)
    path = folder("tuning", "adapter-hub/bert-fusion")
    model.save_adapter_setup(str(path), setup, head_setup=True, use_safetensors=True)
    with torch.no_grad():
        tensors = {"out/logits": logits_of(model, batch(kind, 0))} | batches(kind)
    losses = train(model, kind, [p for _, p in trained], regularised=True)
    write_tensors(path / "golden.safetensors", tensors)
    write_tensors(path / "end.safetensors", {n: p.detach().clone() for n, p in trained if "layer.0" in n})
    write_json(
        path / "golden.json",
        {"maker": "adapter_hub.py", "model": kind, "lr": LR, "weightDecay": DECAY, "losses": losses, "count": sum(p.numel() for _, p in trained)},
    )


def bert_counts() -> dict[str, int]:
    """Trained parameters at the size of BERT base, without any weights."""
    from transformers import BertConfig, BertModel

    counts = {}
    for name in ("seq_bn", "double_seq_bn", "par_bn", "compacter", "compacter++"):
        model = BertModel(BertConfig())
        adapters.init(model)
        model.add_adapter(NAME, config=name)
        counts[name] = sum(p.numel() for n, p in model.named_parameters() if f".{NAME}." in n)
    return counts


if __name__ == "__main__":
    import sys

    wanted = sys.argv[1:] or [*CASES, "bert-fusion", "counts"]
    for case in wanted:
        if case == "counts":
            write_json(folder("tuning", "adapter-hub/counts") / "golden.json", {"maker": "adapter_hub.py", "bert-base": bert_counts()})
        elif case == "bert-fusion":
            make_fusion()
        else:
            make(case)
        print(case, flush=True)
    print(json.dumps({"adapters": adapters.__version__}))
