"""Distillation losses and a short run of logit distillation, by torch: the formulas of RepDistiller's KL and of DAFL's authors' code, written anew."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from fixture import folder, noise, write_json


def numbers(t: torch.Tensor) -> dict[str, object]:
    return {"shape": list(t.shape), "data": t.detach().flatten().tolist()}


def soft_target_cases() -> list[dict[str, object]]:
    teacher = 3 * noise(1, (6, 5))
    cases = []
    for temperature in (1.0, 2.0, 4.0, 20.0):
        student = (2 * noise(2, (6, 5))).requires_grad_()
        loss = F.kl_div(F.log_softmax(student / temperature, 1), F.softmax(teacher / temperature, 1), reduction="batchmean") * temperature**2
        loss.backward()
        cases.append({"temperature": temperature, "loss": loss.item(), "grad": numbers(student.grad)})
    return [{"teacher": numbers(teacher), "student": numbers(2 * noise(2, (6, 5))), "cases": cases}]


def generator_losses() -> dict[str, object]:
    logits, features = (2 * noise(3, (7, 4))).requires_grad_(), noise(4, (7, 6)).requires_grad_()
    one_hot = F.cross_entropy(logits, logits.detach().max(1)[1])
    activation = -features.abs().mean()
    share = F.softmax(logits, dim=1).mean(dim=0)
    balance = (share * torch.log(share)).sum() + torch.log(torch.tensor(4.0))
    grads = {
        "oneHot": torch.autograd.grad(one_hot, logits, retain_graph=True)[0],
        "balance": torch.autograd.grad(balance, logits)[0],
        "activation": torch.autograd.grad(activation, features)[0],
    }
    x = noise(5, (3, 2, 4, 4)).requires_grad_()
    mean, variance = noise(6, (2,)), 1 + 0.3 * noise(7, (2,))
    distance = (x.mean((0, 2, 3)) - mean).pow(2).mean() + (x.var((0, 2, 3), unbiased=False) - variance).pow(2).mean()
    distance.backward()
    return {
        "logits": numbers(logits), "features": numbers(features),
        "loss": {"oneHot": one_hot.item(), "balance": balance.item(), "activation": activation.item()},
        "grad": {name: numbers(g) for name, g in grads.items()},
        "batchNorm": {"x": numbers(x), "mean": numbers(mean), "variance": numbers(variance), "loss": distance.item(), "grad": numbers(x.grad)},
    }  # fmt: skip


def mlp_params(seed: int, sizes: tuple[int, ...]) -> dict[str, torch.Tensor]:
    params = {}
    for i, (n, m) in enumerate(zip(sizes, sizes[1:], strict=False)):
        params[f"fc{i + 1}.weight"] = noise(seed + 2 * i, (m, n)) / n**0.5
        params[f"fc{i + 1}.bias"] = 0.1 * noise(seed + 2 * i + 1, (m,))
    return params


def mlp(params: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    layers = len(params) // 2
    for i in range(1, layers + 1):
        x = F.linear(x, params[f"fc{i}.weight"], params[f"fc{i}.bias"])
        if i < layers:
            x = torch.relu(x)
    return x


def kd_run() -> dict[str, object]:
    """Five AdamW steps (1e-2, decay .01) of .3·CE + .7·T²·KL with T = 3; batch k is rows 8k … 8k + 7."""
    teacher = mlp_params(20, (4, 12, 3))
    student = {name: p.requires_grad_() for name, p in mlp_params(40, (4, 6, 3)).items()}
    start = {name: numbers(p) for name, p in student.items()}
    x, labels = noise(60, (40, 4)), torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(61))
    optimizer = torch.optim.AdamW(student.values(), lr=1e-2, weight_decay=0.01)
    losses = []
    for k in range(5):
        rows = slice(8 * k, 8 * k + 8)
        logits, soft = mlp(student, x[rows]), mlp(teacher, x[rows])
        kl = F.kl_div(F.log_softmax(logits / 3, 1), F.softmax(soft / 3, 1), reduction="batchmean") * 9
        loss = 0.3 * F.cross_entropy(logits, labels[rows]) + 0.7 * kl
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return {
        "teacher": {name: numbers(p) for name, p in teacher.items()}, "student": start, "x": numbers(x), "labels": labels.tolist(),
        "losses": losses, "learned": {name: numbers(p) for name, p in student.items()},
    }  # fmt: skip


def make() -> None:
    path = folder("distillation", "losses")
    write_json(path / "soft-targets.json", soft_target_cases()[0])
    write_json(path / "generator-losses.json", generator_losses())
    write_json(path / "kd-run.json", kd_run())


MAKERS = {"distillation/losses": make}
