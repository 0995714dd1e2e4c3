"""Reading and writing of golden fixtures: the only place that knows their layout.

A fixture is a folder:
  config.json, model.safetensors   as `save_pretrained` writes them (model fixtures only)
  golden.json                      what each case is, its loss, its tolerance
  golden*.safetensors              tensors named CASE/ROLE/NAME, ROLE one of in, out, grad, state

Integers are stored as i32, floats as f32 (f64 where golden.json says so).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

ROOT = Path(__file__).resolve().parents[2]
LIMIT_BYTES = 200_000

Array = torch.Tensor | np.ndarray


def folder(package: str, name: str) -> Path:
    """Empty folder of the fixture, beside the tests of the package that reads it."""
    path = ROOT / "packages" / package / "test" / "golden" / name
    if path.exists():
        shutil.rmtree(path)
    path.mkdir(parents=True)
    return path


def to_numpy(value: Array, keep_f64: bool = False) -> np.ndarray:
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.kind in "iub":
        array = array.astype(np.int32)
    elif not keep_f64:
        array = array.astype(np.float32)
    return np.ascontiguousarray(array)


def write_tensors(path: Path, tensors: Mapping[str, Array], keep_f64: bool = False) -> None:
    """One safetensors file, names sorted, refused above LIMIT_BYTES."""
    save_file({name: to_numpy(tensors[name], keep_f64) for name in sorted(tensors)}, path)
    size = path.stat().st_size
    if size > LIMIT_BYTES:
        raise ValueError(f"{path} has {size} bytes, more than {LIMIT_BYTES}")


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n")


def spread_parameters(model: torch.nn.Module, seed: int, std: float = 0.2, embedding_std: float = 0.5) -> None:
    """Random values for every parameter, biases and norms included, so that a lost or swapped one shows."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            lower = name.lower()
            if parameter.ndim == 1 and name.endswith("weight"):
                parameter.copy_(1 + 0.2 * noise)
            elif parameter.ndim == 1:
                parameter.copy_(0.1 * noise)
            elif "wte" in lower or "embed" in lower:
                parameter.copy_(embedding_std * noise)
            else:
                parameter.copy_(std * noise)


def gradients(model: torch.nn.Module, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    """d loss / d parameter by checkpoint name; tied parameters appear once."""
    model.zero_grad()
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return found


def prefixed(prefix: str, tensors: Mapping[str, Array]) -> dict[str, Array]:
    return {f"{prefix}/{name}": value for name, value in tensors.items()}


def tokens(seed: int, shape: tuple[int, ...], vocabulary: int) -> torch.Tensor:
    return torch.randint(0, vocabulary, shape, generator=torch.Generator().manual_seed(seed))


def noise(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Draws:
    """x ← (1664525·x + 1013904223) mod 2³², as numbers in [−1, 1)."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def array(self, *shape: int) -> np.ndarray:
        out = np.empty(int(np.prod(shape)))
        for k in range(out.size):
            self.state = (1664525 * self.state + 1013904223) % 2**32
            out[k] = self.state / 2**31 - 1
        return out.reshape(shape)

    def f32(self, *shape: int) -> np.ndarray:
        return self.array(*shape).astype(np.float32).astype(np.float64)


def run_makers(makers: Mapping[str, Callable[[], None]]) -> None:
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for name, make in makers.items():
        make()
        print(f"made {name}", flush=True)
