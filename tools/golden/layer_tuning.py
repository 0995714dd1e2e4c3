"""Five AdamW steps by PEFT of each method that changes layers, on the small llama, gpt2 and BERT fixtures.

Each fixture holds the adapter as PEFT saves it before and after, the losses, and the logits afterwards on the first batch. Batches are those of
tuning.py; the label of a row is its first token modulo the number of classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
from peft import (
    AdaLoraConfig,
    BOFTConfig,
    LNTuningConfig,
    LoHaConfig,
    LoKrConfig,
    LoraConfig,
    OFTConfig,
    PeftConfig,
    PeftModel,
    VeraConfig,
    get_peft_model,
)
from peft.optimizers import create_loraplus_optimizer
from peft.tuners.boft import layer as boft_layer
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification

from fixture import LIMIT_BYTES, ROOT, folder, noise, write_json, write_tensors
from tuning import DECAY, LR, STEPS, batch, loss_of

CLASSES = 5
AUTO = {
    "bert-classifier": AutoModelForSequenceClassification,
    "vit": AutoModelForImageClassification,
    "resnet-basic": AutoModelForImageClassification,
}


def adamw(_model: PeftModel, learned: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(learned, lr=LR, weight_decay=DECAY)


@dataclass(frozen=True)
class Case:
    """A config of PEFT on a model fixture; `spread`: how far what learns is moved from where PEFT starts it."""

    base: str
    config: Callable[[], PeftConfig]
    spread: float = 0.2
    after_step: Callable[[PeftModel, int], None] | None = None
    patched: Callable[[], AbstractContextManager[object]] = nullcontext
    optimizer: Callable[[PeftModel, list[torch.nn.Parameter]], torch.optim.Optimizer] = adamw
    steps: int = STEPS
    files: bool = True


def load(base: str) -> torch.nn.Module:
    auto = AUTO.get(base, AutoModelForCausalLM)
    return auto.from_pretrained(ROOT / "packages/models/test/golden" / base, dtype=torch.float32).eval()


def pixels(model: PeftModel) -> torch.Tensor:
    """Two images."""
    config = model.config
    side = getattr(config, "image_size", 32)
    return noise(70, (2, config.num_channels, side, side))


def loss(model: PeftModel, base: str, step: int) -> torch.Tensor:
    if base in ("vit", "resnet-basic"):
        return model(pixel_values=pixels(model), labels=torch.tensor([0, 1])).loss
    tokens, weights = batch(step)
    if base == "bert-classifier":
        return model(input_ids=tokens, attention_mask=torch.ones_like(tokens), labels=tokens[:, 0] % CLASSES).loss
    out = model(input_ids=tokens, labels=tokens)
    own = loss_of(out.logits, tokens, weights)
    # What a method adds to the loss that the model computes (AdaLoRA's penalty) is added to ours.
    logits = out.logits[:, :-1].reshape(-1, out.logits.shape[-1])
    return own + (out.loss - torch.nn.functional.cross_entropy(logits, tokens[:, 1:].reshape(-1)))


def save(model: PeftModel, path: Path) -> None:
    # By its name: where it lies on the maker's machine is nobody's business.
    model.peft_config["default"].base_model_name_or_path = Path(model.peft_config["default"].base_model_name_or_path).name
    model.save_pretrained(path, save_embedding_layers=False)
    (path / "README.md").unlink()
    size = (path / "adapter_model.safetensors").stat().st_size
    if size > LIMIT_BYTES:
        raise ValueError(f"{path} has {size} bytes")


@contextmanager
def butterfly() -> Iterator[None]:
    """PEFT puts blocks on the diagonal by a CUDA kernel where there are several factors: here by torch."""

    def diagonal(blocks: torch.Tensor) -> torch.Tensor:
        return torch.stack([torch.block_diag(*factor) for factor in blocks])

    with (
        mock.patch.object(boft_layer, "get_fbd_cuda", lambda: True),
        mock.patch.object(boft_layer.FastBlockDiag, "apply", staticmethod(diagonal)),
    ):
        yield


def make(name: str, case: Case) -> None:
    with case.patched():
        train(name, case)


def train(name: str, case: Case) -> None:
    model = get_peft_model(load(case.base), case.config())
    model.eval()
    learned = [p for _name, p in sorted(model.named_parameters()) if p.requires_grad]
    with torch.no_grad():
        for i, p in enumerate(learned):
            p.add_(case.spread * noise(i, tuple(p.shape)))
    path = folder("tuning", f"peft/{name}")
    if case.files:
        save(model, path / "start")
    optimizer = case.optimizer(model, learned)
    losses = []
    for step in range(case.steps):
        optimizer.zero_grad()
        value = loss(model, case.base, step)
        losses.append(value.item())
        value.backward()
        optimizer.step()
        if case.after_step:
            case.after_step(model, step)
    tokens, _weights = batch(0)
    images = {"in/pixels": pixels(model)} if case.base in ("vit", "resnet-basic") else {}
    with torch.no_grad():
        given = {"pixel_values": images["in/pixels"]} if images else {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
        logits = model(**given).logits
    # COFT brings its tensors back to where they may be in the forward pass, so it is saved after one.
    if case.files:
        save(model, path / "end")
    write_tensors(path / "golden.safetensors", {"out/logits": logits, **images})
    write_json(path / "golden.json", {"maker": "layer_tuning.py", "base": case.base, "losses": losses})


def causal(**options: object) -> dict[str, object]:
    return {"task_type": "CAUSAL_LM", **options}


def classes(**options: object) -> dict[str, object]:
    return {"task_type": "SEQ_CLS", **options}


def allocate(model: PeftModel, step: int) -> None:
    model.base_model.update_and_allocate(step + 1)


LLAMA = ["q_proj", "v_proj", "down_proj"]
GPT2 = ["c_attn", "mlp.c_proj"]
BERT = ["query", "output.dense"]
ADALORA = {"init_r": 4, "target_r": 2, "tinit": 1, "tfinal": 1, "total_step": STEPS, "lora_alpha": 6}

def loraplus(model: PeftModel, _learned: list[torch.nn.Parameter]) -> torch.optim.Optimizer:
    return create_loraplus_optimizer(model, torch.optim.AdamW, lr=LR, loraplus_lr_ratio=4, loraplus_lr_embedding=0.002, loraplus_weight_decay=DECAY)


PATTERNS = {"rank_pattern": {"q_proj": 2, "layers.1.mlp.down_proj": 3}, "alpha_pattern": {"v_proj": 3}}

CASES: dict[str, Case] = {
    "lora-patterns": Case(
        "llama",
        lambda: LoraConfig(**causal(r=4, lora_alpha=6, use_rslora=True, target_modules="all-linear", exclude_modules=["mlp.up_proj"], **PATTERNS)),
    ),
    "lora-layers": Case("bert-classifier", lambda: LoraConfig(**classes(r=3, target_modules=BERT, layers_to_transform=[1]))),
    "lora-tokens": Case("llama", lambda: LoraConfig(**causal(r=3, target_modules=LLAMA, trainable_token_indices=[5, 2, 9]))),
    "lora-tokens-gpt2": Case("gpt2", lambda: LoraConfig(**causal(r=2, target_modules=["c_attn"], fan_in_fan_out=True, trainable_token_indices=[4, 7]))),
    "lora-plus": Case("llama", lambda: LoraConfig(**causal(r=3, target_modules=["embed_tokens", *LLAMA])), optimizer=loraplus),
    "lora-vit": Case("vit", lambda: LoraConfig(r=3, target_modules=["projection", "query"], modules_to_save=["classifier"])),
    "lora-resnet": Case("resnet-basic", lambda: LoraConfig(r=2, target_modules=["convolution"]), steps=0),
    "pissa-llama": Case("llama", lambda: LoraConfig(**causal(r=3, lora_alpha=6, target_modules=LLAMA, init_lora_weights="pissa")), spread=0, files=False),
    "pissa-gpt2": Case(
        "gpt2", lambda: LoraConfig(**causal(r=3, target_modules=GPT2, fan_in_fan_out=True, use_rslora=True, init_lora_weights="pissa")), spread=0, files=False
    ),
    "ln-llama": Case("llama", lambda: LNTuningConfig(**causal())),
    "ln-gpt2": Case("gpt2", lambda: LNTuningConfig(**causal(target_modules=["ln_1", "ln_f"]))),
    "ln-bert": Case("bert-classifier", lambda: LNTuningConfig(**classes(target_modules=["LayerNorm"]))),
    "vera-llama": Case("llama", lambda: VeraConfig(**causal(r=5, target_modules=LLAMA, projection_prng_key=7))),
    "vera-gpt2": Case("gpt2", lambda: VeraConfig(**causal(r=5, target_modules=GPT2, fan_in_fan_out=True))),
    "vera-bert": Case("bert-classifier", lambda: VeraConfig(**classes(r=5, target_modules=BERT, save_projection=False))),
    "adalora-llama": Case("llama", lambda: AdaLoraConfig(**causal(target_modules=LLAMA, **ADALORA)), after_step=allocate),
    "adalora-gpt2": Case(
        "gpt2", lambda: AdaLoraConfig(**causal(target_modules=GPT2, fan_in_fan_out=True, **ADALORA)), after_step=allocate
    ),
    "adalora-bert": Case("bert-classifier", lambda: AdaLoraConfig(**classes(target_modules=BERT, **ADALORA)), after_step=allocate),
    "loha-llama": Case("llama", lambda: LoHaConfig(**causal(r=3, alpha=6, target_modules=LLAMA))),
    "loha-bert": Case("bert-classifier", lambda: LoHaConfig(**classes(r=3, alpha=6, target_modules=BERT, rank_pattern={"query": 2}))),
    "lokr-llama": Case("llama", lambda: LoKrConfig(**causal(r=2, alpha=4, target_modules=LLAMA, decompose_both=True, decompose_factor=4))),
    "lokr-bert": Case("bert-classifier", lambda: LoKrConfig(**classes(r=8, alpha=4, target_modules=BERT))),
    "oft-llama": Case("llama", lambda: OFTConfig(**causal(oft_block_size=8, target_modules=LLAMA)), spread=0.05),
    "oft-exact": Case("llama", lambda: OFTConfig(**causal(oft_block_size=8, target_modules=LLAMA, use_cayley_neumann=False)), spread=0.1),
    "oft-bert": Case(
        "bert-classifier",
        lambda: OFTConfig(**classes(r=4, oft_block_size=0, target_modules=BERT, block_share=True, coft=True, eps=0.3)),
        spread=0.1,
    ),
    "boft-llama": Case("llama", lambda: BOFTConfig(**causal(boft_block_size=4, target_modules=LLAMA))),
    "boft-number": Case("llama", lambda: BOFTConfig(**causal(boft_block_size=0, boft_block_num=4, target_modules=LLAMA))),
    "boft-butterfly": Case(
        "llama", lambda: BOFTConfig(**causal(boft_block_size=4, boft_n_butterfly_factor=3, target_modules=["q_proj", "k_proj"])), patched=butterfly
    ),
    "boft-bert": Case("bert-classifier", lambda: BOFTConfig(**classes(boft_block_size=8, target_modules=BERT))),
}

MAKERS = {f"tuning/peft/{name}": (lambda name=name, case=case: make(name, case)) for name, case in CASES.items()}
