"""Merges of LoRA adapters by PEFT's `add_weighted_adapter`: reuse/lora-merges.

lora-merges.json
  adapters: {NAME: {r, alpha, use_rslora}}
  merges: [{name, adapters, weights, combination, rank}]
lora-merges.safetensors
  adapter/NAME/MODULE.lora_A.weight, ….lora_B.weight   f32
  merge/NAME/MODULE.A, .B   of linear and cat; .delta of svd: B·A
"""

from __future__ import annotations

import torch
from peft import LoraConfig, get_peft_model

from fixture import ROOT, noise, write_json, write_tensors

ADAPTERS = {
    "a": {"r": 3, "alpha": 6, "use_rslora": False},
    "b": {"r": 3, "alpha": 3, "use_rslora": True},
    "c": {"r": 5, "alpha": 4, "use_rslora": False},
}
SIZES = {"up": (7, 12), "down": (12, 9)}
MERGES = [
    ("linear", ["a", "b"], [0.5, -0.8], None),
    ("cat", ["a", "c"], [0.3, -1.2], None),
    ("svd", ["a", "b", "c"], [1.0, 0.5, -0.7], None),
    ("svd", ["a", "c"], [0.5, 0.5], 2),
]


class Net(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for name, (rows, columns) in SIZES.items():
            setattr(self, name, torch.nn.Linear(columns, rows, bias=False))


def merges(tensors: dict) -> list[dict]:
    model = None
    for name, options in ADAPTERS.items():
        config = LoraConfig(
            r=options["r"], lora_alpha=options["alpha"], use_rslora=options["use_rslora"], target_modules=list(SIZES), lora_dropout=0.0
        )
        if model is None:
            model = get_peft_model(Net(), config, adapter_name=name)
        else:
            model.add_adapter(name, config)
    with torch.no_grad():
        for seed, (name, parameter) in enumerate(sorted((n, p) for n, p in model.named_parameters() if "lora_" in n)):
            parameter.copy_(0.5 * noise(40 + seed, tuple(parameter.shape)))
            module, side, adapter = name.split(".")[-4:-1]
            tensors[f"adapter/{adapter}/{module}.{side}.weight"] = parameter
    found = []
    for number, (combination, adapters, weights, rank) in enumerate(MERGES):
        name = f"merged{number}"
        model.base_model.add_weighted_adapter(adapters, weights, name, combination_type=combination, svd_rank=rank)
        for module in SIZES:
            layer = getattr(model.base_model.model, module)
            # The scale belongs to it: PEFT keeps the first adapter's use_rslora, and α = r is then no scale of 1.
            a, b, scale = layer.lora_A[name].weight, layer.lora_B[name].weight, layer.scaling[name]
            if scale != 1:
                raise ValueError(f"{name}: scale {scale}")
            if combination == "svd":
                tensors[f"merge/{name}/{module}.delta"] = b @ a
            else:
                tensors[f"merge/{name}/{module}.A"], tensors[f"merge/{name}/{module}.B"] = a, b
        found.append({"name": name, "adapters": adapters, "weights": weights, "combination": combination, "rank": rank})
    return found


def lora_merges() -> None:
    tensors: dict = {}
    path = ROOT / "packages" / "reuse" / "test" / "golden"
    path.mkdir(parents=True, exist_ok=True)
    value = {"adapters": ADAPTERS, "merges": merges(tensors)}
    write_tensors(path / "lora-merges.safetensors", tensors)
    write_json(path / "lora-merges.json", value)


MAKERS = {"reuse/lora-merges": lora_merges}
