"""Meta-gradients of MAML and FOMAML by torch autograd on a tiny net, and a ProtoNet loss, from the papers' formulas."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from distillation import numbers
from fixture import folder, noise, write_json

INNER_LR, INNER_STEPS = 0.1, 3


def params(sizes: tuple[int, ...], seed: int) -> dict[str, torch.Tensor]:
    found = {}
    for i, (n, m) in enumerate(zip(sizes, sizes[1:], strict=False)):
        found[f"fc{i + 1}.weight"] = noise(seed + 2 * i, (m, n)) / n**0.5
        found[f"fc{i + 1}.bias"] = 0.2 * noise(seed + 2 * i + 1, (m,))
    return found


def net(p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    layers = len(p) // 2
    for i in range(1, layers + 1):
        x = F.linear(x, p[f"fc{i}.weight"], p[f"fc{i}.bias"])
        if i < layers:
            x = torch.tanh(x)
    return x


def meta_gradient(kind: str, start: dict[str, torch.Tensor], tasks: list[tuple[torch.Tensor, ...]], first_order: bool) -> dict[str, object]:
    loss_of = F.mse_loss if kind == "regression" else F.cross_entropy
    theta = {name: p.clone().requires_grad_() for name, p in start.items()}
    losses = []
    answers = []
    for sx, sy, qx, qy in tasks:
        own = dict(theta)
        for _ in range(INNER_STEPS):
            grads = torch.autograd.grad(loss_of(net(own, sx), sy), list(own.values()), create_graph=not first_order)
            own = {name: p - INNER_LR * g for (name, p), g in zip(own.items(), grads, strict=True)}
        answers.append(net(own, qx))
        losses.append(loss_of(answers[-1], qy))
    loss = torch.stack(losses).mean()
    grads = torch.autograd.grad(loss, list(theta.values()))
    return {
        "loss": loss.item(),
        "answers": numbers(torch.stack(answers)),
        "grad": {name: numbers(g) for name, g in zip(theta, grads, strict=True)},
    }


def case(kind: str) -> dict[str, object]:
    outputs = 1 if kind == "regression" else 3
    start = params((2, 8, 6, outputs), 1)
    tasks = []
    for i in range(4):
        sx, qx = noise(100 + i, (6, 2)), noise(200 + i, (5, 2))
        if kind == "regression":
            tasks.append((sx, torch.sin(sx.sum(1, keepdim=True) + i), qx, torch.sin(qx.sum(1, keepdim=True) + i)))
        else:
            label = lambda x, turn: ((x[:, 0] > 0).long() + (x[:, 1] > 0).long() + turn) % 3  # noqa: E731
            tasks.append((sx, label(sx, i), qx, label(qx, i)))
    return {
        "kind": kind, "innerLr": INNER_LR, "innerSteps": INNER_STEPS,
        "params": {name: numbers(p) for name, p in start.items()},
        "tasks": [{name: numbers(t) for name, t in zip(("sx", "sy", "qx", "qy"), task, strict=True)} for task in tasks],
        "maml": meta_gradient(kind, start, tasks, first_order=False),
        "fomaml": meta_gradient(kind, start, tasks, first_order=True),
    }  # fmt: skip


def protonet() -> dict[str, object]:
    support, query = noise(7, (6, 4)).requires_grad_(), noise(8, (5, 4)).requires_grad_()
    labels, answers = torch.tensor([2, 0, 1, 0, 2, 1]), torch.tensor([1, 0, 2, 2, 0])
    means = torch.stack([support[labels == k].mean(0) for k in range(3)])
    logits = -torch.cdist(query, means).pow(2)
    loss = F.cross_entropy(logits, answers)
    loss.backward()
    return {
        "support": numbers(support), "labels": labels.tolist(), "query": numbers(query), "answers": answers.tolist(),
        "logits": numbers(logits), "loss": loss.item(), "grad": {"support": numbers(support.grad), "query": numbers(query.grad)},
    }  # fmt: skip


def make() -> None:
    path = folder("meta", "gradients")
    write_json(path / "regression.json", case("regression"))
    write_json(path / "classification.json", case("classification"))
    write_json(path / "protonet.json", protonet())


MAKERS = {"meta/gradients": make}
