"""MEND's update, causal traces and the logit lens on the small llama and gpt2 fixtures, written in torch from the papers' formulas, in float64.

MEND (arXiv 2110.11309): equations 3a and 3b with the biases and the running statistics of the authors' program, row by row; the update is taken
off. Causal tracing: arXiv 2202.05262, section 2.1.
"""

from __future__ import annotations

import torch
from torch.nn import functional as F
from transformers import AutoModelForCausalLM

from fixture import ROOT, folder, write_json, write_tensors

PROMPT = [5, 11, 23, 7, 40]
TARGET = [61, 12]
CASE = {
    "request": {"prompt": PROMPT, "subjectEnd": 2, "target": TARGET},
    "paraphrase": {"prompt": [8, 11, 23, 9], "target": TARGET},
    "unrelated": [[5, 14, 2, 7, 33], [71, 3]],
}
RANK = 4
EDIT_FACTOR = 0.1
RATE = 0.02
SUBJECT = (1, 3)
SAMPLES = 3
# So much that restoring shows.
NOISE = 1.5


def load(kind: str) -> torch.nn.Module:
    return AutoModelForCausalLM.from_pretrained(ROOT / "packages/models/test/golden" / kind, dtype=torch.float64).eval()


def blocks(model: torch.nn.Module, kind: str) -> list[torch.nn.Module]:
    return list(model.model.layers if kind == "llama" else model.transformer.h)


def projections(model: torch.nn.Module, kind: str) -> dict[str, torch.nn.Module]:
    names = ["gate_proj", "up_proj", "down_proj"] if kind == "llama" else ["c_fc", "c_proj"]
    prefix = "model.layers" if kind == "llama" else "transformer.h"
    return {f"{prefix}.{i}.mlp.{n}": getattr(b.mlp, n) for i, b in enumerate(blocks(model, kind)) for n in names}


def shape(module: torch.nn.Module, kind: str) -> tuple[int, int]:
    """Inputs and outputs: Conv1D of GPT-2 holds its weight the other way round."""
    a, b = module.weight.shape
    return (b, a) if kind == "llama" else (a, b)


def nll(logits: torch.Tensor, row: list[int], answer: int) -> torch.Tensor:
    logp = logits.log_softmax(-1)
    return -torch.stack([logp[j - 1, row[j]] for j in range(len(row) - answer, len(row))]).mean()


class Editor:
    """Weights and running sums by the names of the file, and what they make of a gradient."""

    def __init__(self, modules: dict[str, torch.nn.Module], kind: str, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        normal = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)
        self.kind = kind
        self.groups: dict[str, list[str]] = {}
        for name, module in modules.items():
            self.groups.setdefault("x".join(map(str, shape(module, kind))), []).append(name)
        self.order = list(modules)
        self.tensors = {"editor.rates": RATE * (1 + 0.2 * normal(len(modules)))}
        for group, names in self.groups.items():
            d = sum(map(int, group.split("x")))
            for layer in range(2):
                own = f"editor.{group}.{layer}"
                self.tensors |= {
                    f"{own}.u": 0.3 * normal(d, RANK),
                    f"{own}.v": 0.3 * normal(RANK, d),
                    f"{own}.bias": 0.3 * normal(d),
                    f"{own}.scale": 1 + 0.3 * normal(len(names), d),
                    f"{own}.shift": 0.3 * normal(len(names), d),
                }
            self.tensors |= {
                f"editor.{group}.mean": 0.1 * normal(d),
                f"editor.{group}.squares": 9 * (0.5 + normal(d) ** 2),
                f"editor.{group}.count": torch.tensor(10.0, dtype=torch.float64),
            }
        # What the file holds is f32.
        self.tensors = {k: v.float().double() for k, v in self.tensors.items()}

    def identity(self, modules: dict[str, torch.nn.Module]) -> None:
        """As before any training."""
        for name, t in self.tensors.items():
            part = name.split(".")[-1]
            self.tensors[name] = {"rates": torch.full_like(t, RATE), "scale": torch.ones_like(t)}.get(part, torch.zeros_like(t))

    def see(self, group: str, z: torch.Tensor) -> None:
        own = f"editor.{group}."
        mean, squares, count = (self.tensors[own + k] for k in ("mean", "squares", "count"))
        for row in z:
            count = count + 1
            moved = mean + (row - mean) / count
            squares = squares + (row - mean) * (row - moved)
            mean = moved
        self.tensors |= {own + "mean": mean, own + "squares": squares, own + "count": count}

    def updates(self, factors: dict[str, tuple[torch.Tensor, torch.Tensor]], training: bool) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
        """ũ and α·δ̃ of every row, to be taken off as δ̃ũᵀ."""
        found = {}
        for group, names in self.groups.items():
            own = f"editor.{group}."
            for mode, name in enumerate(names):
                u, delta = factors[name]
                kept = (u != 0).any(-1) & (delta != 0).any(-1)
                z = torch.cat([u[kept], delta[kept]], -1)
                if training:
                    self.see(group, z)
                deviation = (self.tensors[own + "squares"] / (self.tensors[own + "count"] - 1)).sqrt()
                h = (z - self.tensors[own + "mean"]) / (deviation + 1e-7)
                for layer in range(2):
                    u_, v_, bias, scale, shift = (self.tensors[f"{own}{layer}.{k}"] for k in ("u", "v", "bias", "scale", "shift"))
                    h = h + ((h @ v_.T @ u_.T + bias) * scale[mode] + shift[mode]).clamp(min=0)
                width = u.shape[-1]
                found[name] = (h[:, :width], self.tensors["editor.rates"][self.order.index(name)] * h[:, width:])
        return found


def gradient_factors(model: torch.nn.Module, modules: dict[str, torch.nn.Module], row: list[int], answer: int) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    seen: dict[str, list[torch.Tensor]] = {}
    handles = [m.register_forward_hook(lambda _m, args, out, name=name: seen.update({name: [args[0], out]})) for name, m in modules.items()]
    loss = nll(model(torch.tensor([row])).logits[0], row, answer)
    for handle in handles:
        handle.remove()
    deltas = torch.autograd.grad(loss, [out for _, out in seen.values()])
    return {name: (x[0].detach(), delta[0]) for (name, (x, _)), delta in zip(seen.items(), deltas)}


def change(keys: torch.Tensor, values: torch.Tensor, kind: str) -> torch.Tensor:
    return -(values.T @ keys if kind == "llama" else keys.T @ values)


def mend(kind: str) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    model = load(kind)
    modules = projections(model, kind)
    row = PROMPT + TARGET
    factors = gradient_factors(model, modules, row, len(TARGET))
    editor = Editor(modules, kind, seed=5)
    tensors = {f"mend/in/{k}": v for k, v in editor.tensors.items()}
    for name, (keys, values) in editor.updates(factors, training=False).items():
        tensors[f"mend/out/{name}.weight"] = change(keys, values, kind)
    editor.updates(factors, training=True)
    tensors |= {f"mend/seen/{k}": v for k, v in editor.tensors.items() if k.split(".")[-1] in ("mean", "squares", "count")}

    # The loss of the first step of training, from the identity.
    editor.identity(modules)
    updates = editor.updates(factors, training=True)
    unrelated = [torch.tensor([r]) for r in CASE["unrelated"]]
    with torch.no_grad():
        before = [model(r).logits[0] for r in unrelated]
        for name, module in modules.items():
            module.weight += change(*updates[name], kind)
        wordings = [row, CASE["paraphrase"]["prompt"] + TARGET]
        answer = torch.stack([nll(model(torch.tensor([r])).logits[0], r, len(TARGET)) for r in wordings]).mean()
        drifts = [F.kl_div(model(r).logits[0].log_softmax(-1), b.log_softmax(-1), log_target=True, reduction="none").sum(-1) for r, b in zip(unrelated, before)]
    drift = torch.cat(drifts).mean()
    return tensors, {"loss": (EDIT_FACTOR * answer + drift).item(), "answer": answer.item(), "drift": drift.item()}


def trace(kind: str) -> tuple[dict[str, torch.Tensor], dict[str, object]]:
    model = load(kind)
    tokens = torch.tensor([PROMPT])
    first, end = SUBJECT
    noise = (NOISE * torch.randn(SAMPLES, end - first, model.config.hidden_size, generator=torch.Generator().manual_seed(3))).double()
    embedding = model.get_input_embeddings()
    layers = blocks(model, kind)
    places = {
        "state": layers,
        "mlp": [b.mlp for b in layers],
        "attention": [b.self_attn if kind == "llama" else b.attn for b in layers],
    }
    first_of = lambda out: out[0] if isinstance(out, tuple) else out

    clean: dict[str, torch.Tensor] = {}
    handles = [
        m.register_forward_hook(lambda _m, _a, out, key=f"{what}.{i}": clean.update({key: first_of(out)[0]}))
        for what, modules in places.items()
        for i, m in enumerate(modules)
    ]
    with torch.no_grad():
        logits = model(tokens).logits[0, -1]
    for handle in handles:
        handle.remove()
    answer = int(logits.argmax())

    def corrupted(what: str, restored: list[int], token: int) -> float:
        def add_noise(_m: torch.nn.Module, _a: tuple, out: torch.Tensor) -> torch.Tensor:
            out = out.clone()
            out[:, first:end] += noise
            return out

        def restore(layer: int):
            def hook(_m: torch.nn.Module, _a: tuple, out: object) -> object:
                hidden = first_of(out).clone()
                hidden[:, token] = clean[f"{what}.{layer}"][token]
                return (hidden, *out[1:]) if isinstance(out, tuple) else hidden

            return hook

        hooks = [embedding.register_forward_hook(add_noise)]
        hooks += [places[what][layer].register_forward_hook(restore(layer)) for layer in restored]
        with torch.no_grad():
            p = model(tokens.expand(SAMPLES, -1)).logits[:, -1].softmax(-1)[:, answer].mean().item()
        for hook in hooks:
            hook.remove()
        return p

    count = len(layers)
    window = 2
    around = lambda layer: [i for i in range(layer - window // 2, layer - window // 2 + window) if 0 <= i < count]
    grid = lambda what, restored: [[corrupted(what, restored(layer), token) for layer in range(count)] for token in range(len(PROMPT))]
    found = {
        "answer": answer,
        "clean": logits.softmax(-1)[answer].item(),
        "corrupted": corrupted("state", [], 0),
        "window": window,
        "state": grid("state", lambda layer: [layer]),
        "mlp": grid("mlp", around),
        "attention": grid("attention", around),
    }

    with torch.no_grad():
        hidden = list(model(tokens, output_hidden_states=True).hidden_states)
        norm = model.model.norm if kind == "llama" else model.transformer.ln_f
        # The last one comes normed.
        lens = torch.stack([model.lm_head(h if i == count else norm(h))[0] for i, h in enumerate(hidden)])
    return {"trace/in/noise": noise, "lens/out/logits": lens}, found


def make(kind: str) -> None:
    mend_tensors, losses = mend(kind)
    trace_tensors, traced = trace(kind)
    path = folder("editing", f"learned-{kind}")
    write_tensors(path / "golden.safetensors", {**mend_tensors, **trace_tensors})
    write_json(
        path / "golden.json",
        {
            "maker": "learned_editing.py",
            "model": f"packages/models/test/golden/{kind}",
            "case": CASE,
            "mend": {"rate": RATE, "editFactor": EDIT_FACTOR, **losses},
            "trace": {"prompt": PROMPT, "subject": SUBJECT, **traced},
        },
    )


MAKERS = {f"editing/learned-{kind}": (lambda kind=kind: make(kind)) for kind in ("llama", "gpt2")}
