"""Merges that read data, on tensors small enough to check by eye, in f64.

The formulas are those of fusion_bench 0.2.33 (fisher_merging.py, regmean.py, regmean_plusplus.py, layer_wise_fusion.py, task_wise_fusion.py,
entropy_loss.py, we_moe.py, smile_moe/linear_from_module.py), restated; check_fusion_bench.py holds the fixture against its own functions.
The network is the package's `mlp`: fc1, tanh, fc2, tanh, fc3.
"""

from __future__ import annotations

import torch
from torch.func import functional_call

from fixture import folder, prefixed, write_json, write_tensors

MODELS = ["a", "b", "c"]
SIZES = [3, 6, 5, 4]
SAMPLES, BATCH = 12, 4
FLOOR = 1e-6
ADA = {"steps": 6, "lr": 0.02}
ADA_CASES = {  # granularity, start, clamped to 0..1
    "task": ("task", 0.3, False),
    "layer": ("layer", 0.3, False),
    "clamped": ("layer", 0.96, True),
}


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        for i in range(3):
            setattr(self, f"fc{i + 1}", torch.nn.Linear(SIZES[i], SIZES[i + 1]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc3(self.fc2(self.fc1(x).tanh()).tanh())


def rounded(generator: torch.Generator, *shape: int) -> torch.Tensor:
    """f64 values that f32 holds exactly."""
    return torch.randn(shape, generator=generator).float().double()


def fisher_merge(
    values: dict[str, dict[str, torch.Tensor]], fisher: dict[str, dict[str, torch.Tensor]], weights: list[float], normalize: bool
) -> dict[str, torch.Tensor]:
    coefficients = torch.tensor(weights, dtype=torch.float64)
    if normalize:
        norms = torch.stack([torch.cat([f.flatten() for f in fisher[m].values()]).norm() for m in values])
        inverse = 1 / (norms + FLOOR)
        coefficients = coefficients * inverse / inverse.sum()
    merged = {}
    for name in values[MODELS[0]]:
        terms = [c * (fisher[m][name] + FLOOR) for c, m in zip(coefficients, values)]
        merged[name] = sum(t * values[m][name] for t, m in zip(terms, values)) / sum(terms)
    return merged


def regression(weights: list[torch.Tensor], grams: list[torch.Tensor], ratio: float) -> torch.Tensor:
    """weights [in, out] each."""
    scaled = [g * (ratio + (1 - ratio) * torch.eye(len(g), dtype=g.dtype)) for g in grams]
    return torch.linalg.inv(sum(scaled)) @ sum(g @ w for g, w in zip(scaled, weights))


def gram(x: torch.Tensor) -> torch.Tensor:
    return x.T @ x / len(x)


def inputs_of(state: dict[str, torch.Tensor], x: torch.Tensor) -> dict[str, torch.Tensor]:
    seen = {}
    for i in range(3):
        seen[f"fc{i + 1}"] = x
        x = x @ state[f"fc{i + 1}.weight"].T + state[f"fc{i + 1}.bias"]
        x = x.tanh() if i < 2 else x
    return seen


def squared_gradients(network: Network, state: dict[str, torch.Tensor], x: torch.Tensor, labels: torch.Tensor, kind: str) -> dict[str, torch.Tensor]:
    sums = {n: torch.zeros_like(p) for n, p in state.items()}

    def add(score, weight: float) -> None:
        leaves = {n: p.clone().requires_grad_() for n, p in state.items()}
        score(functional_call(network, leaves, (rows,))).backward()
        for n, p in leaves.items():
            sums[n] += weight * p.grad**2

    if kind == "fusion-bench":
        for rows in x.split(BATCH):
            add(lambda logits: (logits.softmax(-1).detach().sqrt() * logits.log_softmax(-1)).sum(), 1)
    else:
        for i in range(len(x)):
            rows = x[i : i + 1]
            if kind == "empirical":
                add(lambda logits: logits.log_softmax(-1)[0, labels[i]], 1)
                continue
            p = functional_call(network, state, (rows,)).softmax(-1)[0]
            for c in range(SIZES[-1]):
                add(lambda logits: logits.log_softmax(-1)[0, c], float(p[c]))
    return {n: s / len(x) for n, s in sums.items()}


def entropy(logits: torch.Tensor) -> torch.Tensor:
    p = logits.softmax(-1)
    return -(p * (p + 1e-8).log()).sum(-1).mean()


def ada_merge(
    network: Network, base: dict[str, torch.Tensor], tuned: dict[str, dict[str, torch.Tensor]], data: dict[str, torch.Tensor], layerwise: bool, init: float, clamp: bool
) -> tuple[torch.Tensor, list[float]]:
    """Coefficients [models, tensors] or [models] after some steps, and the sum of entropies before each."""
    names = list(base)
    shape = (len(tuned), len(names)) if layerwise else (len(tuned),)
    learned = torch.full(shape, init, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([learned], lr=ADA["lr"])
    losses = []
    for step in range(ADA["steps"]):
        optimizer.zero_grad()
        used = learned.clamp(0, 1) if clamp else learned
        state = {
            n: base[n] + sum((used[i, t] if layerwise else used[i]) * (tuned[m][n] - base[n]) for i, m in enumerate(tuned))
            for t, n in enumerate(names)
        }
        at = (step * BATCH) % SAMPLES
        loss = sum(entropy(functional_call(network, state, (data[m][at : at + BATCH],))) for m in tuned)
        loss.backward()
        losses.append(float(loss.detach()))
        optimizer.step()
    return learned.detach(), losses


def regmean_plus_plus(tuned: dict[str, dict[str, torch.Tensor]], data: dict[str, torch.Tensor], ratio: float) -> dict[str, torch.Tensor]:
    merged, flow = {}, dict(data)
    for i in range(3):
        weight, bias = f"fc{i + 1}.weight", f"fc{i + 1}.bias"
        merged[weight] = regression([tuned[m][weight].T for m in tuned], [gram(flow[m]) for m in tuned], ratio).T
        merged[bias] = sum(tuned[m][bias] for m in tuned) / len(tuned)
        flow = {m: (flow[m] @ merged[weight].T + merged[bias]).tanh() for m in tuned}
    return merged


def make() -> None:
    generator = torch.Generator().manual_seed(7)
    path = folder("reuse", "data-merges")
    tensors: dict[str, torch.Tensor] = {}
    golden: dict[str, object] = {"sizes": SIZES, "samples": SAMPLES, "batch": BATCH, "ada": ADA, "models": MODELS}

    shapes = {"w": (4, 6), "b": (4,)}
    values = {m: {n: rounded(generator, *s) for n, s in shapes.items()} for m in MODELS}
    fisher = {m: {n: (rounded(generator, *s) ** 2).float().double() for n, s in shapes.items()} for m in MODELS}
    for m in MODELS:
        tensors |= prefixed(f"fisher/in/{m}", values[m]) | prefixed(f"fisher/statistics/{m}", fisher[m])
    tensors |= prefixed("fisher/out/normalized", fisher_merge(values, fisher, [1, 1, 1], True))
    tensors |= prefixed("fisher/out/weighted", fisher_merge(values, fisher, [1, 2, 0.5], False))

    features = {m: rounded(generator, 20, 6) + rounded(generator, 6) for m in MODELS}
    grams = {m: gram(features[m]).float().double() for m in MODELS}
    tensors |= {f"regmean/statistics/{m}/w": grams[m] for m in MODELS}
    for ratio in (0.95, 0.6, 0.0):
        rows = regression([values[m]["w"].T for m in MODELS], [grams[m] for m in MODELS], ratio)
        tensors[f"regmean/out/{ratio}/w"] = rows.T

    network = Network().double()
    base = {n: rounded(generator, *p.shape) * 0.5 for n, p in network.named_parameters()}
    tuned = {m: {n: (p + 0.3 * rounded(generator, *p.shape)).float().double() for n, p in base.items()} for m in MODELS}
    data = {m: rounded(generator, SAMPLES, SIZES[0]) for m in MODELS}
    labels = {m: torch.randint(0, SIZES[-1], (SAMPLES,), generator=generator) for m in MODELS}
    tensors |= prefixed("network/base", base)
    for m in MODELS:
        tensors |= prefixed(f"network/{m}", tuned[m]) | {f"data/{m}/x": data[m], f"data/{m}/labels": labels[m]}
    for kind in ("expected", "empirical", "fusion-bench"):
        tensors |= prefixed(f"network/fisher/{kind}", squared_gradients(network, tuned["a"], data["a"], labels["a"], kind))
    tensors |= {f"network/gram/{n}.weight": gram(x) for n, x in inputs_of(tuned["a"], data["a"]).items()}
    for name, (granularity, init, clamp) in ADA_CASES.items():
        learned, losses = ada_merge(network, base, tuned, data, granularity == "layer", init, clamp)
        tensors[f"ada/{name}"] = learned
        golden[f"ada-{name}"] = {"granularity": granularity, "init": init, "clamp": clamp, "losses": losses}
    tensors |= prefixed("regmean-plus-plus", regmean_plus_plus(tuned, data, 0.95))

    write_tensors(path / "golden.safetensors", tensors)
    write_json(path / "golden.json", golden)


MAKERS = {"reuse/data-merges": make}
