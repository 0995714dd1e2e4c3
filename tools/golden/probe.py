"""Differential privacy of training as Opacus' RDPAccountant counts it, with its default orders."""

from __future__ import annotations

from fixture import folder, write_json


def spent() -> list[dict[str, float]]:
    from opacus.accountants import RDPAccountant

    cases = []
    settings = [(0.01, 1.1, 1000, 1e-5), (0.004, 0.8, 5000, 1e-6), (0.1, 2.0, 200, 1e-5), (0.05, 0.6, 100, 1e-4), (1.0, 4.0, 30, 1e-5), (0.25, 1.0, 10, 1e-5), (0.001, 5.0, 20000, 1e-6)]
    for sample_rate, noise_multiplier, steps, delta in settings:
        accountant = RDPAccountant()
        accountant.history = [(noise_multiplier, sample_rate, steps)]
        epsilon, order = accountant.get_privacy_spent(delta=delta)
        cases.append({"sampleRate": sample_rate, "noiseMultiplier": noise_multiplier, "steps": steps, "delta": delta, "epsilon": epsilon, "order": order})
    return cases


def make() -> None:
    write_json(folder("probe", "accountant") / "opacus.json", spent())


MAKERS = {"probe/accountant": make}
