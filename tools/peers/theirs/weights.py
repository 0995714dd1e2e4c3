"""Weights and tokens that both sides compute by the same integer hash, so that losses must agree without a file between them."""

import numpy as np
import torch


def mix32(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    return x


def name_seed(name: str) -> np.uint32:
    h = np.array([0], dtype=np.uint32)
    for ch in name:
        h = mix32(h + np.uint32(ord(ch)) + np.uint32(0x9E3779B9))
    return h[0]


def uniform(name: str, n: int) -> np.ndarray:
    """f32[n] in [-1, 1)."""
    counters = np.arange(n, dtype=np.uint32) + name_seed(name)
    return (mix32(counters).astype(np.float64) / 2**31 - 1).astype(np.float32)


def plain(name: str) -> str:
    """The name of the checkpoint, without what PEFT wraps around it."""
    return name.removeprefix("base_model.model.").replace(".base_layer", "").replace(".default", "")


@torch.no_grad()
def fill(model: torch.nn.Module, only: str = "") -> None:
    """Vectors: ones for norm scales, zeros for biases; matrices uniform of standard deviation .02; LoRA's B small, so that it has a gradient."""
    for name, p in model.named_parameters():
        if only not in name:
            continue
        if p.dim() < 2:
            p.fill_(1.0 if name.endswith("weight") else 0.0)
        else:
            p.copy_(torch.from_numpy(uniform(plain(name), p.numel()) * np.float32(0.02 * 3**0.5)).reshape(p.shape))


def token_batch(step: int, batch: int, length: int, vocabulary: int) -> torch.Tensor:
    counters = np.arange(batch * length, dtype=np.uint32) + name_seed(f"tokens {step}")
    return torch.from_numpy((mix32(counters) % np.uint32(vocabulary)).astype(np.int64)).reshape(batch, length)
