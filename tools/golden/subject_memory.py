"""Subject memory, step by step in torch at double precision: what it looks for, whom it keeps it for, and what is answered with it.

Written from the formulas in packages/editing/src/methods/subject-memory.ts. Facts of one subject share a value; a fact in other words, which the
model answers alike and the memory as the earlier fact wants, takes its place.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fixture import folder, write_json, write_tensors
from memory_editing import LAYER, Watched, answer_loss

CONFIG = {"steps": 6, "lr": 0.3, "reach": 0.2, "questions": 8, "keep": 0.7, "klFactor": 0.3, "weightDecay": 0.2, "clamp": 3, "stopLoss": 0}
PREFIXES = [[9, 9, 3]]
START, ANNA, BO = 1, [20, 21], [33]
LIVES, WORKS, EATS = [40, 41], [50], [61, 62]


def fact(subject: list[int], question: list[int], target: list[int]) -> dict:
    essence = [START, *subject]
    return {
        "prompt": [*essence, *question],
        "target": target,
        "subjectEnd": len(essence) - 1,
        "start": 1,
        "essence": essence,
    }


REQUESTS = [fact(ANNA, LIVES, [7]), fact(BO, WORKS, [12, 30]), fact(ANNA, EATS, [44]), fact(ANNA, LIVES, [80])]


def more_at(places: list[int], value: Tensor):
    def change(_x: Tensor, y: Tensor) -> Tensor:
        at = torch.zeros(y.shape[0], y.shape[1], 1, dtype=torch.double)
        at[torch.arange(len(places)), places] = 1
        return y + at * value

    return change


def said_behind(watched: Watched, rows: list[list[int]], change=lambda x, y: y) -> Tensor:
    logits = watched.logits(rows, change)
    return logits[torch.arange(len(rows)), [len(row) - 1 for row in rows]]


def write(watched: Watched, book: list[dict], request: dict) -> list[float]:
    prompt, target, end, essence = request["prompt"], request["target"], request["subjectEnd"], request["essence"]
    fronts = [[], *PREFIXES]
    rows = [prompt[:1] + front + prompt[1:] + target for front in fronts]
    places = [len(front) + end for front in fronts]
    watched.logits(rows)
    # Keys are kept as f32.
    key = torch.stack([watched.x[i, p] for i, p in enumerate(places)]).mean(0).float().double()
    h = watched.y[0, end].clone()
    asked = {tuple(f["prompt"][f["subjectEnd"] + 1 :]) for entry in book for f in entry["facts"]}
    entry = next((e for e in book if float((e["key"] - key).norm()) <= e["radius"]), None)
    with torch.no_grad():
        first = lambda rows, *change: said_behind(watched, rows, *change).argmax(-1).tolist()
        earlier = []
        if entry:
            before = first([prompt])[0]
            now = first([prompt], more_at([end], entry["value"]))[0]
            for old in entry["facts"]:
                alike = first([old["prompt"]])[0] == before and old["target"][0] == now
                if old["prompt"] != prompt and not alike:
                    earlier.append(old)
        taken = set(first([f["prompt"] for f in [request, *earlier]]))
        others = [essence + list(question) for question in sorted(asked)]
        staying = [row for row in others if first([row])[0] not in taken]
        questions = [essence, *staying]
        weights = torch.tensor([CONFIG["klFactor"], *[CONFIG["keep"] / max(1, len(staying))] * len(staying)], dtype=torch.double)
        before = said_behind(watched, questions)
    facts = [(row, place, len(target)) for row, place in zip(rows, places)]
    facts += [(f["prompt"] + f["target"], f["subjectEnd"], len(f["target"])) for f in earlier]
    start = entry["value"] if entry else torch.zeros_like(h)
    value = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([value], lr=CONFIG["lr"])
    losses = []
    for step in range(CONFIG["steps"]):
        optimizer.zero_grad()
        total = sum(answer_loss(watched.logits([row], more_at([place], value)), [row], n) * n for row, place, n in facts)
        after = said_behind(watched, questions, more_at([end] * len(questions), value))
        drift = F.kl_div(after.log_softmax(-1), before.log_softmax(-1), log_target=True, reduction="none").sum(-1)
        decay = CONFIG["weightDecay"] * (value.square().sum() + 1e-12).sqrt() / h.square().sum()
        loss = total / sum(n for _, _, n in facts) + (drift * weights).sum() + decay
        losses.append(loss.item())
        if step == CONFIG["steps"] - 1:
            break
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            limit = CONFIG["clamp"] * h.norm()
            value *= limit / torch.maximum(value.norm(), limit)
    if entry is None:
        entry = {"key": key, "radius": CONFIG["reach"] * float(key.norm())}
        book.append(entry)
    entry["value"] = value.detach()
    entry["facts"] = [*earlier, request]
    return losses


def kept(book: list[dict]):
    keys, values = torch.stack([e["key"] for e in book]), torch.stack([e["value"] for e in book])
    radii = torch.tensor([e["radius"] for e in book], dtype=torch.double)

    def change(x: Tensor, y: Tensor) -> Tensor:
        least, nearest = (x[:, :, None, :] - keys).norm(dim=-1).min(-1)
        return torch.where((least <= radii[nearest])[..., None], y + values[nearest], y)

    return change


def make(kind: str) -> None:
    watched = Watched(kind)
    path = folder("editing", f"subject-{kind}")
    book: list[dict] = []
    losses = [write(watched, book, request) for request in REQUESTS]
    assert [len(e["facts"]) for e in book] == [2, 1], book
    prompts = [r["prompt"] for r in REQUESTS] + [[START, *PREFIXES[0], *BO, *EATS]]
    tensors = {f"out/{name}": torch.stack([e[name[:-1]] for e in book]) for name in ("keys", "values")}
    tensors["out/radii"] = torch.tensor([e["radius"] for e in book], dtype=torch.double)
    with torch.no_grad():
        tensors["out/logits"] = torch.cat([watched.logits([row], kept(book))[:, -1] for row in prompts])
    write_tensors(path / "golden.safetensors", tensors)
    golden = {
        "maker": "subject_memory.py",
        "model": f"packages/models/test/golden/{kind}",
        "layer": LAYER,
        "config": CONFIG,
        "prefixes": PREFIXES,
        "requests": REQUESTS,
        "prompts": prompts,
        "losses": losses,
    }
    write_json(path / "golden.json", golden)


MAKERS = {f"editing/subject-{kind}": (lambda kind=kind: make(kind)) for kind in ("llama", "gpt2")}
