"""Merges of LoRA adapters by PEFT's `add_weighted_adapter`, and singular values by NumPy: reuse/lora-merges.

lora-merges.json
  adapters: {NAME: {r, alpha, use_rslora}}
  merges: [{name, adapters, weights, combination, rank}]
  matrices: {NAME: {shape, rank}}
lora-merges.safetensors
  adapter/NAME/MODULE.lora_A.weight, ….lora_B.weight   f32
  merge/NAME/MODULE.A, .B   of linear and cat; .delta of svd: B·A
  matrix/NAME               f32
  values/NAME               f32, all singular values
  best/NAME                 f32, the best approximation of that rank
"""

from __future__ import annotations

import numpy as np
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


def matrices(tensors: dict) -> dict:
    rng = np.random.default_rng(0)
    falling = rng.standard_normal((30, 14)) @ np.diag(10.0 ** -np.arange(14)) @ rng.standard_normal((14, 20))
    cases = {
        "square": (rng.standard_normal((16, 16)), 5),
        "wide": (rng.standard_normal((6, 25)), 3),
        "tall": (rng.standard_normal((25, 6)), 3),
        "of rank two": (rng.standard_normal((9, 2)) @ rng.standard_normal((2, 11)), 2),
        "falling": (falling, 4),
        "equal values": (np.eye(5, 8), 3),
        "zero": (np.zeros((3, 4)), 1),
    }
    found = {}
    for name, (matrix, rank) in cases.items():
        matrix = matrix.astype(np.float32)
        u, s, vt = np.linalg.svd(matrix.astype(np.float64), full_matrices=False)
        tensors[f"matrix/{name}"] = matrix
        tensors[f"values/{name}"] = s
        if name != "equal values":  # there any three will do
            tensors[f"best/{name}"] = (u[:, :rank] * s[:rank]) @ vt[:rank]
        found[name] = {"shape": list(matrix.shape), "rank": rank}
    return found


def lora_merges() -> None:
    tensors: dict = {}
    path = ROOT / "packages" / "reuse" / "test" / "golden"
    path.mkdir(parents=True, exist_ok=True)
    value = {"adapters": ADAPTERS, "merges": merges(tensors), "matrices": matrices(tensors)}
    write_tensors(path / "lora-merges.safetensors", tensors)
    write_json(path / "lora-merges.json", value)


MAKERS = {"reuse/lora-merges": lora_merges}
