"""Networks without a Hugging Face counterpart, written in torch: convnet (batch norm in both modes) and mlp."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from fixture import Array, folder, gradients, noise, prefixed, spread_parameters, write_json, write_tensors

TOLERANCE = {"logits": 1e-4, "grad": "1e-4 of max|grad| of that parameter"}


class Block(nn.Module):
    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.max_pool2d(F.relu(self.norm(self.conv(x))), 2)


class Convnet(nn.Module):
    def __init__(self, channels: int, image_size: int, widths: list[int], classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(*(Block(a, b) for a, b in zip([channels, *widths], widths)))
        side = image_size // 2 ** len(widths)
        self.classifier = nn.Linear(widths[-1] * side * side, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


class Mlp(nn.Module):
    def __init__(self, sizes: list[int]) -> None:
        super().__init__()
        self.depth = len(sizes) - 1
        for i in range(self.depth):
            setattr(self, f"fc{i + 1}", nn.Linear(sizes[i], sizes[i + 1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for i in range(1, self.depth):
            x = F.gelu(getattr(self, f"fc{i}")(x))
        return getattr(self, f"fc{self.depth}")(x)


def parameters(model: nn.Module) -> dict[str, Array]:
    return {name: value for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}


def make_convnet() -> None:
    path = folder("models", "convnet")
    # 13 pixels: the second halving drops a row and a column, as floor division must
    config = {"model_type": "convnet", "channels": 2, "image_size": 13, "widths": [6, 8], "classes": 5}
    model = Convnet(2, 13, [6, 8], 5)
    spread_parameters(model, 41)
    with torch.no_grad():
        for i, block in enumerate(model.features):
            block.norm.running_mean.copy_(0.3 * noise(42 + i, tuple(block.norm.running_mean.shape)))
            block.norm.running_var.copy_(1 + noise(52 + i, tuple(block.norm.running_var.shape)) ** 2)
    write_json(path / "config.json", config)
    write_tensors(path / "model.safetensors", parameters(model))
    pixels, labels = noise(43, (4, 2, 13, 13)), torch.tensor([0, 4, 2, 2])
    tensors: dict[str, Array] = {}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for mode in ("eval", "train"):
        model.load_state_dict(before)
        model.train(mode == "train")
        logits = model(pixels)
        loss = F.cross_entropy(logits, labels)
        after = {n: v.clone() for n, v in model.state_dict().items() if "running" in n} if mode == "train" else {}
        case = {"in/pixels": pixels, "in/labels": labels, "out/logits": logits, "out/loss": loss}
        tensors |= prefixed(mode, case | prefixed("state", after) | prefixed("grad", gradients(model, loss)))
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "plain_networks.py",
            "cases": ["eval", "train"],
            "gradients_of": "both",
            "loss": "mean over the batch of the cross entropy of logits against in/labels",
            "state": "running statistics after the training pass: momentum 0.1, variance unbiased",
            "tolerance": TOLERANCE,
        },
    )


def make_mlp() -> None:
    path = folder("models", "mlp")
    config = {"model_type": "mlp", "input_size": 7, "hidden_sizes": [11, 9], "output_size": 4, "activation": "gelu"}
    model = Mlp([7, 11, 9, 4])
    spread_parameters(model, 44)
    write_json(path / "config.json", config)
    write_tensors(path / "model.safetensors", parameters(model))
    features, labels = noise(45, (6, 7)), torch.tensor([0, 1, 2, 3, 3, 1])
    logits = model(features)
    loss = F.cross_entropy(logits, labels)
    case = {"in/features": features, "in/labels": labels, "out/logits": logits, "out/loss": loss}
    write_tensors(path / "golden.safetensors", prefixed("plain", case | prefixed("grad", gradients(model, loss))))
    write_json(
        path / "golden.json",
        {
            "maker": "plain_networks.py",
            "cases": ["plain"],
            "gradients_of": "plain",
            "loss": "mean over the batch of the cross entropy of logits against in/labels",
            "tolerance": TOLERANCE,
        },
    )


MAKERS = {"models/convnet": make_convnet, "models/mlp": make_mlp}
