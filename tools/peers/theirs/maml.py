"""One outer step of second-order MAML on sinusoids: 25 tasks × 5 inner steps, K = 10; a loop over tasks, or torch.func's vmap."""

import sys

import torch
import torch.nn.functional as F
from peer import serve
from torch.func import grad, vmap
from weights import uniform

TASKS, INNER, SHOTS, INNER_LR = 25, 5, 10, 0.01
SIZES = [(40, 1), (40, 40), (1, 40)]

params = {}
for i, (out, width) in enumerate(SIZES):
    params[f"fc{i + 1}.weight"] = torch.from_numpy(uniform(f"fc{i + 1}.weight", out * width)).reshape(out, width) * (width**-0.5)
    params[f"fc{i + 1}.bias"] = torch.zeros(out)
params = {k: v.clone().requires_grad_() for k, v in params.items()}
optimizer = torch.optim.Adam(params.values(), lr=1e-3)
step = 0


def net(p: dict, x: torch.Tensor) -> torch.Tensor:
    x = F.relu(F.linear(x, p["fc1.weight"], p["fc1.bias"]))
    x = F.relu(F.linear(x, p["fc2.weight"], p["fc2.bias"]))
    return F.linear(x, p["fc3.weight"], p["fc3.bias"])


def loss_of(p: dict, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return F.mse_loss(net(p, x), y)


def episodes() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    global step
    draw = lambda what, n: torch.from_numpy(uniform(f"{what} {step}", n))  # noqa: E731
    amplitude = (draw("amplitude", TASKS) * 2.45 + 2.55).reshape(TASKS, 1, 1)
    phase = ((draw("phase", TASKS) + 1) * 1.5707964).reshape(TASKS, 1, 1)
    sx, qx = (draw(w, TASKS * SHOTS).reshape(TASKS, SHOTS, 1) * 5 for w in ("support", "query"))
    step += 1
    wave = lambda x: amplitude * torch.sin(x + phase)  # noqa: E731
    return sx, wave(sx), qx, wave(qx)


def loop() -> torch.Tensor:
    sx, sy, qx, qy = episodes()
    losses = []
    for i in range(TASKS):
        p = params
        for _ in range(INNER):
            gs = torch.autograd.grad(loss_of(p, sx[i], sy[i]), list(p.values()), create_graph=True)
            p = {k: v - INNER_LR * g for (k, v), g in zip(p.items(), gs)}
        losses.append(loss_of(p, qx[i], qy[i]))
    return torch.stack(losses).mean()


def task(p: dict, sx: torch.Tensor, sy: torch.Tensor, qx: torch.Tensor, qy: torch.Tensor) -> torch.Tensor:
    for _ in range(INNER):
        gs = grad(loss_of)(p, sx, sy)
        p = {k: v - INNER_LR * gs[k] for k, v in p.items()}
    return loss_of(p, qx, qy)


def batched() -> torch.Tensor:
    return vmap(task, in_dims=(None, 0, 0, 0, 0))(params, *episodes()).mean()


objective = loop if sys.argv[1] == "loop" else batched


def one() -> float:
    optimizer.zero_grad(set_to_none=True)
    loss = objective()
    loss.backward()
    optimizer.step()
    return loss.item()


def repeat() -> float:
    # Ten outer steps a repetition: one is too short to time alone.
    value = 0.0
    for _ in range(10):
        value = one()
    return value


repeat()
serve(repeat)
