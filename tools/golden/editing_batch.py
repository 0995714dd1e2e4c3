"""Edits of the small llama and gpt2 fixtures by methods that write batches or several layers, from the papers' formulas, in torch.

MEMIT (arXiv 2210.07229), PMET (2308.08742), EMMET (2403.14236), AlphaEdit (2410.02355; two edits in turn), FT and FT-M, knowledge neurons
(2104.08696). `editing/equations` holds the updates alone, in f64, given keys, residuals and C.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from transformers import AutoModelForCausalLM

from editing import CORPUS_LENGTH, CORPUS_ROWS, pad
from fixture import ROOT, folder, write_json, write_tensors

REQUESTS = [
    {"prompt": [5, 11, 23], "subjectEnd": 2, "target": [61, 12], "start": 1, "essence": [5, 23]},
    {"prompt": [5, 60, 7, 33], "subjectEnd": 3, "target": [80], "start": 1, "essence": [5, 33]},
    {"prompt": [5, 19, 54], "subjectEnd": 2, "target": [3, 70, 14], "start": 1, "essence": [5, 54]},
]  # subjects stand last: behind the last block of a model of two nothing else would reach the answer
PREFIXES = [[9, 9, 3], [14, 2]]
LAYERS = [0, 1]
VALUE = {"steps": 6, "lr": 0.3, "klFactor": 0.25, "weightDecay": 0.5, "clamp": 0.6}
MEMIT = {**VALUE, "lambda": 3.0, "ridge": 1e-2}
PMET = {**VALUE, "lambda": 3.0, "ridge": 1e-2}
EMMET = {**VALUE, "layer": 0, "lambda": 0.0, "ridge": 1e-2}
ALPHA = {**VALUE, "nullShare": 0.2, "l2": 0.5}
FT = {"layer": 0, "steps": 5, "lr": 2e-3}
KN = {"steps": 8, "threshold": 0.3, "shared": 0.4, "erase": 1.0, "write": 2.0}

Modules = list[torch.nn.Module]


def blocks(model: torch.nn.Module, kind: str) -> Modules:
    return list(model.model.layers if kind == "llama" else model.transformer.h)


def mlp_out(block: torch.nn.Module, kind: str) -> torch.nn.Module:
    return block.mlp.down_proj if kind == "llama" else block.mlp.c_proj


def attention_out(block: torch.nn.Module, kind: str) -> torch.nn.Module:
    return block.self_attn.o_proj if kind == "llama" else block.attn.c_proj


def as_out_in(weight: torch.Tensor, kind: str) -> torch.Tensor:
    """The weight of a projection as f32[out, in], over the same memory."""
    return weight if kind == "llama" else weight.T


@contextmanager
def recorded(modules: Modules) -> Iterator[list[dict[str, torch.Tensor]]]:
    seen: list[dict[str, torch.Tensor]] = [{} for _ in modules]

    def keep(at: int) -> Callable:
        def hook(_m: torch.nn.Module, args: tuple, out: torch.Tensor | tuple) -> None:
            seen[at].update(x=args[0], y=out[0] if isinstance(out, tuple) else out)

        return hook

    handles = [m.register_forward_hook(keep(i)) for i, m in enumerate(modules)]
    yield seen
    for h in handles:
        h.remove()


def rows_of(request: dict) -> tuple[list[list[int]], list[int]]:
    start, prompt = request["start"], request["prompt"]
    prefixes = [[], *PREFIXES]
    rows = [prompt[:start] + p + prompt[start:] + request["target"] for p in prefixes]
    return rows, [request["subjectEnd"] + len(p) for p in prefixes]


def nll(logits: torch.Tensor, rows: list[list[int]], answer: int) -> torch.Tensor:
    logp = logits.log_softmax(-1)
    return torch.stack([-logp[i, j - 1, row[j]] for i, row in enumerate(rows) for j in range(len(row) - answer, len(row))]).mean()


def search(model: torch.nn.Module, sites: Modules, request: dict, c: dict) -> tuple[list[torch.Tensor], list[float]]:
    """Values at the sites, all of them moved at once: wanted, and every loss."""
    prompts, subjects = rows_of(request)
    tokens, mask = pad([*prompts, request["essence"]])
    at = torch.tensor([*subjects, len(request["essence"]) - 1])
    rows = torch.arange(len(at))
    with torch.no_grad(), recorded(sites) as seen:
        logits = model(tokens, attention_mask=mask).logits
    before = logits[-1, at[-1]].log_softmax(-1)
    starts = [s["y"][0, at[0]].clone() for s in seen]
    deltas = [torch.zeros_like(v, requires_grad=True) for v in starts]

    def shift(delta: torch.Tensor) -> Callable:
        def hook(_m: torch.nn.Module, _args: tuple, out: torch.Tensor | tuple) -> torch.Tensor | tuple:
            y = (out[0] if isinstance(out, tuple) else out).clone()
            y[rows, at] += delta
            return (y, *out[1:]) if isinstance(out, tuple) else y

        return hook

    handles = [m.register_forward_hook(shift(d)) for m, d in zip(sites, deltas)]
    optimizer = torch.optim.Adam(deltas, lr=c["lr"])
    losses = []
    for step in range(c["steps"]):
        optimizer.zero_grad()
        logits = model(tokens, attention_mask=mask).logits
        after = logits[-1, at[-1]].log_softmax(-1)
        kl = (after.exp() * (after - before)).sum()
        decay = sum(d.norm() / v.norm() ** 2 for d, v in zip(deltas, starts))
        loss = nll(logits, prompts, len(request["target"])) + c["klFactor"] * kl + c["weightDecay"] * decay
        losses.append(loss.item())
        if step == c["steps"] - 1:
            break
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            for d, v in zip(deltas, starts):
                limit = c["clamp"] * v.norm()
                if d.norm() > limit:
                    d *= limit / d.norm()
    for h in handles:
        h.remove()
    return [(v + d).detach() for v, d in zip(starts, deltas)], losses


def read(model: torch.nn.Module, site: torch.nn.Module, value: torch.nn.Module) -> Callable[[list[dict]], tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Of requests, a column each, f64: averaged keys, what `value` gives for the prompt alone, and its mean over the prefixes."""

    def of(requests: list[dict]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        keys, now, mean = [], [], []
        for request in requests:
            prompts, subjects = rows_of(request)
            tokens, mask = pad(prompts)
            with torch.no_grad(), recorded([site, value]) as (at_site, at_value):
                model(tokens, attention_mask=mask)
            rows = torch.arange(len(prompts))
            keys.append(at_site["x"][rows, subjects].double().mean(0))
            now.append(at_value["y"][0, subjects[0]].double())
            mean.append(at_value["y"][rows, subjects].double().mean(0))
        return torch.stack(keys, 1), torch.stack(now, 1), torch.stack(mean, 1)

    return of


def covariances(model: torch.nn.Module, sites: Modules, corpus: torch.Tensor, mask: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad(), recorded(sites) as seen:
        model(corpus, attention_mask=mask)
    keys = [s["x"][mask.bool()].double() for s in seen]
    return [k.T @ k / len(k) for k in keys]


def lifted(c: torch.Tensor, ridge: float) -> torch.Tensor:
    return c + ridge * c.diagonal().mean() * torch.eye(len(c), dtype=torch.double)


def memit_update(k: torch.Tensor, r: torch.Tensor, c: torch.Tensor, lam: float) -> torch.Tensor:
    return r @ k.T @ torch.linalg.inv(lam * c + k @ k.T)


def emmet_update(k: torch.Tensor, r: torch.Tensor, c: torch.Tensor, lam: float) -> torch.Tensor:
    inverse = torch.linalg.inv(c)
    return r @ torch.linalg.inv(k.T @ inverse @ k + lam * torch.eye(k.shape[1], dtype=torch.double)) @ k.T @ inverse


def null_space(c: torch.Tensor, share: float | None = None, threshold: float | None = None) -> torch.Tensor:
    u, s, _ = torch.linalg.svd(c)
    if threshold is not None:
        free = s < threshold
    else:
        free = s.flip(0).cumsum(0).flip(0) <= share * s.sum()
    return u[:, free] @ u[:, free].T


def alpha_update(k: torch.Tensor, r: torch.Tensor, p: torch.Tensor, past: torch.Tensor, l2: float) -> torch.Tensor:
    left = p @ (k @ k.T + past) + l2 * torch.eye(len(k), dtype=torch.double)
    return torch.linalg.solve(left, p @ k @ r.T).T


Update = Callable[[int, torch.Tensor, torch.Tensor], torch.Tensor]


def spread(model: torch.nn.Module, kind: str, requests: list[dict], values: Modules, c: dict, divide: Callable[[int], float], update: Update) -> tuple[list[list[float]], list[torch.Tensor]]:
    """Writes into the model; gives the losses of the searches and the keys at each layer."""
    found = [search(model, values, request, c) for request in requests]
    wanted = torch.stack([f[0][0].double() for f in found], 1)
    all_keys = []
    for i, layer in enumerate(LAYERS):
        site = mlp_out(blocks(model, kind)[layer], kind)
        k, now, _ = read(model, site, values[0])(requests)
        r = (wanted - now) / divide(len(LAYERS) - i)
        with torch.no_grad():
            as_out_in(site.weight, kind).add_(update(i, k, r).float())
        all_keys.append(k)
    return [f[1] for f in found], all_keys


def fine_tune(model: torch.nn.Module, weight: torch.Tensor, loss_of: Callable[[], torch.Tensor]) -> list[float]:
    for p in model.parameters():
        p.requires_grad_(p is weight)
    optimizer = torch.optim.Adam([weight], lr=FT["lr"])
    losses = []
    for _ in range(FT["steps"]):
        optimizer.zero_grad()
        loss = loss_of()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


def attributions(model: torch.nn.Module, sites: Modules, prompt: list[int], token: int) -> torch.Tensor:
    """f64[layers, in]"""
    tokens = torch.tensor([prompt])
    with torch.no_grad(), recorded(sites) as seen:
        model(tokens)
    out = []
    for site, s in zip(sites, seen):
        w = s["x"][0, -1].clone()
        total = torch.zeros(len(w), dtype=torch.double)
        for step in range(1, KN["steps"] + 1):
            x = (w * step / KN["steps"]).requires_grad_(True)

            def replace(_m: torch.nn.Module, args: tuple) -> tuple:
                y = args[0].clone()
                y[0, -1] = x
                return (y,)

            handle = site.register_forward_pre_hook(replace)
            p = model(tokens).logits[0, -1].softmax(-1)[token]
            total += torch.autograd.grad(p, x)[0].double()
            handle.remove()
        out.append(w.double() * total / KN["steps"])
    return torch.stack(out)


def knowledge_neurons(model: torch.nn.Module, sites: Modules, kind: str, request: dict) -> tuple[torch.Tensor, list[list[int]], int]:
    rows = [row[: -len(request["target"])] for row in rows_of(request)[0]]
    with torch.no_grad():
        said = int(model(torch.tensor([rows[0]])).logits[0, -1].argmax())
    counts = torch.zeros(len(sites), as_out_in(sites[0].weight, kind).shape[1])
    first = None
    for row in rows:
        a = attributions(model, sites, row, said)
        first = a if first is None else first
        counts += a > KN["threshold"] * a.max()
    chosen = [torch.nonzero(c > KN["shared"] * len(rows)).flatten().tolist() for c in counts]
    embedding = model.get_input_embeddings().weight.detach()
    shift = -KN["erase"] * embedding[said] + KN["write"] * sum(embedding[t] for t in request["target"])
    with torch.no_grad():
        for site, neurons in zip(sites, chosen):
            for n in neurons:
                as_out_in(site.weight, kind)[:, n] += shift
    return first, chosen, said


def make(kind: str) -> None:
    model = AutoModelForCausalLM.from_pretrained(ROOT / "packages/models/test/golden" / kind, dtype=torch.float32).eval()
    sites = [mlp_out(b, kind) for b in blocks(model, kind)]
    origin = [s.weight.detach().clone() for s in sites]
    last = blocks(model, kind)[LAYERS[-1]]
    generator = torch.Generator().manual_seed(11)
    lengths = torch.randint(3, CORPUS_LENGTH + 1, (CORPUS_ROWS,), generator=generator)
    corpus = torch.randint(1, 97, (CORPUS_ROWS, CORPUS_LENGTH), generator=generator)
    mask = (torch.arange(CORPUS_LENGTH) < lengths[:, None]).long()
    corpus = corpus * mask
    c = covariances(model, sites, corpus, mask)
    tensors = {"in/corpus": corpus, "in/corpus_mask": mask}
    losses: dict[str, object] = {}

    def keep(name: str, layers: list[int]) -> None:
        for layer in layers:
            tensors[f"{name}/out/weight.{layer}"] = sites[layer].weight.detach().clone()
        with torch.no_grad():
            for s, w in zip(sites, origin):
                s.weight.copy_(w)

    def memit(i: int, k: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
        return memit_update(k, r, lifted(c[LAYERS[i]], MEMIT["ridge"]), MEMIT["lambda"])

    losses["memit"], _ = spread(model, kind, REQUESTS, [last], MEMIT, float, memit)
    keep("memit", LAYERS)
    losses["pmet"], _ = spread(model, kind, REQUESTS, [sites[LAYERS[-1]], attention_out(last, kind)], PMET, lambda n: n**0.5, memit)
    keep("pmet", LAYERS)

    site = sites[EMMET["layer"]]
    found = [search(model, [site], request, EMMET) for request in REQUESTS]
    wanted = torch.stack([f[0][0].double() for f in found], 1)
    k, _, mean = read(model, site, site)(REQUESTS)
    with torch.no_grad():
        update = emmet_update(k, wanted - mean, lifted(c[EMMET["layer"]], EMMET["ridge"]), EMMET["lambda"])
        as_out_in(site.weight, kind).add_(update.float())
    losses["emmet"] = [f[1] for f in found]
    tensors["emmet/out/key"], tensors["emmet/out/wanted"] = k.T, wanted.T
    keep("emmet", [EMMET["layer"]])

    projectors = [null_space(c[layer], share=ALPHA["nullShare"]) for layer in LAYERS]
    past = [torch.zeros_like(p) for p in projectors]
    losses["alphaedit"] = []
    for turn in (REQUESTS[:2], REQUESTS[2:]):
        def alpha(i: int, k: torch.Tensor, r: torch.Tensor) -> torch.Tensor:
            return alpha_update(k, r, projectors[i], past[i], ALPHA["l2"])

        made, keys = spread(model, kind, turn, [last], ALPHA, float, alpha)
        past = [p + k @ k.T for p, k in zip(past, keys)]
        losses["alphaedit"].append(made)
    keep("alphaedit", LAYERS)

    weight = sites[FT["layer"]].weight
    request = REQUESTS[0]
    row, answer = request["prompt"] + request["target"], len(request["target"])
    losses["ft-m"] = fine_tune(model, weight, lambda: nll(model(torch.tensor([row])).logits, [row], answer))
    keep("ft-m", [FT["layer"]])
    target = torch.tensor(request["target"])
    losses["ft"] = fine_tune(model, weight, lambda: -model(torch.tensor([request["prompt"]])).logits[0, -1].log_softmax(-1)[target].mean())
    keep("ft", [FT["layer"]])

    attribution, neurons, said = knowledge_neurons(model, sites, kind, REQUESTS[0])
    tensors["kn/out/attribution"] = attribution
    keep("kn", LAYERS)

    path = folder("editing", f"{kind}-batch")
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "editing_batch.py",
            "model": f"packages/models/test/golden/{kind}",
            "layers": LAYERS,
            "requests": REQUESTS,
            "prefixes": PREFIXES,
            "config": {"memit": MEMIT, "pmet": PMET, "emmet": EMMET, "alphaedit": ALPHA, "ft": FT, "ft-m": FT, "kn": KN},
            "losses": losses,
            "kn": {"neurons": neurons, "said": said},
        },
    )


def equations() -> None:
    """Updates for keys f64[in, n], residuals f64[out, n], C and earlier keys, all of f32 values."""
    generator = torch.Generator().manual_seed(5)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator).double()

    width, out = 24, 10
    spectrum = torch.logspace(1, -4, width, dtype=torch.double)
    basis = torch.linalg.qr(normal(width, width))[0]
    c = ((basis * spectrum) @ basis.T).float().double()
    c = (c + c.T) / 2
    few, many, past = normal(width, 7), normal(width, 40), normal(width, 9)
    r_few, r_many = normal(out, 7), normal(out, 40)
    share, threshold, l2, lam = 0.05, 0.02, 0.3, 40.0
    by_share, by_threshold = null_space(c, share=share), null_space(c, threshold=threshold)
    path = folder("editing", "equations")
    write_tensors(
        path / "golden.safetensors",
        {
            "in/covariance": c,
            "in/few": few.T,
            "in/many": many.T,
            "in/past": past.T,
            "in/residuals_few": r_few.T,
            "in/residuals_many": r_many.T,
            "memit/out/few": memit_update(few, r_few, c, lam),
            "memit/out/many": memit_update(many, r_many, c, lam),
            "emmet/out/few": emmet_update(few, r_few, c, 0.0),
            "alphaedit/out/share": alpha_update(few, r_few, by_share, past @ past.T, l2),
            "alphaedit/out/threshold": alpha_update(few, r_few, by_threshold, torch.zeros_like(c), l2),
            "alphaedit/out/projected": by_share @ few,
        },
        keep_f64=True,
    )
    write_json(path / "golden.json", {"maker": "editing_batch.py", "lambda": lam, "share": share, "threshold": threshold, "l2": l2})


MAKERS = {
    **{f"editing/{kind}-batch": (lambda kind=kind: make(kind)) for kind in ("llama", "gpt2")},
    "editing/equations": equations,
}
