"""Meta-gradients of the gradient-based methods by torch autograd in f64, from the papers' formulas, and of MAML through networks of three kinds."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from fixture import folder, noise, tokens
from meta import net, params
from transformers import BertConfig, BertForSequenceClassification

Tensors = dict[str, torch.Tensor]
Task = tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]

RATE, STEPS = 0.125, 3


def plain(value: object) -> object:
    """Tensors as shape and data; every digit is kept."""
    if isinstance(value, torch.Tensor):
        return {"shape": list(value.shape), "data": value.detach().flatten().tolist()}
    if isinstance(value, Mapping):
        return {k: plain(v) for k, v in value.items()}
    return [plain(v) for v in value] if isinstance(value, list | tuple) else value


def write(name: str, value: object) -> None:
    path = folder("meta", name) / "golden.json"
    path.write_text(json.dumps(plain(value)) + "\n")


def small_tasks() -> list[Task]:
    found = []
    for i in range(3):
        sx, qx = noise(100 + i, (5, 2)), noise(200 + i, (4, 2))
        found.append((sx, torch.sin(sx.sum(1, keepdim=True) + i), qx, torch.sin(qx.sum(1, keepdim=True) + i)))
    return [tuple(t.double() for t in task) for task in found]


def descend(own: Tensors, task: Task, step: int, move: Callable[[str, torch.Tensor, torch.Tensor, int], torch.Tensor], moves: list[str]) -> Tensors:
    loss = F.mse_loss(net(own, task[0]), task[1])
    grads = torch.autograd.grad(loss, [own[n] for n in moves], create_graph=True)
    return {**own, **{n: move(n, own[n], g, step) for n, g in zip(moves, grads, strict=True)}}


def judged(theta: Tensors, extra: Tensors, tasks: list[Task], move, moves=None, weights=None) -> dict[str, object]:
    """Loss, answers and gradients of the outer loop."""
    losses, answers = [], []
    for task in tasks:
        own = dict(theta)
        total = 0.0
        for k in range(STEPS + 1):
            if k > 0:
                own = descend(own, task, k - 1, move, moves or list(theta))
            w = (weights or [0.0] * STEPS + [1.0])[k]
            if w:
                total = total + w * F.mse_loss(net(own, task[2]), task[3])
        answers.append(net(own, task[2]))
        losses.append(total)
    loss = torch.stack(losses).mean()
    everything = {**theta, **extra}
    return {
        "loss": loss.item(),
        "answers": torch.stack(answers),
        "grad": dict(zip(everything, torch.autograd.grad(loss, list(everything.values())), strict=True)),
        "own": extra,
    }


def inner_loops() -> dict[str, object]:
    start = {n: p.double() for n, p in params((2, 4, 1), 1).items()}
    tasks = small_tasks()
    leaf = lambda tensors: {n: t.clone().requires_grad_() for n, t in tensors.items()}  # noqa: E731
    theta = leaf(start)
    spread = lambda seed, shape: (0.1 + 0.05 * noise(seed, shape)).double().requires_grad_()  # noqa: E731
    found: dict[str, object] = {"anil": judged(theta, {}, tasks, lambda n, p, g, k: p - RATE * g, ["fc2.weight", "fc2.bias"])}

    rates = {f"inner.rate.{n}": spread(30 + i, p.shape) for i, (n, p) in enumerate(start.items())}
    theta = leaf(start)
    found["meta-sgd"] = judged(theta, rates, tasks, lambda n, p, g, k: p - rates[f"inner.rate.{n}"] * g)

    by_step = {f"inner.rate.{n}": spread(40 + i, (STEPS,)) for i, n in enumerate(start)}
    theta = leaf(start)
    # the eleventh of a hundred outer steps
    equal = 1 / STEPS
    shifted = 10 * equal / 100
    weights = [0.0] + [max(equal - shifted, 0.03 * equal)] * (STEPS - 1) + [min(equal + (STEPS - 1) * shifted, 1 - (STEPS - 1) * 0.03 * equal)]
    found["maml-plus-plus"] = judged(theta, by_step, tasks, lambda n, p, g, k: p - by_step[f"inner.rate.{n}"][k] * g, weights=weights)

    turn: Tensors = {}
    for i, (n, p) in enumerate(start.items()):
        if p.ndim == 1:
            turn[f"inner.curvature.out.{n}"] = (1 + 0.2 * noise(50 + i, p.shape)).double().requires_grad_()
        else:
            for j, (mode, size) in enumerate((("out", p.shape[0]), ("in", p.shape[1]))):
                turn[f"inner.curvature.{mode}.{n}"] = (torch.eye(size) + 0.2 * noise(60 + 2 * i + j, (size, size))).double().requires_grad_()

    def curved(n: str, p: torch.Tensor, g: torch.Tensor, k: int) -> torch.Tensor:
        out = turn[f"inner.curvature.out.{n}"]
        return p - RATE * (out * g if g.ndim == 1 else out @ g @ turn[f"inner.curvature.in.{n}"].T)

    theta = leaf(start)
    found["meta-curvature"] = judged(theta, turn, tasks, curved)
    found["reptile"] = {name: reptile(start, tasks, name) for name in ("adam", "sgd")}
    found["imaml"] = implicit(start, tasks)
    return {"rate": RATE, "steps": STEPS, "params": start, "tasks": [dict(zip(("sx", "sy", "qx", "qy"), t, strict=True)) for t in tasks], "methods": found}


def reptile(start: Tensors, tasks: list[Task], optimizer: str) -> dict[str, object]:
    moved = []
    for sx, sy, qx, qy in tasks:
        own = {n: p.clone().requires_grad_() for n, p in start.items()}
        step = torch.optim.Adam(own.values(), lr=RATE, betas=(0.0, 0.999)) if optimizer == "adam" else torch.optim.SGD(own.values(), lr=RATE)
        for _ in range(STEPS):
            step.zero_grad()
            F.mse_loss(net(own, torch.cat([sx, qx])), torch.cat([sy, qy])).backward()
            step.step()
        moved.append(own)
    return {"grad": {n: p - torch.stack([own[n].detach() for own in moved]).mean(0) for n, p in start.items()}}


def implicit(start: Tensors, tasks: list[Task]) -> dict[str, object]:
    """The exact solution by a dense Hessian, at the parameters that the inner loop reaches."""
    pull = 2.0
    flat = torch.cat([p.flatten() for p in start.values()])

    def unflat(v: torch.Tensor) -> Tensors:
        out, at = {}, 0
        for n, p in start.items():
            out[n] = v[at : at + p.numel()].reshape(p.shape)
            at += p.numel()
        return out

    total, losses = torch.zeros_like(flat), []
    for sx, sy, qx, qy in tasks:
        support = lambda v, sx=sx, sy=sy: F.mse_loss(net(unflat(v), sx), sy)  # noqa: E731
        phi = flat.clone()
        for _ in range(16):
            phi = (phi - RATE * (torch.func.grad(support)(phi) + pull * (phi - flat))).detach()
        query = lambda v, qx=qx, qy=qy: F.mse_loss(net(unflat(v), qx), qy)  # noqa: E731
        hessian = torch.func.hessian(support)(phi)
        total += torch.linalg.solve(torch.eye(flat.numel(), dtype=torch.float64) + hessian / pull, torch.func.grad(query)(phi))
        losses.append(query(phi))
    return {"pull": pull, "innerSteps": 16, "loss": torch.stack(losses).mean().item(), "grad": unflat(total / len(tasks))}


def maml_gradients(forward, start: Tensors, tasks: list[tuple], loss_of, steps: int, dtype: torch.dtype) -> tuple[float, Tensors]:
    """`tasks` — support input, labels, query input, labels."""
    cast = lambda t: t.to(dtype) if t.is_floating_point() else t  # noqa: E731
    theta = {n: p.to(dtype).requires_grad_() for n, p in start.items()}
    losses = []
    for task in tasks:
        sx, sy, qx, qy = (cast(t) for t in task)
        own = dict(theta)
        for _ in range(steps):
            grads = torch.autograd.grad(loss_of(forward(own, sx), sy), list(own.values()), create_graph=True)
            own = {n: p - RATE * g for (n, p), g in zip(own.items(), grads, strict=True)}
        losses.append(loss_of(forward(own, qx), qy))
    loss = torch.stack(losses).mean()
    return loss.item(), dict(zip(theta, torch.autograd.grad(loss, list(theta.values())), strict=True))


def through(forward, start: Tensors, tasks: list[tuple], loss_of) -> dict[str, object]:
    """Of 1 to 5 steps: f64's loss and gradients, and how far torch's own f32 is from them, as a share of the largest of each tensor."""
    cases = []
    for steps in range(1, 6):
        loss, exact = maml_gradients(forward, start, tasks, loss_of, steps, torch.float64)
        _, single = maml_gradients(forward, start, tasks, loss_of, steps, torch.float32)
        # What is 0 by symmetry (a bias before a batch norm) has no share.
        scale = max(g.abs().max().item() for g in exact.values())
        error = max((single[n].double() - g).abs().max().item() for n, g in exact.items()) / scale
        cases.append({"steps": steps, "loss": loss, "grad": exact, "f32": error})
    return {"rate": RATE, "params": start, "tasks": [dict(zip(("sx", "sy", "qx", "qy"), t, strict=True)) for t in tasks], "cases": cases}


def tanh_mlp() -> dict[str, object]:
    tasks = [tuple(t.float() for t in task) for task in small_tasks()[:2]]
    return through(net, params((2, 6, 5, 1), 3), tasks, F.mse_loss)


def conv_net() -> dict[str, object]:
    widths, channels = (3, 4), 1
    start: Tensors = {}
    for i, width in enumerate(widths):
        start[f"features.{i}.conv.weight"] = noise(70 + i, (width, channels, 3, 3)) / math.sqrt(9 * channels)
        start[f"features.{i}.conv.bias"] = 0.1 * noise(72 + i, (width,))
        start[f"features.{i}.norm.weight"] = 1 + 0.2 * noise(74 + i, (width,))
        start[f"features.{i}.norm.bias"] = 0.2 * noise(76 + i, (width,))
        channels = width
    start["classifier.weight"] = noise(78, (2, 16)) / 4
    start["classifier.bias"] = 0.1 * noise(79, (2,))

    def forward(p: Tensors, x: torch.Tensor) -> torch.Tensor:
        for i in range(len(widths)):
            x = F.conv2d(x, p[f"features.{i}.conv.weight"], p[f"features.{i}.conv.bias"], padding=1)
            x = F.batch_norm(x, None, None, p[f"features.{i}.norm.weight"], p[f"features.{i}.norm.bias"], training=True)
            x = F.max_pool2d(torch.relu(x), 2)
        return F.linear(x.flatten(1), p["classifier.weight"], p["classifier.bias"])

    labels = torch.tensor([0, 1, 0, 1])
    tasks = [(noise(80 + i, (4, 1, 8, 8)), labels, noise(90 + i, (4, 1, 8, 8)), labels) for i in range(2)]
    return through(forward, start, tasks, F.cross_entropy)


def attention_block() -> dict[str, object]:
    # ReLU: a constant of GELU, which a graph holds in f32, is 1e-8 off by itself.
    config = BertConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=12, max_position_embeddings=6,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, num_labels=2, attn_implementation="eager", hidden_act="relu",
    )  # fmt: skip
    model = BertForSequenceClassification(config)
    start = {}
    for i, (n, p) in enumerate(sorted(model.named_parameters())):
        spread = 0.1 if p.ndim == 1 else 0.4
        start[n] = (1 if n.endswith("LayerNorm.weight") else 0) + spread * noise(300 + i, tuple(p.shape))

    def forward(p: Tensors, x: torch.Tensor) -> torch.Tensor:
        return torch.func.functional_call(model.to(p["classifier.weight"].dtype), p, args=(), kwargs={"input_ids": x}).logits

    labels = torch.tensor([0, 1, 0])
    tasks = [(tokens(400 + i, (3, 5), 9), labels, tokens(410 + i, (3, 5), 9), labels) for i in range(2)]
    return {"config": json.loads(config.to_json_string()), **through(forward, start, tasks, F.cross_entropy)}


WAYS = 3


def head_inputs() -> Tensors:
    return {"supports": noise(500, (7, 4)).double(), "queries": noise(501, (5, 4)).double()}


HEAD_LABELS, HEAD_ANSWERS = torch.tensor([2, 0, 1, 0, 2, 1, 1]), torch.tensor([1, 0, 2, 2, 0])


def unit(x: torch.Tensor) -> torch.Tensor:
    return x / x.norm(dim=-1, keepdim=True)


def class_means(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x[HEAD_LABELS == k].mean(0) for k in range(WAYS)])


def head_case(scores: Callable[[Tensors], torch.Tensor], own: Tensors | None = None, squared: bool = False) -> dict[str, object]:
    """Scores, the loss of the right answers, and its gradients in embeddings and in what the head learns."""
    leaf = {n: t.double().clone().requires_grad_() for n, t in {**head_inputs(), **(own or {})}.items()}
    found = scores(leaf)
    one_hot = F.one_hot(HEAD_ANSWERS, WAYS).double()
    loss = (found - one_hot).square().mean() if squared else F.cross_entropy(found, HEAD_ANSWERS)
    return {
        "scores": found,
        "loss": loss.item(),
        "grad": dict(zip(leaf, torch.autograd.grad(loss, list(leaf.values())), strict=True)),
        "own": own or {},
    }


def machine(t: Tensors, c: float, steps: int) -> torch.Tensor:
    x, y = t["supports"], F.one_hot(HEAD_LABELS, WAYS).double()
    kernel = x @ x.T
    rate = (1 / (c * kernel.abs().sum(1).max())).detach()
    log_p = torch.full_like(y, -math.log(WAYS))
    for _ in range(steps):
        log_p = torch.log_softmax(log_p + rate * (kernel @ (c * (y - log_p.exp())) - y), 1)
    return t["queries"] @ x.T @ (c * (y - log_p.exp())) * t.get("head.scale", torch.ones(1))


def solved_machine(c: float) -> torch.Tensor:
    """The dual problem of Crammer and Singer in its own variables, by a general solver."""
    import numpy as np
    from scipy.optimize import minimize

    t = head_inputs()
    kernel, y = (t["supports"] @ t["supports"].T).numpy(), F.one_hot(HEAD_LABELS, WAYS).double().numpy()
    n = len(y)

    def objective(a: np.ndarray) -> tuple[float, np.ndarray]:
        a = a.reshape(n, WAYS)
        return 0.5 * np.sum(a * (kernel @ a)) - np.sum(a * y), (kernel @ a - y).ravel()

    bounds = [(None, c if right else 0.0) for right in y.ravel()]
    sums = {"type": "eq", "fun": lambda a: a.reshape(n, WAYS).sum(1), "jac": lambda _a: np.repeat(np.eye(n), WAYS, axis=1)}
    found = minimize(objective, np.zeros(n * WAYS), jac=True, bounds=bounds, constraints=[sums], method="SLSQP", options={"maxiter": 2000, "ftol": 1e-14})
    if not found.success:
        raise RuntimeError(found.message)
    return t["queries"] @ t["supports"].T @ torch.tensor(found.x.reshape(n, WAYS))


def logistic(t: Tensors, penalty: float, steps: int) -> torch.Tensor:
    x, q = (torch.cat([unit(t[n]), torch.ones(len(t[n]), 1, dtype=torch.float64)], 1) for n in ("supports", "queries"))
    y = F.one_hot(HEAD_LABELS, WAYS).double()
    rate = 1 / (1 + penalty)
    root = math.sqrt(penalty * rate)
    w = ahead = torch.zeros(x.shape[1], WAYS, dtype=torch.float64)
    for _ in range(steps):
        step = ahead - rate * (x.T @ (torch.softmax(x @ ahead, 1) - y) / len(x) + penalty * ahead)
        ahead, w = step + (1 - root) / (1 + root) * (step - w), step
    return q @ w


def solved_logistic(penalty: float) -> torch.Tensor:
    t = head_inputs()
    x, q = (torch.cat([unit(t[n]), torch.ones(len(t[n]), 1, dtype=torch.float64)], 1) for n in ("supports", "queries"))
    w = torch.zeros(x.shape[1], WAYS, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS([w], max_iter=500, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        solver.zero_grad()
        value = F.cross_entropy(x @ w, HEAD_LABELS) + penalty / 2 * w.square().sum()
        value.backward()
        return value

    solver.step(loss)
    return q @ w


def cosine(t: Tensors, scale: float, lr: float, steps: int) -> torch.Tensor:
    w = unit(class_means(t["supports"]))
    for _ in range(steps):
        if not w.requires_grad:
            w.requires_grad_()
        (g,) = torch.autograd.grad(F.cross_entropy(scale * unit(t["supports"]) @ unit(w).T, HEAD_LABELS), w, create_graph=True)
        w = w - lr * g
    return scale * unit(t["queries"]) @ unit(w).T


def ridge(t: Tensors) -> torch.Tensor:
    x, y = t["supports"], F.one_hot(HEAD_LABELS, WAYS).double()
    w = x.T @ torch.linalg.solve(x @ x.T + t["head.log-ridge"].exp() * torch.eye(len(x), dtype=torch.float64), y)
    return t["queries"] @ w * t["head.scale"] + t["head.shift"]


def relations(t: Tensors) -> torch.Tensor:
    sums = F.one_hot(HEAD_LABELS, WAYS).double().T @ t["supports"]
    pairs = torch.stack([torch.cat([sums, q.expand(WAYS, -1)], 1) for q in t["queries"]])
    h = torch.relu(F.linear(pairs, t["head.relation.fc1.weight"], t["head.relation.fc1.bias"]))
    return torch.sigmoid(F.linear(h, t["head.relation.fc2.weight"], t["head.relation.fc2.bias"])).squeeze(-1)


def heads() -> dict[str, object]:
    one = lambda value: torch.tensor([value])  # noqa: E731
    relation = {"fc1.weight": noise(510, (5, 8)) / 3, "fc1.bias": 0.2 * noise(511, (5,)), "fc2.weight": noise(512, (1, 5)), "fc2.bias": one(0.1)}
    matching = lambda t: (torch.softmax(unit(t["queries"]) @ unit(t["supports"]).T, 1) @ F.one_hot(HEAD_LABELS, WAYS).double()).log()  # noqa: E731
    return {
        **head_inputs(), "labels": HEAD_LABELS.tolist(), "answers": HEAD_ANSWERS.tolist(), "ways": WAYS,
        "heads": {
            "matchingnet": head_case(matching),
            "relationnet": head_case(relations, {f"head.relation.{n}": t for n, t in relation.items()}, squared=True),
            "r2d2": head_case(ridge, {"head.log-ridge": one(0.5), "head.scale": one(1.5), "head.shift": one(-0.25)}),
            "metaoptnet": head_case(lambda t: machine(t, 0.5, 6), {"head.scale": one(1.5)}),
            "nearest-centroid": head_case(lambda t: -torch.cdist(unit(t["queries"]), class_means(unit(t["supports"]))).square()),
            "logistic-regression": head_case(lambda t: logistic(t, 0.125, 8)),
            "baseline-plus-plus": head_case(lambda t: cosine(t, 4.0, 0.5, 3)),
        },
        "solved": {"metaoptnet": solved_machine(0.5), "logistic-regression": solved_logistic(0.125)},
    }  # fmt: skip


MAKERS = {
    "meta/inner-loops": lambda: write("inner-loops", inner_loops()),
    "meta/heads": lambda: write("heads", heads()),
    "meta/tanh-mlp": lambda: write("tanh-mlp", tanh_mlp()),
    "meta/conv-net": lambda: write("conv-net", conv_net()),
    "meta/attention-block": lambda: write("attention-block", attention_block()),
}
