"""Every merge method of mergekit 0.1.5 on small random tensors, through its own `merge_tensors` in f32: reuse/merge-methods.

merge-methods.json
  inputs: {NAME: shape}
  cases: [{name, method, input, models, base, shared, perModel, masks}]
    method    mergekit's name
    input     NAME of the tensors
    models    how many: model-0, model-1, …
    base      whether the base is given (as the input that all others are compared with)
    shared    parameters of the tensor
    perModel  parameters of each model, one value per model
    masks     mergekit drew: the draws are in the safetensors
merge-methods.safetensors (f32)
  in/NAME/base, in/NAME/model-I    inputs
  out/CASE                         what mergekit gives
  mask/CASE/model-I                1 where an entry was kept; in the shape that mergekit drew in (1-D as [1, n])
  probability/CASE/model-I         the probability of each draw

Deterministic cases are run in f64 too and refused where f32 loses more than 8e-7 of the largest magnitude: a case has one answer.
"""

from __future__ import annotations

from typing import Any

import torch
from mergekit.merge_methods.api import merge_tensors

from fixture import ROOT, noise, write_json, write_tensors

SHAPES: dict[str, tuple[int, ...]] = {
    "matrix": (12, 20),
    "tall": (40, 3),
    "vector": (230,),
    "tiny": (7,),
    "small": (3, 5),
    "cube": (6, 2, 8),
    "sparse": (12, 20),
    "scalar": (1,),
}
MODELS = 4
STEP = 0.02

Case = dict[str, Any]
DRAWING = ("dare_linear", "dare_ties", "della", "della_linear")
NON_BASE_WEIGHT = ("task_arithmetic", "ties", "breadcrumbs", "breadcrumbs_ties", "nuslerp", "multislerp", *DRAWING)


def make_inputs() -> dict[str, torch.Tensor]:
    """Models lie around their base; those of `sparse` differ from it in 60 % of the entries, and in different ones."""
    tensors = {}
    for seed, (name, shape) in enumerate(SHAPES.items()):
        base = 0.05 * noise(900 + seed, shape)
        tensors[f"{name}/base"] = base
        for i in range(MODELS):
            step = STEP * noise(1000 + 10 * seed + i, shape)
            if name == "sparse":
                step = step * (torch.rand(shape, generator=torch.Generator().manual_seed(1100 + i)) < 0.6)
            tensors[f"{name}/model-{i}"] = base + step
    return tensors


def case(method: str, tag: str, name: str, models: int, base: bool, shared: dict | None = None, **per_model: list) -> Case:
    if method in (*NON_BASE_WEIGHT, "linear") and "weight" not in per_model:
        per_model["weight"] = [1.0, 0.5, 1.5, 0.7][:models]
    return {
        "name": f"{method}/{name}/{models}{'/' + tag if tag else ''}",
        "method": method,
        "input": name,
        "models": models,
        "base": base,
        "shared": shared or {},
        "perModel": per_model,
    }


def interpolations() -> list[Case]:
    cases = []
    for name, n in (("matrix", 2), ("vector", 3), ("tiny", 4), ("cube", 2), ("scalar", 2)):
        cases.append(case("linear", "", name, n, False))
        cases.append(case("linear", "sum", name, n, False, {"normalize": False}))
    for name in ("matrix", "vector", "tiny", "cube"):
        for t in (0.0, 0.3, 1.0) if name == "tiny" else (0.3,):
            cases.append(case("slerp", f"t-{t}", name, 1, True, {"t": t}))
        cases.append(case("nearswap", "", name, 1, True, {"t": 0.005}))
        for base in (False, True):
            kind = "base" if base else "plain"
            cases.append(case("nuslerp", kind, name, 2, base, weight=[1.0, 3.0]))
            cases.append(case("nuslerp", f"{kind}-last", name, 2, base, {"nuslerp_flatten": False}, weight=[1.0, 3.0]))
            cases.append(case("nuslerp", f"{kind}-first", name, 2, base, {"nuslerp_flatten": False, "nuslerp_row_wise": True}, weight=[1.0, 3.0]))
            for n in (2, 4):
                cases.append(case("multislerp", kind, name, n, base))
    cases.append(case("nuslerp", "weights-cancel", "tiny", 2, False, weight=[1.0, -1.0]))
    cases.append(case("nuslerp", "one-entry", "scalar", 2, False, weight=[1.0, 3.0]))
    cases.append(case("multislerp", "sum", "matrix", 3, True, {"normalize_weights": False}, weight=[0.4, 0.9, 0.2]))
    cases.append(case("multislerp", "one", "tiny", 1, True))
    for name, n in (("matrix", 2), ("matrix", 4), ("vector", 3), ("tiny", 2), ("cube", 3)):
        cases.append(case("karcher", "", name, n, False))
    cases.append(case("karcher", "one-step", "vector", 3, False, {"max_iter": 1}))
    cases.append(case("karcher", "exact", "vector", 4, False, {"max_iter": 30, "tol": 1e-7}))
    cases.append(case("karcher", "base", "small", 2, True))
    cases.append(case("passthrough", "", "matrix", 1, False))
    cases.append(case("passthrough", "scaled", "tiny", 1, False, scale=[2.5]))
    for name, n in (("matrix", 2), ("matrix", 4), ("vector", 3), ("tiny", 2), ("cube", 3), ("tall", 2)):
        cases.append(case("model_stock", "", name, n, True))
        cases.append(case("model_stock", "rows", name, n, True, {"filter_wise": True}))
    return cases


def selections() -> list[Case]:
    cases = []
    for name, n in (("matrix", 2), ("vector", 3), ("tiny", 4), ("sparse", 3)):
        cases.append(case("task_arithmetic", "", name, n, True))
        cases.append(case("task_arithmetic", "mean", name, n, True, {"normalize": True, "lambda": 0.7}))
        cases.append(case("sce", "", name, n, True))
        for k in (0.5, 0.1):
            cases.append(case("sce", f"top-{k}", name, n, True, {"select_topk": k}))
        cases.append(case("ram", "", name, n, True))
        cases.append(case("ram", "wide", name, n, True, {"epsilon": 0.02}))
        cases.append(case("ramplus_tl", "", name, n, True))
        cases.append(case("ramplus_tl", "wide", name, n, True, {"epsilon": 0.02, "r": 0.3, "alpha": 0.9}))
        for density in (0.8, 0.3, 0.01):
            cases.append(case("ties", f"density-{density}", name, n, True, density=[density] * n))
        for method in ("breadcrumbs", "breadcrumbs_ties"):
            cases.append(case(method, "", name, n, True, density=[0.6] * n))
            cases.append(case(method, "gamma-0.1", name, n, True, {"lambda": 0.7, "normalize": True}, density=[0.4] * n, gamma=[0.1] * n))
    cases.append(case("ties", "dense", "matrix", 3, True))
    cases.append(case("ties", "sum", "matrix", 3, True, {"normalize": False, "lambda": 0.6}, density=[0.9, 0.5, 0.2], weight=[1.0, -0.5, 2.0]))
    cases.append(case("ties", "rescaled", "vector", 2, True, {"rescale": True}, density=[0.4, 0.5]))
    cases.append(case("breadcrumbs", "no-outliers", "vector", 2, True, density=[0.5, 0.5], gamma=[0.0, 0.0]))
    cases.append(case("breadcrumbs", "no-floor", "vector", 2, True, density=[0.95, 0.95], gamma=[0.1, 0.1]))
    cases.append(case("breadcrumbs", "rescaled", "vector", 2, True, {"rescale": True}, density=[0.5, 0.6]))
    cases.append(case("breadcrumbs", "dense", "tiny", 2, True))
    for name in ("matrix", "tall", "vector", "tiny", "cube", "sparse"):
        cases.append(case("arcee_fusion", "", name, 1, True))
    return cases


def draws() -> list[Case]:
    cases = []
    for method in DRAWING:
        for name, n in (("matrix", 2), ("vector", 3), ("tiny", 2)):
            cases.append(case(method, "", name, n, True, density=[0.5, 0.7, 0.4][:n]))
        cases.append(case(method, "plain", "small", 2, True, {"rescale": False, "lambda": 0.8, "normalize": True}, density=[0.5, 0.6]))
        cases.append(case(method, "dense", "tiny", 2, True))
    for method in ("della", "della_linear"):
        cases.append(case(method, "narrow", "cube", 2, True, density=[0.5, 0.6], epsilon=[0.05, 0.3]))
    return cases


def merge(c: Case, inputs: dict[str, torch.Tensor], dtype: torch.dtype) -> torch.Tensor:
    tensors = [inputs[f"{c['input']}/model-{i}"] for i in range(c["models"])]
    ids = [f"model-{i}" for i in range(c["models"])]
    if c["base"]:
        tensors, ids = [inputs[f"{c['input']}/base"], *tensors], ["base", *ids]
    parameters = dict(c["shared"])
    for key, values in c["perModel"].items():
        parameters[key] = dict(zip([i for i in ids if i != "base"], values))
    return merge_tensors(tensors, c["method"], parameters=parameters, ids=ids, base_index=0 if c["base"] else None, dtype=dtype)


class Recorder:
    """Stands in for torch.bernoulli and keeps what it was asked and what it answered."""

    def __init__(self) -> None:
        self.original = torch.bernoulli
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def __call__(self, probability: torch.Tensor, **options: Any) -> torch.Tensor:
        mask = self.original(probability, **options)
        self.seen.append((probability.clone(), mask.clone()))
        return mask


def check_f64(c: Case, inputs: dict[str, torch.Tensor], out: torch.Tensor) -> None:
    exact = merge(c, inputs, torch.float64)
    error = ((out.double() - exact).abs().max() / exact.abs().max()).item()
    if not error <= 8e-7:
        raise ValueError(f"{c['name']}: f32 is {error:.1e} off f64")


def merge_methods() -> None:
    inputs = make_inputs()
    tensors = {f"in/{name}": value for name, value in inputs.items()}
    cases = [*interpolations(), *selections(), *draws()]
    if len({c["name"] for c in cases}) != len(cases):
        raise ValueError("two cases have one name")
    recorder = Recorder()
    torch.bernoulli = recorder
    try:
        for number, c in enumerate(cases):
            torch.manual_seed(number)
            recorder.seen = []
            out = merge(c, inputs, torch.float32)
            c["masks"] = len(recorder.seen) > 0
            if c["masks"]:
                for i, (probability, mask) in enumerate(recorder.seen):
                    tensors[f"probability/{c['name']}/model-{i}"] = probability
                    tensors[f"mask/{c['name']}/model-{i}"] = mask
            else:
                check_f64(c, inputs, out)
            tensors[f"out/{c['name']}"] = out
    finally:
        torch.bernoulli = recorder.original
    path = ROOT / "packages" / "reuse" / "test" / "golden"
    path.mkdir(parents=True, exist_ok=True)
    write_tensors(path / "merge-methods.safetensors", tensors)
    shapes = {name: list(shape) for name, shape in SHAPES.items()}
    write_json(path / "merge-methods.json", {"mergekit": "0.1.5", "inputs": shapes, "cases": cases})


MAKERS = {"reuse/merge-methods": merge_methods}
