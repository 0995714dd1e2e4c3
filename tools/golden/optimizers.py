"""Five steps of each update rule on a matrix, a vector and a batch of matrices, gradients given.

torch.optim has no Lion: its five lines follow arXiv 2302.06675, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch

from fixture import folder, noise, write_json

SHAPES = {"matrix": (3, 5), "vector": (4,), "stack": (2, 3, 2)}
RATES = [0.05, 0.1, 0.02, 0.08, 0.01]


class Lion(torch.optim.Optimizer):
    def __init__(self, params: Iterable[torch.Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.99), weight_decay: float = 0.0):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            lr, (beta1, beta2), decay = group["lr"], group["betas"], group["weight_decay"]
            for p in group["params"]:
                m = self.state[p].setdefault("m", torch.zeros_like(p))
                update = (beta1 * m + (1 - beta1) * p.grad).sign()
                p.sub_(lr * (update + decay * p))
                m.copy_(beta2 * m + (1 - beta2) * p.grad)


# name of the case: our rule, our options, theirs
CASES: dict[str, tuple[str, dict[str, object], Callable[..., torch.optim.Optimizer]]] = {
    "sgd": ("sgd", {}, lambda ps: torch.optim.SGD(ps, lr=1)),
    "sgd with L2": ("sgd", {"weightDecay": 0.1}, lambda ps: torch.optim.SGD(ps, lr=1, weight_decay=0.1)),
    "momentum": ("momentum", {}, lambda ps: torch.optim.SGD(ps, lr=1, momentum=0.9)),
    "nesterov with L2": (
        "momentum",
        {"momentum": 0.8, "nesterov": True, "weightDecay": 0.1},
        lambda ps: torch.optim.SGD(ps, lr=1, momentum=0.8, nesterov=True, weight_decay=0.1),
    ),
    "adam": ("adam", {}, lambda ps: torch.optim.Adam(ps, lr=1)),
    "adamw": ("adamw", {"weightDecay": 0.1}, lambda ps: torch.optim.AdamW(ps, lr=1, weight_decay=0.1)),
    "adamw with a large epsilon": (
        "adamw",
        {"beta1": 0.7, "beta2": 0.9, "epsilon": 0.1},
        lambda ps: torch.optim.AdamW(ps, lr=1, betas=(0.7, 0.9), eps=0.1, weight_decay=0),
    ),
    "adafactor": ("adafactor", {}, lambda ps: torch.optim.Adafactor(ps, lr=1, weight_decay=0)),
    "adafactor with decay": ("adafactor", {"weightDecay": 0.1}, lambda ps: torch.optim.Adafactor(ps, lr=1, weight_decay=0.1)),
    "lion": ("lion", {}, lambda ps: Lion(ps, lr=1)),
    "lion with decay": ("lion", {"weightDecay": 0.1}, lambda ps: Lion(ps, lr=1, weight_decay=0.1)),
}


def numbers(tensors: dict[str, torch.Tensor]) -> dict[str, list[float]]:
    """Shortest decimals that give the f32 back."""
    return {name: [float(f"{x:.9g}") for x in t.flatten().tolist()] for name, t in tensors.items()}


def make() -> None:
    start = {name: noise(1 + i, shape) for i, (name, shape) in enumerate(SHAPES.items())}
    gradients = [{name: noise(100 + 10 * s + i, shape) for i, (name, shape) in enumerate(SHAPES.items())} for s in range(len(RATES))]
    cases = {}
    for case, (rule, options, build) in CASES.items():
        params = {name: torch.nn.Parameter(t.clone()) for name, t in start.items()}
        optimizer = build(list(params.values()))
        after = []
        for rate, grads in zip(RATES, gradients, strict=True):
            for name, p in params.items():
                p.grad = grads[name].clone()
            optimizer.param_groups[0]["lr"] = rate
            optimizer.step()
            after.append(numbers({name: p.detach() for name, p in params.items()}))
        cases[case] = {"rule": rule, "options": options, "after": [after[0], after[-1]]}
    write_json(
        folder("core", "optimizers") / "golden.json",
        {
            "made by": f"tools/golden/optimizers.py with torch {torch.__version__.split('+')[0]}",
            "after": "parameters after the first and after the last step",
            "shapes": SHAPES,
            "rates": RATES,
            "start": numbers(start),
            "gradients": [numbers(g) for g in gradients],
            "cases": cases,
        },
    )


MAKERS = {"core/optimizers": make}
