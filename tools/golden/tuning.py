"""Five AdamW steps of LoRA and prompt tuning by PEFT, and of bottleneck adapters by torch hooks, on the small llama and gpt2 fixtures."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from peft import IA3Config, LoraConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM

from fixture import ROOT, folder, noise, write_json, write_tensors

STEPS, ROWS, LENGTH = 5, 3, 7
LR, DECAY = 0.01, 0.1
RANK, ALPHA = 3, 6
VIRTUAL = 4
WIDTH, STD = 5, 0.3


def load(kind: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(ROOT / "packages/models/test/golden" / kind, dtype=torch.float32).eval()


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(50 + step)
    tokens = torch.randint(0, 97, (ROWS, LENGTH), generator=generator)
    weights = torch.rand(ROWS, LENGTH, generator=generator)
    return tokens, weights


def loss_of(logits: torch.Tensor, tokens: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Weighted mean of -log p(token t | before); the first token has nothing before it."""
    logits = logits[:, logits.shape[1] - tokens.shape[1] :]
    logp = logits[:, :-1].log_softmax(-1).gather(-1, tokens[:, 1:, None])[..., 0]
    return -(logp * weights[:, 1:]).sum() / weights[:, 1:].sum()


def train(model: torch.nn.Module, parameters: Iterable[torch.nn.Parameter]) -> list[float]:
    optimizer = torch.optim.AdamW(list(parameters), lr=LR, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        tokens, weights = batch(step)
        optimizer.zero_grad()
        loss = loss_of(model(input_ids=tokens).logits, tokens, weights)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def lora(kind: str, rslora: bool) -> tuple[dict[str, torch.Tensor], list[float]]:
    model = get_peft_model(
        load(kind), LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules="all-linear", use_rslora=rslora, fan_in_fan_out=kind == "gpt2")
    )
    parameters = {
        name.removeprefix("base_model.model.").replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad
    }
    with torch.no_grad():  # B too starts away from zero, so that one step already moves A
        for i, (name, p) in enumerate(sorted(parameters.items())):
            p.copy_(0.2 * noise(i, tuple(p.shape)))
    start = {f"in/{name}": p.detach().clone() for name, p in parameters.items()}
    losses = train(model, parameters.values())
    end = {f"out/{name}": p.detach().clone() for name, p in parameters.items()}
    with torch.no_grad():
        logits = model.merge_and_unload()(input_ids=batch(0)[0]).logits
    return {**start, **end, "out/merged_logits": logits}, losses


def prompt(kind: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    model = get_peft_model(load(kind), PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=VIRTUAL))
    (name, table), = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    assert name.startswith("prompt_encoder"), name
    with torch.no_grad():
        table.copy_(0.5 * noise(9, tuple(table.shape)))
    start = table.detach().clone()
    losses = train(model, [table])
    return {"in/prompt_embeddings": start, "out/prompt_embeddings": table.detach().clone()}, losses


def bottleneck(kind: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    model = load(kind)
    for p in model.parameters():
        p.requires_grad_(False)
    parameters: dict[str, torch.nn.Parameter] = {}
    blocks = "model.layers" if kind == "llama" else "transformer.h"
    attention = "self_attn" if kind == "llama" else "attn"
    for layer in range(model.config.num_hidden_layers):
        for place in (attention, "mlp"):
            path = f"{blocks}.{layer}.{place}"
            width = model.config.hidden_size
            shapes = {"down.weight": (WIDTH, width), "down.bias": (WIDTH,), "up.weight": (width, WIDTH), "up.bias": (width,)}
            own = {
                part: torch.nn.Parameter(STD * noise(len(parameters) + i, shape)) for i, (part, shape) in enumerate(shapes.items())
            }
            parameters.update({f"{path}.adapter.{part}": p for part, p in own.items()})

            def adapter(_m: torch.nn.Module, _a: tuple, out: torch.Tensor | tuple, own: dict = own) -> torch.Tensor | tuple:
                h = out[0] if isinstance(out, tuple) else out
                low = torch.nn.functional.silu(h @ own["down.weight"].T + own["down.bias"])
                h = h + low @ own["up.weight"].T + own["up.bias"]
                return (h, *out[1:]) if isinstance(out, tuple) else h

            model.get_submodule(path).register_forward_hook(adapter)
    start = {f"in/{name}": p.detach().clone() for name, p in parameters.items()}
    losses = train(model, parameters.values())
    return {**start, **{f"out/{name}": p.detach().clone() for name, p in parameters.items()}}, losses


def ia3(kind: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    """PEFT's own choice of layers."""
    model = get_peft_model(load(kind), IA3Config(task_type="CAUSAL_LM", fan_in_fan_out=kind == "gpt2"))
    parameters = {
        name.removeprefix("base_model.model.").replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad
    }
    with torch.no_grad():
        for i, (_name, p) in enumerate(sorted(parameters.items())):
            p.copy_(1 + 0.3 * noise(i, tuple(p.shape)))
    start = {f"in/{name}": p.detach().clone() for name, p in parameters.items()}
    losses = train(model, parameters.values())
    end = {f"out/{name}": p.detach().clone() for name, p in parameters.items()}
    with torch.no_grad():
        logits = model.merge_and_unload()(input_ids=batch(0)[0]).logits
    return {**start, **end, "out/merged_logits": logits}, losses


def make_ia3(kind: str) -> None:
    tensors, losses = ia3(kind)
    path = folder("tuning", f"{kind}-ia3")
    write_tensors(path / "golden.safetensors", {f"ia3/{name}": t for name, t in tensors.items()})
    write_json(path / "golden.json", {"maker": "tuning.py", "losses": {"ia3": losses}})


def dora(kind: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    """Magnitudes and directions of linear layers and of the embedding."""
    targets = ["wte", "c_attn", "mlp.c_proj"] if kind == "gpt2" else ["embed_tokens", "q_proj", "down_proj"]
    model = get_peft_model(
        load(kind), LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=targets, use_dora=True, fan_in_fan_out=kind == "gpt2")
    )
    parameters = {
        name.removeprefix("base_model.model.").replace(".default", "").replace("magnitude_vector.weight", "magnitude_vector"): p
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    with torch.no_grad():
        for i, (name, p) in enumerate(sorted(parameters.items())):
            if "magnitude" not in name:
                p.copy_(0.2 * noise(i, tuple(p.shape)))
    start = {f"in/{name}": p.detach().clone() for name, p in parameters.items()}
    losses = train(model, parameters.values())
    return {**start, **{f"out/{name}": p.detach().clone() for name, p in parameters.items()}}, losses


def make_dora(kind: str) -> None:
    tensors, losses = dora(kind)
    path = folder("tuning", f"{kind}-dora")
    write_tensors(path / "golden.safetensors", {f"dora/{name}": t for name, t in tensors.items()})
    write_json(path / "golden.json", {"maker": "tuning.py", "losses": {"dora": losses}})


def make(kind: str) -> None:
    cases = {
        "lora": lora(kind, rslora=False),
        "rslora": lora(kind, rslora=True),
        "prompt": prompt(kind),
        "bottleneck": bottleneck(kind),
    }
    tensors = {f"{case}/{name}": t for case, (ts, _losses) in cases.items() for name, t in ts.items()}
    for step in range(STEPS):
        tokens, weights = batch(step)
        tensors |= {f"batch.{step}/in/tokens": tokens, f"batch.{step}/in/weights": weights}
    path = folder("tuning", kind)
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "tuning.py",
            "model": f"packages/models/test/golden/{kind}",
            "steps": STEPS,
            "lr": LR,
            "weightDecay": DECAY,
            "lora": {"r": RANK, "loraAlpha": ALPHA},
            "losses": {case: losses for case, (_tensors, losses) in cases.items()},
        },
    )


MAKERS = {f"tuning/{kind}": (lambda kind=kind: make(kind)) for kind in ("llama", "gpt2")} | {
    f"tuning/{kind}-{name}": (lambda kind=kind, maker=maker: maker(kind))
    for name, maker in (("ia3", make_ia3), ("dora", make_dora))
    for kind in ("llama", "gpt2")
}
