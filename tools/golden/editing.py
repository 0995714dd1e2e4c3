"""One edit of the small llama and gpt2 fixtures by ROME, R-ROME and FT-L, step by step in torch.

ROME follows arXiv 2202.05262 (equations 2 and 4); the order of evaluation, stop, update and clamp is that of the authors' program, and so is
the key of the prompt alone in the denominator. R-ROME (arXiv 2403.07175) has the averaged key there too. FT-L is Adam on the answer's loss with every weight put back into its box after a step.
"""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM

from fixture import ROOT, folder, write_json, write_tensors

PROMPT = [5, 11, 23, 7, 40]
SUBJECT_END = 2
TARGET = [61, 12]
START = 1  # tokens before a prefix
PREFIXES = [[9, 9, 3], [14, 2]]
ESSENCE = [5, 23]
LAYER = 0
CORPUS_ROWS, CORPUS_LENGTH = 24, 10
ROME = {"steps": 8, "lr": 0.3, "klFactor": 0.25, "weightDecay": 0.5, "clamp": 1.5, "ridge": 1e-2}
FT = {"steps": 5, "lr": 2e-3, "epsilon": 5e-3}


def projection(model: torch.nn.Module, kind: str) -> torch.nn.Module:
    return model.model.layers[LAYER].mlp.down_proj if kind == "llama" else model.transformer.h[LAYER].mlp.c_proj


def pad(rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return tokens, mask


def answer_loss(logits: torch.Tensor, rows: list[list[int]]) -> torch.Tensor:
    losses = []
    for i, row in enumerate(rows):
        logp = logits[i].log_softmax(-1)
        for j in range(len(row) - len(TARGET), len(row)):
            losses.append(-logp[j - 1, row[j]])
    return torch.stack(losses).mean()


def rome(model: torch.nn.Module, kind: str, generator: torch.Generator) -> tuple[dict[str, torch.Tensor], list[float]]:
    site = projection(model, kind)
    seen: dict[str, torch.Tensor] = {}
    record = site.register_forward_hook(lambda _m, args, out: seen.update(x=args[0], y=out))

    lengths = torch.randint(3, CORPUS_LENGTH + 1, (CORPUS_ROWS,), generator=generator)
    corpus = torch.randint(1, 97, (CORPUS_ROWS, CORPUS_LENGTH), generator=generator)
    corpus_mask = (torch.arange(CORPUS_LENGTH) < lengths[:, None]).long()
    corpus = corpus * corpus_mask
    with torch.no_grad():
        model(corpus, attention_mask=corpus_mask)
    keys = seen["x"][corpus_mask.bool()].double()
    covariance = keys.T @ keys / len(keys)

    prompts = [PROMPT[:START] + p + PROMPT[START:] + TARGET for p in [[], *PREFIXES]]
    subjects = [SUBJECT_END + len(p) for p in [[], *PREFIXES]] + [len(ESSENCE) - 1]
    tokens, mask = pad([*prompts, ESSENCE])
    rows = torch.arange(len(subjects))
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask).logits
    before = logits[-1, subjects[-1]].log_softmax(-1)
    keys, values = (seen[side][rows, subjects][:-1].double() for side in ("x", "y"))
    k = keys.mean(0)
    v0 = seen["y"][0, subjects[0]].clone()
    record.remove()

    delta = torch.zeros_like(v0, requires_grad=True)

    def shift(_m: torch.nn.Module, _args: tuple, out: torch.Tensor) -> torch.Tensor:
        out = out.clone()
        out[rows, subjects] += delta
        return out

    handle = site.register_forward_hook(shift)
    optimizer = torch.optim.Adam([delta], lr=ROME["lr"])
    losses = []
    for step in range(ROME["steps"]):
        optimizer.zero_grad()
        logits = model(tokens, attention_mask=mask).logits
        after = logits[-1, subjects[-1]].log_softmax(-1)
        kl = (after.exp() * (after - before)).sum()
        loss = answer_loss(logits, prompts) + ROME["klFactor"] * kl + ROME["weightDecay"] * delta.norm() / v0.norm() ** 2
        losses.append(loss.item())
        if step == ROME["steps"] - 1:
            break
        loss.backward()
        optimizer.step()
        limit = ROME["clamp"] * v0.norm()
        if delta.norm() > limit:
            with torch.no_grad():
                delta[...] = delta * limit / delta.norm()
    handle.remove()

    lifted = covariance + ROME["ridge"] * covariance.diagonal().mean() * torch.eye(len(k), dtype=torch.double)
    u = torch.linalg.solve(lifted, k)
    weight = site.weight.detach().double()
    out = {}
    for method, at, now in (("rome", keys[0], values[0]), ("r-rome", k, values.mean(0))):
        change = torch.outer(v0.double() + delta.detach().double() - now, u / (u @ at))
        edited = weight + (change if kind == "llama" else change.T)
        with torch.no_grad():
            old = site.weight.clone()
            site.weight.copy_(edited)
            out[f"{method}/out/logits"] = model(torch.tensor([PROMPT])).logits
            site.weight.copy_(old)
        out[f"{method}/out/weight"] = edited
    return {
        "rome/in/corpus": corpus,
        "rome/in/corpus_mask": corpus_mask,
        "rome/out/covariance": covariance,
        "rome/out/key": k,
        **out,
    }, losses


def ft_l(model: torch.nn.Module, kind: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    weight = projection(model, kind).weight
    origin = weight.detach().clone()
    for p in model.parameters():
        p.requires_grad_(p is weight)
    row = PROMPT + TARGET
    optimizer = torch.optim.Adam([weight], lr=FT["lr"])
    losses = []
    for _ in range(FT["steps"]):
        optimizer.zero_grad()
        loss = answer_loss(model(torch.tensor([row])).logits, [row])
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            weight.copy_(torch.clamp(weight, origin - FT["epsilon"], origin + FT["epsilon"]))
    tensors = {"ft-l/out/weight": weight.detach().clone()}
    with torch.no_grad():
        weight.copy_(origin)
    return tensors, losses


def make(kind: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(ROOT / "packages/models/test/golden" / kind, dtype=torch.float32).eval()
    rome_tensors, rome_losses = rome(model, kind, torch.Generator().manual_seed(7))
    ft_tensors, ft_losses = ft_l(model, kind)
    path = folder("editing", kind)
    write_tensors(path / "golden.safetensors", {**rome_tensors, **ft_tensors})
    write_json(
        path / "golden.json",
        {
            "maker": "editing.py",
            "model": f"packages/models/test/golden/{kind}",
            "layer": LAYER,
            "request": {"prompt": PROMPT, "subjectEnd": SUBJECT_END, "target": TARGET, "start": START, "essence": ESSENCE},
            "prefixes": PREFIXES,
            "rome": {"config": ROME, "losses": rome_losses},
            "ft-l": {"config": FT, "losses": ft_losses},
        },
    )


MAKERS = {f"editing/{kind}": (lambda kind=kind: make(kind)) for kind in ("llama", "gpt2")}
