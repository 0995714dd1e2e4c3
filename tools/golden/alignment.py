"""Alignment of models: Git Re-Basin's weight matching, OT fusion and ZipIt's matching.

The three algorithms are written anew in NumPy from the papers and the authors' code (arXiv 2209.04836, 1910.05653, 2305.03053). Numbers that go
in are drawn by `Draws`, which the tests repeat, so that fixtures hold only what comes out.
"""

from __future__ import annotations

import numpy as np
from fixture import Draws, folder, write_json


def permuted(weights: dict, axes: dict, perm: dict, name: str, except_axis: int | None = None) -> np.ndarray:
    w = weights[name]
    for axis, p in enumerate(axes[name]):
        if p is None or axis == except_axis:
            continue
        if isinstance(p, tuple):  # a flattened image: blocks of positions move together
            p, block = p
            index = (perm[p][:, None] * block + np.arange(block)).ravel()
        else:
            index = perm[p]
        w = np.take(w, index, axis=axis)
    return w


def weight_matching(axes: dict, sizes: dict, a: dict, b: dict, orders: list[list[int]]) -> tuple[dict, int]:
    """Algorithm 1 with the order of layers given for every pass."""
    from scipy.optimize import linear_sum_assignment

    perm = {p: np.arange(n) for p, n in sizes.items()}
    names = list(sizes)
    for passes, order in enumerate(orders):
        progress = False
        for k in order:
            p = names[k]
            n = sizes[p]
            similarity = np.zeros((n, n))
            for name, tags in axes.items():
                for axis, tag in enumerate(tags):
                    if (tag[0] if isinstance(tag, tuple) else tag) != p:
                        continue
                    wa = np.moveaxis(a[name], axis, 0).reshape(n, -1)
                    wb = np.moveaxis(permuted(b, axes, perm, name, axis), axis, 0).reshape(n, -1)
                    similarity += wa @ wb.T
            _, columns = linear_sum_assignment(similarity, maximize=True)
            old, new = similarity[np.arange(n), perm[p]].sum(), similarity[np.arange(n), columns].sum()
            progress = progress or new > old + 1e-12
            perm[p] = columns
        if not progress:
            return perm, passes + 1
    return perm, len(orders)


MLP = {
    "axes": {
        "fc1.weight": ("0", None), "fc1.bias": ("0",), "fc2.weight": ("1", "0"), "fc2.bias": ("1",),
        "fc3.weight": ("2", "1"), "fc3.bias": ("2",), "fc4.weight": (None, "2"), "fc4.bias": (None,),
    },
    "sizes": {"0": 24, "1": 32, "2": 16},
    "shapes": {
        "fc1.weight": (24, 10), "fc1.bias": (24,), "fc2.weight": (32, 24), "fc2.bias": (32,),
        "fc3.weight": (16, 32), "fc3.bias": (16,), "fc4.weight": (4, 16), "fc4.bias": (4,),
    },
}  # fmt: skip
CONVNET = {
    "axes": {
        "features.0.conv.weight": ("0", None, None, None), "features.0.conv.bias": ("0",),
        **{f"features.0.norm.{part}": ("0",) for part in ("weight", "bias", "running_mean", "running_var")},
        "features.1.conv.weight": ("1", "0", None, None), "features.1.conv.bias": ("1",),
        **{f"features.1.norm.{part}": ("1",) for part in ("weight", "bias", "running_mean", "running_var")},
        "classifier.weight": (None, ("1", 4)), "classifier.bias": (None,),
    },
    "sizes": {"0": 12, "1": 20},
    "shapes": {
        "features.0.conv.weight": (12, 1, 3, 3), "features.0.conv.bias": (12,),
        **{f"features.0.norm.{part}": (12,) for part in ("weight", "bias", "running_mean", "running_var")},
        "features.1.conv.weight": (20, 12, 3, 3), "features.1.conv.bias": (20,),
        **{f"features.1.norm.{part}": (20,) for part in ("weight", "bias", "running_mean", "running_var")},
        "classifier.weight": (3, 80), "classifier.bias": (3,),
    },
}  # fmt: skip


def matchings() -> list[dict[str, object]]:
    cases = []
    for model, net in (("mlp", MLP), ("convnet", CONVNET)):
        for seed in range(3):
            draws = Draws(1000 + seed)
            a = {name: draws.f32(*shape) for name, shape in net["shapes"].items()}
            b = {name: draws.f32(*shape) for name, shape in net["shapes"].items()}
            rng = np.random.default_rng(seed)
            orders = [rng.permutation(len(net["sizes"])).tolist() for _ in range(100)]
            perm, passes = weight_matching(net["axes"], net["sizes"], a, b, orders)
            value = sum(float((a[name] * permuted(b, net["axes"], perm, name)).sum()) for name in a if any(net["axes"][name]))
            cases.append({"model": model, "seed": 1000 + seed, "orders": orders[:passes], "passes": passes, "value": value, "permutations": {p: columns.tolist() for p, columns in perm.items()}})
    return cases


def transport_plan(cost: np.ndarray) -> np.ndarray:
    from scipy.optimize import linprog
    from scipy.sparse import eye, kron, vstack

    n, m = cost.shape
    limits = vstack([kron(eye(n), np.ones((1, m))), kron(np.ones((1, n)), eye(m))])
    result = linprog(cost.ravel(), A_eq=limits, b_eq=np.r_[np.full(n, 1 / n), np.full(m, 1 / m)], method="highs-ds")
    return result.x.reshape(n, m)


def ot_fusion(incoming: str) -> dict[str, object]:
    """An MLP 5-6-4-3 (kept) and one 5-9-6-3 (aligned), layer by layer on weights and biases, Euclidean ground metric, averaged with ½."""
    draws = Draws(2000)
    shapes = {"a": (5, 6, 4, 3), "b": (5, 9, 6, 3)}
    nets = {
        who: [(draws.f32(m, n), draws.f32(m)) for n, m in zip(sizes, sizes[1:], strict=False)]
        for who, sizes in shapes.items()
    }
    fused, reads = [], None
    for layer, ((wa, ba), (wb, bb)) in enumerate(zip(nets["a"], nets["b"], strict=True)):
        if reads is not None:
            wb = wb @ reads
        if layer < 2:
            left, right = np.c_[wb, bb], np.c_[wa, ba]
            plan = transport_plan(np.linalg.norm(left[:, None] - right[None], axis=2))
            makes = (plan / plan.sum(0)).T
            wb, bb = makes @ wb, makes @ bb
            reads = plan / plan.sum(0) if incoming == "mean" else plan / plan.sum(1, keepdims=True)
        fused.append({"weight": ((wa + wb) / 2).tolist(), "bias": ((ba + bb) / 2).tolist()})
    return {"incoming": incoming, "seed": 2000, "layers": fused}


def zip_match(similarity: np.ndarray, models: int, target: int, alpha: float, beta: float) -> np.ndarray:
    """ZipIt's greedy matching: merge the most alike pair, within a model at a discount of the pair's row by alpha and a budget of beta."""
    size = similarity.shape[0]
    sims = similarity.copy()
    np.fill_diagonal(sims, -np.inf)
    owner = np.repeat(np.arange(models), size // models)
    budget = np.full(models, int(((size - target) // models) * beta + 1e-4))
    groups = np.eye(size)
    each = size // models
    while groups.shape[1] > target:
        flat = int(sims.argmax())
        keep, gone = sorted((flat % sims.shape[1], flat // sims.shape[1]))
        keep_owner, gone_owner = owner[keep], owner[gone]
        groups[:, keep] += groups[:, gone]
        groups = np.delete(groups, gone, axis=1)
        for turn in range(2):
            sims = sims.T if turn else sims
            sims[:, keep] = np.minimum(sims[:, keep], sims[:, gone])
            if alpha <= 0:
                for o in (keep_owner, gone_owner):
                    sims[o * each : (o + 1) * each, keep] = -np.inf
            else:
                sims[:, keep] *= alpha
            sims = np.delete(sims, gone, axis=1)
            sims = sims.T if turn else sims
        owner = np.delete(owner, gone)
        if keep_owner == gone_owner:
            budget[keep_owner] -= 1
            if budget[keep_owner] <= 0:
                own = owner == keep_owner
                sims[own[:, None] & own[None]] = -np.inf
    return groups


def zips() -> list[dict[str, object]]:
    cases = []
    for seed, (models, each, alpha, beta) in enumerate([(2, 4, 0.3, 0.125), (2, 12, 0.3, 0.5), (2, 16, 1.0, 1.0), (2, 24, 0.3, 0.125), (3, 8, 0.5, 1.0), (2, 10, 1.0, 0.25)]):
        x = Draws(3000 + seed).array(models * each, 64)
        similarity = np.corrcoef(x)
        groups = zip_match(similarity, models, each, alpha, beta)
        cases.append({"seed": 3000 + seed, "models": models, "each": each, "alpha": alpha, "beta": beta, "groups": groups.argmax(1).tolist(), "sizes": groups.sum(0).tolist()})
    return cases


def stacking() -> list[dict[str, object]]:
    """Multinomial logistic regression on log-softmax outputs of members, drawn towards their mean: minimised by SciPy."""
    from scipy.optimize import minimize

    cases = []
    for seed, (examples, classes, members, l2) in enumerate([(40, 3, 2, 0.01), (25, 4, 3, 0.1)]):
        draws = Draws(4000 + seed)
        logits = 3 * draws.f32(members, examples, classes)
        labels = np.floor((draws.array(examples) + 1) / 2 * classes).astype(int)
        log_p = logits - np.log(np.exp(logits).sum(2, keepdims=True))
        x = np.c_[np.concatenate(list(log_p), axis=1), np.ones(examples)]
        start = np.c_[np.tile(np.eye(classes) / members, members), np.zeros(classes)]

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            w = flat.reshape(start.shape)
            scores = x @ w.T
            scores -= np.log(np.exp(scores).sum(1, keepdims=True))
            error = (np.exp(scores) - np.eye(classes)[labels]) / examples
            value = -scores[np.arange(examples), labels].mean() + l2 / 2 * ((w - start) ** 2).sum()
            return value, (error.T @ x + l2 * (w - start)).ravel()

        found = minimize(objective, start.ravel(), jac=True, method="BFGS", options={"gtol": 1e-10, "maxiter": 5000})
        w = found.x.reshape(start.shape)
        cases.append({"seed": 4000 + seed, "examples": examples, "classes": classes, "members": members, "l2": l2, "weight": w[:, :-1].ravel().tolist(), "bias": w[:, -1].tolist()})
    return cases


def make() -> None:
    path = folder("reuse", "alignment")
    write_json(path / "weight-matching.json", matchings())
    write_json(path / "ot-fusion.json", [ot_fusion("mean"), ot_fusion("sum")])
    write_json(path / "zip.json", zips())
    write_json(path / "stacking.json", stacking())


MAKERS = {"reuse/alignment": make}
