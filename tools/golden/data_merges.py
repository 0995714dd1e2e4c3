"""Merges that read data, on tensors small enough to check by eye, in f64.

The formulas are those of fusion_bench 0.2.33 (fisher_merging.py, regmean.py, regmean_plusplus.py, layer_wise_fusion.py, task_wise_fusion.py,
entropy_loss.py, we_moe.py, smile_moe/linear_from_module.py), restated; check_fusion_bench.py holds the fixture against its own functions.
The network is the package's `mlp`: fc1, tanh, fc2, tanh, fc3.
"""

from __future__ import annotations

import copy

import torch
from torch.func import functional_call
from transformers import LlamaConfig, LlamaForCausalLM

from fixture import folder, prefixed, spread_parameters, write_json, write_tensors

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
SMILE = {"narrow": {"k": 2, "gate_k": 1, "top_k": 1}, "wide": {"k": 4, "gate_k": 2, "top_k": 2}}
WEMOE = {"init": 0.3, "models": ["a", "b"], "tokens": [[3, 11, 7, 19, 2], [5, 1, 22, 4, 9], [8, 8, 13, 0, 17]]}
LLAMA = {
    "vocab_size": 24,
    "hidden_size": 8,
    "intermediate_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 32,
    "tie_word_embeddings": False,
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


class MixedMlp(torch.nn.Module):
    """An MLP with base + Σ wᵢτᵢ for weights, w from a router of two layers: one w for each sequence, or one for each token."""

    def __init__(self, base: torch.nn.Module, tuned: list[torch.nn.Module], router: torch.nn.Module, per_token: bool) -> None:
        super().__init__()
        self.base, self.tuned, self.router, self.per_token = base, torch.nn.ModuleList(tuned), router, per_token

    def mixed(self, x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        base = dict(self.base.named_parameters())
        state = {n: p + sum(v * (dict(m.named_parameters())[n] - p) for v, m in zip(w, self.tuned)) for n, p in base.items()}
        return functional_call(self.base, state, (x,))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        w = self.router(x)
        if self.per_token:
            rows = [self.mixed(x[b, t], w[b, t]) for b in range(x.shape[0]) for t in range(x.shape[1])]
            return torch.stack(rows).reshape(x.shape)
        return torch.cat([self.mixed(x[b : b + 1], w[b].mean(0)) for b in range(x.shape[0])])


class Router(torch.nn.Module):
    def __init__(self, hidden: int, models: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = torch.nn.Linear(hidden, hidden), torch.nn.Linear(hidden, models)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc2(self.fc1(x).relu())


def wemoe() -> dict[str, torch.Tensor]:
    base = LlamaForCausalLM(LlamaConfig(**LLAMA)).double().eval()
    spread_parameters(base, 1)
    generator = torch.Generator().manual_seed(2)
    tuned = {}
    with torch.no_grad():
        for p in base.parameters():
            p.copy_(p.float())
        for m in WEMOE["models"]:
            tuned[m] = copy.deepcopy(base)
            for p in tuned[m].parameters():
                p.copy_((p + 0.2 * rounded(generator, *p.shape)).float())
        routers = [Router(LLAMA["hidden_size"], len(tuned)).double() for _ in range(LLAMA["num_hidden_layers"])]
        for router in routers:
            for p in router.parameters():
                p.copy_(0.5 * rounded(generator, *p.shape))
        merged = copy.deepcopy(base)
        for n, p in merged.named_parameters():
            p.copy_(p + sum(WEMOE["init"] * (t.get_parameter(n) - p) for t in tuned.values()))
        tokens = torch.tensor(WEMOE["tokens"])
        out = {}
        for case in ("sequence", "token"):
            for i, layer in enumerate(merged.model.layers):
                layer.mlp = MixedMlp(base.model.layers[i].mlp, [t.model.layers[i].mlp for t in tuned.values()], routers[i], case == "token")
            out[f"wemoe/logits/{case}"] = merged(tokens, use_cache=False).logits
    for m, model in {"base": base, **tuned}.items():
        out |= prefixed(f"wemoe/{m}", dict(model.named_parameters()))
    for i, router in enumerate(routers):
        for k, fc in enumerate((router.fc1, router.fc2)):
            out |= {f"wemoe/routers/model.layers.{i}.mlp.router.{k}.{n}": p for n, p in fc.named_parameters()}
    return out


def smile_linear(x: torch.Tensor, base: dict[str, torch.Tensor], tuned: list[dict[str, torch.Tensor]], k: int, gate_k: int, top_k: int) -> torch.Tensor:
    answers, lengths = [], []
    for m in tuned:
        u, s, vh = torch.linalg.svd(m["weight"] - base["weight"], full_matrices=False)
        lengths.append((x @ vh[:gate_k].T).norm(dim=-1))
        answers.append(x @ (s[:k, None] * vh[:k]).T @ u[:, :k].T + m["bias"] - base["bias"])
    weights, chosen = torch.stack(lengths, -1).softmax(-1).topk(top_k, -1)
    weights = weights / weights.sum(-1, keepdim=True)
    mixed = sum(weights[:, j, None] * torch.stack(answers, 1)[torch.arange(len(x)), chosen[:, j]] for j in range(top_k))
    return x @ base["weight"].T + base["bias"] + mixed


def smile(base: dict[str, torch.Tensor], tuned: dict[str, dict[str, torch.Tensor]], x: torch.Tensor, **ranks: int) -> torch.Tensor:
    for i in range(3):
        of = lambda state: {kind: state[f"fc{i + 1}.{kind}"] for kind in ("weight", "bias")}  # noqa: B023, E731
        x = smile_linear(x, of(base), [of(m) for m in tuned.values()], **ranks)
        x = x.tanh() if i < 2 else x
    return x


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

    for case, ranks in SMILE.items():
        tensors[f"smile/{case}"] = smile(base, tuned, data["a"], **ranks)
    golden["smile"] = SMILE
    tensors |= wemoe()
    golden["wemoe"] = WEMOE | {"config": LLAMA}

    write_tensors(path / "golden.safetensors", tensors)
    write_json(path / "golden.json", golden)


MAKERS = {"reuse/data-merges": make}
