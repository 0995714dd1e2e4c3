"""Mathematics on the host: NumPy's singular values and eigenvalues, SciPy's assignment and transport, what pycma needs of evaluations."""

from __future__ import annotations

import numpy as np
from fixture import Draws, folder, write_json


def assignments() -> list[dict[str, object]]:
    from scipy.optimize import linear_sum_assignment

    cases = []
    for seed, (rows, columns) in enumerate([(1, 1), (2, 3), (5, 5), (8, 20), (16, 16), (33, 40), (64, 64), (100, 100), (128, 256), (200, 200), (256, 256)]):
        for maximize in (False, True):
            scores = Draws(seed).array(rows, columns)
            _, chosen = linear_sum_assignment(scores, maximize=maximize)
            value = float(scores[np.arange(rows), chosen].sum())
            cases.append({"seed": seed, "rows": rows, "columns": columns, "maximize": maximize, "value": value, "chosen": chosen.tolist()})
    return cases


def earth_movers() -> list[dict[str, object]]:
    """The linear program of optimal transport between uniform masses."""
    from scipy.optimize import linprog
    from scipy.sparse import eye, kron, vstack

    cases = []
    for seed, (n, m) in enumerate([(1, 4), (3, 2), (4, 4), (6, 9), (7, 10), (12, 5), (16, 32), (30, 20), (40, 40), (37, 53)]):
        cost = Draws(100 + seed).array(n, m) + 1
        rows = kron(eye(n), np.ones((1, m)))
        columns = kron(np.ones((1, n)), eye(m))
        result = linprog(cost.ravel(), A_eq=vstack([rows, columns]), b_eq=np.r_[np.full(n, 1 / n), np.full(m, 1 / m)], method="highs")
        cases.append({"seed": 100 + seed, "sources": n, "sinks": m, "value": float(result.fun)})
    return cases


def singular_values() -> list[dict[str, object]]:
    falling = Draws(1).array(30, 14) @ np.diag(10.0 ** -np.arange(14)) @ Draws(2).array(14, 20)
    matrices = {
        "square": (Draws(3).array(16, 16), 5),
        "wide": (Draws(4).array(6, 25), 3),
        "tall": (Draws(5).array(25, 6), 3),
        "of rank two": (Draws(6).array(9, 2) @ Draws(7).array(2, 11), 2),
        "falling": (falling, 4),
        "equal values": (np.eye(5, 8), 3),
        "zero": (np.zeros((3, 4)), 1),
    }
    cases = []
    for name, (matrix, rank) in matrices.items():
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        case = {"name": name, "rows": matrix.shape[0], "columns": matrix.shape[1], "rank": rank, "matrix": matrix.ravel().tolist(), "values": s.tolist()}
        if name != "equal values":  # there any three will do
            case["best"] = ((u[:, :rank] * s[:rank]) @ vt[:rank]).ravel().tolist()
        cases.append(case)
    return cases


def eigenvalues() -> list[dict[str, object]]:
    """NumPy's eigh of symmetric matrices; of those whose values lie apart, the projection onto the largest ones as well."""
    square = Draws(11).array(12, 12)
    basis, _ = np.linalg.qr(Draws(12).array(10, 10))
    matrices = {
        "one": np.array([[3.0]]),
        "indefinite": square + square.T,
        "Gram": (lambda x: x.T @ x)(Draws(13).array(40, 15)),
        "of rank three": (lambda x: x.T @ x)(Draws(14).array(3, 9)),
        "falling": (basis * 10.0 ** -np.arange(10)) @ basis.T,
        "equal values": (basis * np.repeat([2.0, 1.0], 5)) @ basis.T,
        "diagonal": np.diag([1.0, -4.0, 2.5, 0.0]),
        "tridiagonal": np.diag(np.full(20, 2.0)) + np.diag(np.full(19, -1.0), 1) + np.diag(np.full(19, -1.0), -1),
    }
    cases = []
    for name, matrix in matrices.items():
        matrix = (matrix + matrix.T) / 2
        values, vectors = np.linalg.eigh(matrix)
        top = 3 if name == "of rank three" else (len(values) + 1) // 2
        largest = vectors[:, -top:]
        cases.append({"name": name, "n": len(values), "top": top, "matrix": matrix.ravel().tolist(), "values": values[::-1].tolist(), "projection": (largest @ largest.T).ravel().tolist()})
    return cases


FUNCTIONS = {
    "sphere": lambda x: float(np.sum((x - 1) ** 2)),
    "ellipsoid": lambda x: float(np.sum(10.0 ** (6 * np.arange(len(x)) / (len(x) - 1)) * x**2)),
    "rosenbrock": lambda x: float(np.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)),
}


def evaluations() -> list[dict[str, object]]:
    """How many evaluations pycma, as it comes, needs to get below 1e-9; median of 21 seeds."""
    import cma

    cases = []
    for name, f in FUNCTIONS.items():
        for n in (4, 8):
            start, sigma = ([0.0] * n, 0.3) if name == "rosenbrock" else ([0.5] * n, 0.5)
            counts = []
            for seed in range(1, 22):
                es = cma.CMAEvolutionStrategy(start, sigma, {"seed": seed, "verbose": -9, "ftarget": 1e-9})
                while es.best.f >= 1e-9 and es.countevals < 20000:
                    points = es.ask()
                    es.tell(points, [f(np.asarray(x)) for x in points])
                counts.append(es.countevals)
            cases.append({"function": name, "n": n, "start": start, "sigma": sigma, "evaluations": float(np.median(counts))})
    return cases


def make() -> None:
    path = folder("core", "linalg")
    write_json(path / "assignment.json", assignments())
    write_json(path / "transport.json", earth_movers())
    write_json(path / "svd.json", singular_values())
    write_json(path / "eigen.json", eigenvalues())
    write_json(path / "cma-es.json", evaluations())


MAKERS = {"core/linalg": make}
