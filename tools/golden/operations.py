"""Operations whose conventions could differ from torch's: values and gradients of Σ y·weight by every input."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from fixture import folder, noise, write_json

Case = tuple[dict[str, torch.Tensor], Callable[..., torch.Tensor]]


def cayley(a: torch.Tensor) -> torch.Tensor:
    """(I − S)·(I + S)⁻¹, as PEFT's OFT and BOFT solve it."""
    skew = 0.5 * (a - a.transpose(-1, -2))
    identity = torch.eye(a.shape[-1]).expand_as(a)
    return torch.linalg.solve(identity + skew, identity - skew, left=False)


def masked(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    """Additive bias that hides a third of the keys."""
    return torch.where(noise(seed, shape) < -0.4, -1e9, noise(seed + 1, shape))


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, bias: torch.Tensor | None = None) -> torch.Tensor:
    return F.scaled_dot_product_attention(q, k, v, attn_mask=bias, enable_gqa=q.shape[1] != k.shape[1])


CASES: dict[str, Case] = {
    "inverse": ({"x": noise(1, (2, 4, 4)) + 3 * torch.eye(4)}, torch.linalg.inv),
    "cayley": ({"x": noise(2, (3, 5, 5))}, cayley),
    "convolution in groups": (
        {"x": noise(3, (2, 4, 7, 6)), "w": noise(4, (6, 2, 3, 3))},
        lambda x, w: F.conv2d(x, w, stride=2, padding=1, groups=2),
    ),
    "depthwise convolution": (
        {"x": noise(5, (1, 3, 6, 6)), "w": noise(6, (6, 1, 3, 3))},
        lambda x, w: F.conv2d(x, w, padding=1, groups=3),
    ),
    "max pool": ({"x": noise(7, (1, 2, 7, 8))}, lambda x: F.max_pool2d(x, 3, stride=2, padding=1)),
    "average pool": ({"x": noise(8, (1, 2, 7, 8))}, lambda x: F.avg_pool2d(x, 3, stride=2, padding=1)),
    "average pool of what is inside": (
        {"x": noise(9, (1, 2, 7, 8))},
        lambda x: F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False),
    ),
    "resize nearest": ({"x": noise(10, (1, 2, 5, 4))}, lambda x: F.interpolate(x, size=(8, 3), mode="nearest")),
    "resize bilinear": ({"x": noise(11, (1, 2, 5, 4))}, lambda x: F.interpolate(x, size=(8, 3), mode="bilinear")),
    "resize bicubic": ({"x": noise(12, (1, 2, 5, 4))}, lambda x: F.interpolate(x, size=(8, 3), mode="bicubic")),
    "cross attention": ({"q": noise(13, (1, 4, 3, 8)), "k": noise(14, (1, 4, 5, 8)), "v": noise(15, (1, 4, 5, 8))}, attention),
    "cross attention of shared heads with a bias": (
        {"q": noise(16, (1, 4, 3, 8)), "k": noise(17, (1, 2, 5, 8)), "v": noise(18, (1, 2, 5, 8)), "bias": noise(19, (1, 4, 3, 5))},
        attention,
    ),
    "attention with a bias that hides keys": (
        {"q": noise(20, (2, 2, 4, 4)), "k": noise(21, (2, 2, 6, 4)), "v": noise(22, (2, 2, 6, 4)), "bias": masked(23, (2, 1, 4, 6))},
        attention,
    ),
}


def tensor(t: torch.Tensor) -> dict[str, object]:
    return {"shape": list(t.shape), "data": [float(f"{x:.9g}") for x in t.flatten().tolist()]}


def make() -> None:
    cases = {}
    for name, (inputs, f) in CASES.items():
        given = {k: t.clone().requires_grad_() for k, t in inputs.items()}
        y = f(*given.values())
        weight = noise(99, tuple(y.shape))
        (y * weight).sum().backward()
        cases[name] = {
            "in": {k: tensor(t) for k, t in inputs.items()},
            "weight": tensor(weight),
            "out": tensor(y.detach()),
            "grad": {k: tensor(t.grad) for k, t in given.items()},
        }
    write_json(
        folder("core", "operations") / "golden.json",
        {"made by": f"tools/golden/operations.py with torch {torch.__version__.split('+')[0]}", "cases": cases},
    )


MAKERS = {"core/operations": make}
