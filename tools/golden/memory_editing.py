"""Edits that are kept beside layers, step by step in torch at double precision: GRACE's codebook, WISE's side memories, LoRA.

GRACE (arXiv 2211.11031) as in the authors' adaptor: one key by the prompt's last token, Adam on the value that stands in its place, balls that
widen for the same answer and are split for another. WISE (arXiv 2405.14768): SGD on the answer's loss and the margins of equation 4, token by token,
a random mask, TIES of full memories; every token takes the memory that it activates most. LoRA (arXiv 2106.09685) as in PEFT: W + (α/r)·B·A under Adam.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM

from fixture import ROOT, folder, write_json, write_tensors
from lfm_rng import Rng

LAYER = 0
VOCABULARY = 97
GRACE = {"steps": 6, "lr": 0.3, "init": "warm", "stopLoss": 0}
GRACE_EDITS = 20
GAP = 1e-5
WISE = {
    "steps": 4,
    "lr": 0.05,
    "alpha": 0.02,
    "beta": 0.6,
    "gamma": 0.3,
    "ratio": 0.4,
    "bound": 0.15,
    "actRatio": 0.8,
    "stopLoss": 0,
    "irrelevant": 0,
    "shardEdits": 2,
    "shards": 2,
    "density": 0.3,
}
WISE_PREFIXES = [[9, 9, 3]]
LORA = {"steps": 5, "lr": 0.02, "rank": 3, "alpha": 6, "stopLoss": 0}
PATCHER = {"steps": 6, "lr": 0.02, "activation": 1, "memory": 2, "beta": -1, "gamma": 1, "memories": 3, "stopLoss": 0}
SEED = 1


class Watched:
    """A model with one MLP projection that may be looked into, and whose output may be replaced."""

    def __init__(self, kind: str) -> None:
        path = ROOT / "packages/models/test/golden" / kind
        self.model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval().double().requires_grad_(False)
        if kind == "llama":
            site = self.model.model.layers[LAYER].mlp.down_proj
        else:
            site = self.model.transformer.h[LAYER].mlp.c_proj
        self.x = self.y = torch.empty(0)
        self.change = lambda x, y: y
        site.register_forward_hook(self._hook)

    def _hook(self, _module: torch.nn.Module, args: tuple, out: Tensor) -> Tensor:
        self.x, self.y = args[0], out
        return self.change(args[0], out)

    def logits(self, rows: list[list[int]], change=lambda x, y: y) -> Tensor:
        longest = max(map(len, rows))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
        self.change = change
        return self.model(tokens, attention_mask=mask).logits


def answer_loss(logits: Tensor, rows: list[list[int]], answer: int) -> Tensor:
    losses = [
        -logits[i, j - 1].log_softmax(-1)[row[j]] for i, row in enumerate(rows) for j in range(len(row) - answer, len(row))
    ]
    return torch.stack(losses).mean()


# GRACE


def grace_requests(generator: torch.Generator) -> list[dict]:
    """Prompts around a few of them, so that keys are near to each other, with few answers, so that some agree."""
    stems = torch.randint(1, VOCABULARY, (4, 5), generator=generator).tolist()
    requests = []
    for i in range(GRACE_EDITS):
        prompt = list(stems[i % len(stems)])
        # Another first token moves the last token's key a little.
        prompt[0] = int(torch.randint(1, VOCABULARY, (), generator=generator))
        target = [[61], [12, 30]][int(torch.randint(0, 3, (), generator=generator)) // 2]
        requests.append({"prompt": prompt, "subjectEnd": 1, "target": target})
    return requests


def grace(watched: Watched, requests: list[dict], epsilon: float) -> tuple[dict[str, Tensor], list[list[float]], dict]:
    keys: list[Tensor] = []
    values: list[Tensor] = []
    radii: list[float] = []
    answers: list[list[int]] = []
    counts = {"new": 0, "expanded": 0, "inside": 0, "split": 0}
    curves = []
    for request in requests:
        prompt, target = request["prompt"], request["target"]
        watched.logits([prompt])
        # Keys are kept as f32.
        query, given = watched.x[0, -1].float().double(), watched.y[0, -1].clone()
        distances = [float((k - query).norm()) for k in keys]
        nearest = min(range(len(keys)), key=distances.__getitem__) if keys else None
        if nearest is None or distances[nearest] > epsilon + radii[nearest]:
            counts["new"] += 1
            at = len(keys)
            keys.append(query), values.append(given), radii.append(epsilon), answers.append(target)
        elif answers[nearest] != target:
            counts["split"] += 1
            at = len(keys)
            keys.append(query), values.append(given), radii.append(distances[nearest] / 2), answers.append(target)
            radii[nearest] = distances[nearest] / 2 - GAP
        else:
            at = nearest
            counts["expanded" if distances[nearest] > radii[nearest] else "inside"] += 1
            radii[nearest] = max(radii[nearest], distances[nearest])
        value = values[at].clone().requires_grad_(True)
        end = len(prompt) - 1

        def stand_in(_x: Tensor, y: Tensor) -> Tensor:
            y = y.clone()
            y[:, end] = value
            return y

        optimizer = torch.optim.Adam([value], lr=GRACE["lr"])
        losses = []
        for _ in range(GRACE["steps"]):
            optimizer.zero_grad()
            loss = answer_loss(watched.logits([prompt + target], stand_in), [prompt + target], len(target))
            losses.append(loss.item())
            loss.backward()
            optimizer.step()
        values[at] = value.detach()
        curves.append(losses)
    book = {"keys": torch.stack(keys), "values": torch.stack(values), "radii": torch.tensor(radii, dtype=torch.double)}
    return book, curves, {**counts, "answers": answers}


def looked_up(book: dict[str, Tensor], ends: list[int] | None):
    """What the layer gives where the codebook answers: at every token, or at one of each row."""

    def change(x: Tensor, y: Tensor) -> Tensor:
        # As f32, in which keys and radii were taken: a ball that was widened ends at a key.
        distances = (x.float().double()[:, :, None, :] - book["keys"]).norm(dim=-1)
        least, nearest = distances.min(-1)
        within = least <= book["radii"][nearest]
        if ends is not None:
            within &= torch.arange(x.shape[1])[None] == torch.tensor(ends)[:, None]
        return torch.where(within[..., None], book["values"][nearest], y)

    return change


# WISE


def wise_requests(generator: torch.Generator) -> list[dict]:
    targets = [[61], [12, 30], [7], [44, 5], [80]]
    return [
        {"prompt": torch.randint(1, VOCABULARY, (4,), generator=generator).tolist(), "subjectEnd": 1, "target": target, "start": 1}
        for target in targets
    ]


def drawn_mask(identity: int, size: int) -> Tensor:
    rng = Rng(identity).split("mask")
    return torch.tensor([1.0 if rng.uniform() < WISE["ratio"] else 0.0 for _ in range(size)], dtype=torch.double)


def signed(seed: int) -> int:
    return seed - 2**32 if seed >= 2**31 else seed


def ties(changes: list[Tensor]) -> Tensor:
    trimmed = []
    for change in changes:
        kept = torch.zeros_like(change).view(-1)
        top = change.abs().view(-1).topk(int(WISE["density"] * change.numel())).indices
        kept[top] = change.view(-1)[top]
        trimmed.append(kept.view_as(change))
    stacked = torch.stack(trimmed)
    elected = (stacked.sum(0) >= 0).double() * 2 - 1
    agree = (stacked.sign() == elected).double()
    return (stacked * agree).sum(0) / agree.sum(0).clamp(min=1)


def over(excess: Tensor, counted: Tensor) -> Tensor:
    breaks = (excess > 0) & counted
    return (excess * breaks).sum() / breaks.sum().clamp(min=1)


def wise(watched: Watched, requests: list[dict]) -> tuple[list[dict], list[list[float]]]:
    memories: list[dict] = []
    curves = []
    for request in requests:
        prompt, target, start = request["prompt"], request["target"], request["start"]
        rows = [prompt[:start] + p + prompt[start:] + target for p in [[], *WISE_PREFIXES]]
        longest = max(map(len, rows))
        inside = torch.zeros(len(rows), longest, dtype=torch.bool)
        real = torch.zeros_like(inside)
        for i, row in enumerate(rows):
            inside[i, len(row) - len(target) - 1 : len(row) - 1] = True
            real[i, : len(row)] = True
        watched.logits(rows)
        width, out = watched.x.shape[-1], watched.y.shape[-1]
        memory = next((m for m in memories if m["stage"] == "open"), None)
        if memory is None:
            label = f"{','.join(map(str, prompt))} {','.join(map(str, target))}"
            identity = signed(Rng(SEED).split(label).split("side memory").seed)
            change = torch.zeros(width, out, dtype=torch.double)
            memory = {"id": identity, "stage": "open", "edits": 0, "threshold": float("inf"), "change": change}
            memories.append(memory)
        mask = drawn_mask(memory["id"], width * out).view(width, out)
        change = memory["change"].clone().requires_grad_(True)
        seen: dict[str, Tensor] = {}

        def side(x: Tensor, y: Tensor) -> Tensor:
            given = x @ (change * mask)
            seen["activation"] = (given.square().sum(-1) + 1e-12).sqrt()
            return y + given * inside[..., None]

        losses = []
        for _ in range(WISE["steps"]):
            change.grad = None
            loss = answer_loss(watched.logits(rows, side), rows, len(target))
            activation, outside = seen["activation"], real & ~inside
            apart = activation[inside].mean() - activation[outside].mean()
            loss = loss + over(activation - WISE["alpha"], outside) + over(WISE["beta"] - activation, inside)
            loss = loss + torch.relu(WISE["gamma"] - apart)
            losses.append(loss.item())
            loss.backward()
            with torch.no_grad():
                change -= WISE["lr"] * change.grad
                change.clamp_(-WISE["bound"], WISE["bound"])
        watched.logits(rows)
        least = (watched.x @ change.detach()).norm(dim=-1)[inside].min().item()
        memory["change"] = change.detach()
        memory["edits"] += 1
        memory["threshold"] = min(memory["threshold"], WISE["actRatio"] * least)
        if memory["edits"] == WISE["shardEdits"]:
            memory["stage"] = "full"
        full = [m for m in memories if m["stage"] == "full"]
        if len(full) == WISE["shards"]:
            merged = {
                "id": signed(Rng(full[0]["id"]).split("merged").seed),
                "stage": "merged",
                "edits": sum(m["edits"] for m in full),
                "threshold": min(m["threshold"] for m in full),
                "change": ties([m["change"] for m in full]),
            }
            memories = [m for m in memories if m["stage"] != "full"] + [merged]
        curves.append(losses)
    return memories, curves


def routed(memories: list[dict]):
    changes = torch.stack([m["change"] for m in memories])
    thresholds = torch.tensor([m["threshold"] for m in memories], dtype=torch.double)

    def change(x: Tensor, y: Tensor) -> Tensor:
        given = torch.einsum("bsi,mio->bsmo", x, changes)
        activation = given.norm(dim=-1)
        scores = torch.where(activation > thresholds, activation, -1.0)
        best, taken = scores.max(-1)
        chosen = given.gather(2, taken[..., None, None].expand(*taken.shape, 1, given.shape[-1])).squeeze(2)
        return y + torch.where((best > 0)[..., None], chosen, 0.0)

    return change


# T-Patcher


def patcher(watched: Watched, kind: str, request: dict, texts: list[list[int]]) -> tuple[dict[str, Tensor], list[float]]:
    layers = watched.model.model.layers if kind == "llama" else watched.model.transformer.h
    mlp = layers[-1].mlp
    seen: dict[str, Tensor] = {}
    record = mlp.register_forward_hook(lambda _m, args, _y: seen.update(x=args[0]))
    prompt, target = request["prompt"], request["target"]
    row, end, n = prompt + target, len(prompt) - 1, len(target)
    watched.logits([row])
    q = seen["x"][0, end : end + n]
    elsewhere = [seen["x"][0, :end]]
    for text in texts:
        watched.logits([text])
        elsewhere.append(seen["x"][0, -1:])
    memories = torch.cat(elsewhere)
    record.remove()
    k = (q / q.square().sum(-1, keepdim=True)).requires_grad_(True)
    b = torch.zeros(n, dtype=torch.double, requires_grad=True)
    v = torch.zeros(n, q.shape[-1], dtype=torch.double, requires_grad=True)
    handle = mlp.register_forward_hook(lambda _m, args, y: y + torch.relu(args[0] @ k.T + b) @ v)
    optimizer = torch.optim.Adam([k, b, v], lr=PATCHER["lr"])
    losses = []
    for _ in range(PATCHER["steps"]):
        optimizer.zero_grad()
        loss = answer_loss(watched.logits([row]), [row], n)
        active, silent = (q * k).sum(-1) + b, memories @ k.T + b
        loss = loss + PATCHER["activation"] * (-active).exp().mean()
        apart = (silent - PATCHER["beta"]).exp().mean() + (silent - active + PATCHER["gamma"]).exp().mean()
        loss = loss + PATCHER["memory"] * apart
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    handle.remove()
    return {"patcher/out/keys": k.detach(), "patcher/out/biases": b.detach(), "patcher/out/values": v.detach()}, losses


# LoRA


def lora_sites(watched: Watched, kind: str) -> dict[str, torch.nn.Module]:
    """What holds queries and values: GPT-2 has them in one."""
    names = ("q_proj", "v_proj") if kind == "llama" else ("attn.c_attn",)
    return {n: m for n, m in watched.model.named_modules() if n.endswith(names)}


def lora(watched: Watched, kind: str, requests: list[dict]) -> tuple[dict[str, Tensor], list[float]]:
    rank, scale = LORA["rank"], LORA["alpha"] / LORA["rank"]
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    handles = []
    for name, module in lora_sites(watched, kind).items():
        # torch's Linear lies out by in, GPT-2's Conv1D in by out.
        out, width = module.weight.shape if kind == "llama" else reversed(module.weight.shape)
        rng = Rng(SEED).split("factors").split(name)
        bound = 1 / width**0.5
        first = [-bound + 2 * bound * rng.uniform() for _ in range(rank * width)]
        a = torch.tensor(first, dtype=torch.float32).double().view(rank, width).requires_grad_(True)
        b = torch.zeros(rank, out, dtype=torch.double, requires_grad=True)
        factors[name] = (a, b)
        handles.append(module.register_forward_hook(lambda _m, args, y, a=a, b=b: y + scale * (args[0] @ a.T) @ b))
    optimizer = torch.optim.Adam([t for pair in factors.values() for t in pair], lr=LORA["lr"])
    losses = []
    for _ in range(LORA["steps"]):
        optimizer.zero_grad()
        parts = [(r["prompt"] + r["target"], len(r["target"])) for r in requests]
        total = sum(answer_loss(watched.logits([row]), [row], answer) * answer for row, answer in parts)
        loss = total / sum(answer for _, answer in parts)
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    for handle in handles:
        handle.remove()
    tensors = {}
    for name, (a, b) in factors.items():
        tensors[f"lora/out/{name}.edit.keys"] = a.detach()
        tensors[f"lora/out/{name}.edit.values"] = scale * b.detach()
    return tensors, losses


def make(kind: str) -> None:
    watched = Watched(kind)
    path = folder("editing", f"memory-{kind}")
    tensors: dict[str, Tensor] = {}

    requests = grace_requests(torch.Generator().manual_seed(3))
    keys = []
    for request in requests:
        watched.logits([request["prompt"]])
        keys.append(watched.x[0, -1])
    distances = torch.cdist(torch.stack(keys), torch.stack(keys)) + 1e9 * torch.eye(len(keys))
    epsilon = round(float(distances.min(-1).values.median()), 3)
    book, grace_curves, counts = grace(watched, requests, epsilon)
    assert min(counts[k] for k in ("new", "expanded", "split")) >= 2, counts
    prompts = [r["prompt"] for r in requests]
    ends = [len(p) - 1 for p in prompts]
    with torch.no_grad():
        tensors["grace/out/logits"] = watched.logits(prompts, looked_up(book, ends))[:, -1]
        tensors["grace/out/every"] = watched.logits(prompts, looked_up(book, None))[:, -1]
    for name, t in book.items():
        tensors[f"grace/out/{name}"] = t

    wise_facts = wise_requests(torch.Generator().manual_seed(5))
    memories, wise_curves = wise(watched, wise_facts)
    tensors["wise/out/changes"] = torch.stack([m["change"] for m in memories])
    tensors["wise/out/thresholds"] = torch.tensor([m["threshold"] for m in memories], dtype=torch.double)
    asked = [r["prompt"] + r["target"] for r in wise_facts] + prompts[:3]
    with torch.no_grad():
        tensors["wise/out/logits"] = torch.cat([watched.logits([row], routed(memories))[0] for row in asked])

    lora_tensors, lora_losses = lora(watched, kind, wise_facts)
    tensors |= lora_tensors
    texts = [p[:4] for p in prompts[:3]]
    patcher_tensors, patcher_losses = patcher(watched, kind, wise_facts[1], texts)
    tensors |= patcher_tensors

    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "memory_editing.py",
            "model": f"packages/models/test/golden/{kind}",
            "seed": SEED,
            "layer": LAYER,
            "grace": {
                "config": {**GRACE, "epsilon": epsilon},
                "requests": requests,
                "counts": counts,
                "losses": grace_curves,
            },
            "wise": {
                "config": WISE,
                "requests": wise_facts,
                "prefixes": WISE_PREFIXES,
                "memories": [{k: m[k] for k in ("id", "stage", "edits")} for m in memories],
                "asked": asked,
                "losses": wise_curves,
            },
            "lora": {"config": LORA, "losses": lora_losses},
            "patcher": {"config": PATCHER, "request": wise_facts[1], "texts": texts, "losses": patcher_losses},
        },
    )


MAKERS = {f"editing/memory-{kind}": (lambda kind=kind: make(kind)) for kind in ("llama", "gpt2")}
