"""Losses between teacher and student, by torch in f64: the formulas of the papers, with the reductions of torchdistill and TRL, written anew.

torchdistill 1.1.4 (attention transfer in both modes, RKD, PKT) and TRL 0.24.0 (generalised JSD) give the same values and gradients on these tensors, within 1e-7.
torchdistill's SPKD divides the rows of a similarity matrix by the sum of their absolute values; the paper, its authors' code and this file by their length.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from fixture import folder, noise, write_json

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def numbers(t: torch.Tensor) -> dict[str, object]:
    return {"shape": list(t.shape), "data": t.detach().flatten().tolist()}


def case(teacher: torch.Tensor, student: torch.Tensor, loss: Loss, **more: object) -> dict[str, object]:
    """Value and gradient by the student."""
    s = student.double().requires_grad_()
    value = loss(teacher.double(), s)
    value.backward()
    return {"teacher": numbers(teacher), "student": numbers(student), "loss": value.item(), "grad": numbers(s.grad), **more}


def integers(seed: int, high: int, count: int) -> torch.Tensor:
    return torch.randint(0, high, (count,), generator=torch.Generator().manual_seed(seed))


def decoupled() -> list[dict[str, object]]:
    labels = integers(3, 5, 6)

    def loss(alpha: float, beta: float, temperature: float) -> Loss:
        def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
            own = F.one_hot(labels, 5).bool()
            pt, ps = F.softmax(t / temperature, 1), F.softmax(s / temperature, 1)
            two = lambda p: torch.stack([p[own], 1 - p[own]], 1)  # noqa: E731
            target = F.kl_div(two(ps).log(), two(pt), reduction="batchmean")
            rest = lambda z: z[~own].view(6, 4) / temperature  # noqa: E731
            others = F.kl_div(F.log_softmax(rest(s), 1), F.softmax(rest(t), 1), reduction="batchmean")
            return temperature**2 * (alpha * target + beta * others)

        return f

    return [
        case(2 * noise(1, (6, 5)), 2 * noise(2, (6, 5)), loss(a, b, t), targets=labels.tolist(), alpha=a, beta=b, temperature=t)
        for a, b, t in ((1.0, 8.0, 4.0), (1.0, 0.0, 1.0), (0.0, 1.0, 2.0))
    ]


def attention(form: str) -> Loss:
    def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        if form == "paper":
            q = lambda x: F.normalize(x.pow(2).sum(1).flatten(1))  # noqa: E731
            return torch.norm(q(t) - q(s), dim=1).sum() / t.shape[0]
        q = lambda x: F.normalize(x.pow(2).mean(1).flatten(1))  # noqa: E731
        return (q(t) - q(s)).pow(2).mean()

    return f


def distances(x: torch.Tensor) -> torch.Tensor:
    squares = x.pow(2).sum(1)
    d = (squares[:, None] + squares[None] - 2 * x @ x.t()).clamp(min=1e-12).sqrt()
    d = d * (1 - torch.eye(len(x), dtype=x.dtype))
    return d / d[d > 0].mean()


def angles(x: torch.Tensor) -> torch.Tensor:
    unit = F.normalize(x[None] - x[:, None], p=2, dim=2)
    return torch.bmm(unit, unit.transpose(1, 2)).flatten()


def similarity(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    g = lambda x: F.normalize(x @ x.t())  # noqa: E731
    return (g(t) - g(s)).pow(2).sum() / len(t) ** 2


def neighbourhood(x: torch.Tensor) -> torch.Tensor:
    x = x / (x.norm(dim=1, keepdim=True) + 1e-7)
    kernel = (x @ x.t() + 1) / 2
    return kernel / kernel.sum(1, keepdim=True)


def probabilistic(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
    p, q = neighbourhood(t), neighbourhood(s)
    return (p * ((p + 1e-7) / (q + 1e-7)).log()).mean()


def contrastive() -> dict[str, object]:
    unit = lambda seed, rows: F.normalize(noise(seed, (rows, 3)))  # noqa: E731
    own, others, tau = unit(12, 4), unit(13, 6), 0.5

    def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        u = ((s * t).sum(1) / tau).exp()
        v = (s @ others.double().t() / tau).exp()
        level = (v.sum() / len(s)).detach()
        return -((u / (u + level)).log() + (1 - v / (v + level)).log().sum(1)).mean()

    return case(own, unit(11, 4), f, others=numbers(others), temperature=tau)


def jensen_shannon() -> list[dict[str, object]]:
    """TRL's generalized_jsd_loss with the limits of the paper at 0 and 1."""

    def loss(beta: float, temperature: float) -> Loss:
        def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
            lt, ls = F.log_softmax(t / temperature, -1), F.log_softmax(s / temperature, -1)
            if beta == 0:
                return F.kl_div(ls, lt, log_target=True, reduction="batchmean")
            if beta == 1:
                return F.kl_div(lt, ls, log_target=True, reduction="batchmean")
            mixed = torch.logsumexp(torch.stack([lt + torch.log(torch.tensor(beta)), ls + torch.log(torch.tensor(1 - beta))]), 0)
            to = lambda l: F.kl_div(mixed, l, log_target=True, reduction="batchmean")  # noqa: E731, E741
            return beta * to(lt) + (1 - beta) * to(ls)

        return f

    return [
        case(2 * noise(14, (6, 5)), 2 * noise(15, (6, 5)), loss(b, t), beta=b, temperature=t)
        for b, t in ((0.0, 1.0), (0.1, 1.0), (0.5, 1.0), (0.9, 2.0), (1.0, 1.0))
    ]


def reverse_policy() -> dict[str, object]:
    """Two rows of five places; the first answers from place 1 to 3, the second from 0 to 2."""
    places = [1, 2, 3, 5, 6, 7]
    targets = integers(16, 4, 6)

    def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        lt, ls = F.log_softmax(t, 1), F.log_softmax(s, 1)
        single = (ls.exp() * (ls - lt)).sum(1)
        own = ls.gather(1, targets[:, None])[:, 0]
        reward = (lt.gather(1, targets[:, None])[:, 0] - own).detach()
        long = torch.zeros(())
        for row in (slice(0, 3), slice(3, 6)):
            r, o = reward[row], own[row]
            for i in range(3):
                if i < 2:
                    long = long + r[i + 1 :].mean() * o[i]
        return (single.sum() - long) / 6

    return case(noise(17, (6, 4)), noise(18, (6, 4)), f, targets=targets.tolist(), places=places, rows=2, seq=5)


def sorted_probabilities() -> dict[str, object]:
    def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        p, q = F.softmax(t, 1).sort(descending=True)[0], F.softmax(s, 1).sort(descending=True)[0]
        return (p - F.pad(q, (0, 2))).abs().sum(1).mean()

    return case(2 * noise(19, (4, 7)), 2 * noise(20, (4, 5)), f)


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]], dtype=torch.float64)


def relations(heads: int) -> dict[str, object]:
    def scores(x: torch.Tensor) -> torch.Tensor:
        split = x.view(2, 4, heads, -1).transpose(1, 2)
        s = split @ split.transpose(2, 3) / split.shape[-1] ** 0.5
        return s.masked_fill(MASK[:, None, None] == 0, float("-inf"))

    def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        total = torch.zeros(())
        a, b = scores(t), scores(s)
        for r in range(2):
            n = int(MASK[r].sum())
            total = total + F.kl_div(F.log_softmax(b[r, :, :n, :n], -1), F.softmax(a[r, :, :n, :n], -1), reduction="sum") / heads
        return total / MASK.sum()

    return case(noise(21, (2, 4, 8)), noise(22, (2, 4, 4)), f, heads=heads, mask=numbers(MASK))


def attention_scores() -> dict[str, object]:
    qt, ks = noise(23, (2, 4, 8)), noise(24, (2, 4, 4))

    def scores(q: torch.Tensor, k: torch.Tensor) -> torch.Tensor:
        split = lambda x: x.view(2, 4, 2, -1).transpose(1, 2)  # noqa: E731
        return split(q) @ split(k).transpose(2, 3) / split(q).shape[-1] ** 0.5

    def f(t: torch.Tensor, s: torch.Tensor) -> torch.Tensor:
        squares = (scores(s, ks.double()) - scores(qt.double(), t)).pow(2).mean(1)
        # Each query over its own keys: four of the first row, three of the second.
        return (4 * squares[0].mean() + 3 * squares[1, :3, :3].mean()) / 7

    return case(noise(25, (2, 4, 8)), noise(26, (2, 4, 4)), f, teacherQueries=numbers(qt), studentKeys=numbers(ks), mask=numbers(MASK))


def teaching() -> dict[str, object]:
    maps = noise(4, (3, 5, 2, 3)), noise(5, (3, 4, 2, 3))
    vectors = noise(6, (5, 4)), noise(7, (5, 3))
    huber = lambda of: lambda t, s: F.smooth_l1_loss(of(s), of(t))  # noqa: E731
    return {
        "decoupled": decoupled(),
        "hint": case(noise(8, (2, 4, 3)), noise(9, (2, 4, 3)), lambda t, s: ((s - t).pow(2).mean(-1) * MASK).sum() / MASK.sum(), mask=numbers(MASK)),
        "attention": {form: case(*maps, attention(form)) for form in ("paper", "mean-square")},
        "distance": case(*vectors, huber(distances)),
        "angle": case(*vectors, huber(angles)),
        "similarity": case(*vectors, similarity),
        "probabilistic": case(*vectors, probabilistic),
        "contrastive": contrastive(),
        "jensenShannon": jensen_shannon(),
        "reversePolicy": reverse_policy(),
        "sortedProbabilities": sorted_probabilities(),
        "relations": [relations(heads) for heads in (1, 2, 4)],
        "attentionScores": attention_scores(),
    }  # fmt: skip


def make() -> None:
    write_json(folder("distillation", "teaching") / "losses.json", teaching())


MAKERS = {"distillation/teaching": make}
