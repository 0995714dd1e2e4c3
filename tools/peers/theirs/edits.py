"""ROME and MEMIT in torch, from the papers' formulas (arXiv 2202.05262, 2210.07229): the job of ../edits.ts, one edit per line "run" on stdin.

Order of evaluation, stop, update and clamp are those of the authors' programs, and so is ROME's key of the prompt alone in the denominator. Each
edit is made on the untouched model. What is asked about the edits is scored at the end, when the peak of memory has been read.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time

import torch
import transformers
from safetensors import safe_open
from transformers import AutoModelForCausalLM

torch.set_num_threads(int(os.environ.get("LFM_THREADS", "2")))

with open(sys.argv[1]) as file:
    job = json.load(file)
config, layers = job["config"], job["layers"]
model = AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32).eval()
model.requires_grad_(False)

Rows = list[list[int]]


def projection(layer: int) -> torch.nn.Module:
    return model.model.layers[layer].mlp.down_proj


def first(output: torch.Tensor | tuple) -> torch.Tensor:
    return output[0] if isinstance(output, tuple) else output


def pad(rows: Rows) -> tuple[torch.Tensor, torch.Tensor]:
    length = max(map(len, rows))
    tokens = torch.zeros(len(rows), length, dtype=torch.long)
    mask = torch.zeros(len(rows), length, dtype=torch.long)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return tokens, mask


def answer_log_probs(logits: torch.Tensor, row: list[int], answer: int) -> torch.Tensor:
    at = torch.arange(len(row) - answer, len(row))
    return logits[at - 1].log_softmax(-1)[torch.arange(answer), torch.tensor(row)[at]]


def covariance(layer: int) -> torch.Tensor:
    with safe_open(job["statistics"], "pt") as file:
        c = file.get_tensor(f"model.layers.{layer}.mlp.down_proj.weight").double()
    return c + config["ridge"] * c.diagonal().mean() * torch.eye(len(c), dtype=torch.double)


Change = list[tuple[int, torch.Tensor, torch.Tensor]]  # of each layer what is added to its weight: value [out], key [in]

known: dict[int, torch.Tensor] = {}


def once(layer: int, make) -> torch.Tensor:
    """What all edits share is made by the first."""
    if layer not in known:
        known[layer] = make(layer)
    return known[layer]


class Fact:
    def __init__(self, request: dict) -> None:
        prompt, target, start = request["prompt"], request["target"], request["start"]
        prefixes = [[], *job["prefixes"]]
        self.answer = len(target)
        self.prompts = [prompt[:start] + p + prompt[start:] + target for p in prefixes]
        essence = request.get("essence") or prompt[: request["subjectEnd"] + 1]
        self.subjects = torch.tensor([request["subjectEnd"] + len(p) for p in prefixes] + [len(essence) - 1])
        self.tokens, self.mask = pad([*self.prompts, essence])
        self.rows = torch.arange(len(self.subjects))

    def at_subject(self, x: torch.Tensor) -> torch.Tensor:
        return x[self.rows, self.subjects]

    def run(self) -> torch.Tensor:
        return model(self.tokens, attention_mask=self.mask, use_cache=False).logits

    def read(self, sites: list[torch.nn.Module]) -> list[tuple[torch.Tensor | None, torch.Tensor]]:
        """Input and output of modules at the subject, behind every prefix."""
        seen: dict[int, tuple[torch.Tensor | None, torch.Tensor]] = {}
        handles = [
            site.register_forward_hook(
                lambda _m, args, out, i=i: seen.update({i: (self.at_subject(args[0])[:-1], self.at_subject(first(out))[:-1])})
            )
            for i, site in enumerate(sites)
        ]
        with torch.no_grad():
            self.logits = self.run()
        for handle in handles:
            handle.remove()
        return [seen[i] for i in range(len(sites))]

    def find_value(self, site: torch.nn.Module, v0: torch.Tensor) -> tuple[torch.Tensor, float]:
        """v0 + δ and the last loss. Needs `logits` of the model as it was."""
        before = self.logits[-1, self.subjects[-1]].log_softmax(-1)
        delta = torch.zeros_like(v0, requires_grad=True)

        def shift(_m: torch.nn.Module, _args: tuple, out: torch.Tensor | tuple) -> torch.Tensor | tuple:
            moved = first(out).clone()
            moved[self.rows, self.subjects] += delta
            return (moved, *out[1:]) if isinstance(out, tuple) else moved

        handle = site.register_forward_hook(shift)
        optimizer = torch.optim.Adam([delta], lr=config["lr"])
        limit = config["clamp"] * v0.norm()
        for step in range(config["steps"]):
            optimizer.zero_grad()
            logits = self.run()
            nll = -torch.cat([answer_log_probs(logits[i], row, self.answer) for i, row in enumerate(self.prompts)]).mean()
            after = logits[-1, self.subjects[-1]].log_softmax(-1)
            kl = (after.exp() * (after - before)).sum()
            loss = nll + config["klFactor"] * kl + config["weightDecay"] * delta.norm() / v0.norm() ** 2
            if loss < config["stopLoss"] or step == config["steps"] - 1:
                break
            loss.backward()
            optimizer.step()
            if delta.norm() > limit:
                with torch.no_grad():
                    delta[...] = delta * limit / delta.norm()
        handle.remove()
        return (v0 + delta).detach(), loss.item()




def rome(request: dict) -> tuple[Change, float]:
    fact, (layer,) = Fact(request), layers
    site = projection(layer)
    ((keys, values),) = fact.read([site])
    wanted, loss = fact.find_value(site, values[0])
    factor = once(layer, lambda i: torch.linalg.cholesky(covariance(i)))
    u = torch.cholesky_solve(keys.double().mean(0)[:, None], factor)[:, 0]
    return [(layer, wanted.double() - values[0].double(), u / (u @ keys[0].double()))], loss


def memit(request: dict) -> tuple[Change, float]:
    fact = Fact(request)
    top = model.model.layers[layers[-1]]
    ((_, values),) = fact.read([top])
    wanted, loss = fact.find_value(top, values[0])
    change = []
    for i, layer in enumerate(layers):
        (keys, _), (_, now) = fact.read([projection(layer), top])
        k = keys.double().mean(0)[:, None]
        c = once(layer, covariance)
        u = torch.linalg.solve(config["lambda"] * c + k @ k.T, k)[:, 0]
        change.append((layer, (wanted.double() - now[0].double()) / (len(layers) - i), u))
        write(change[-1:])
    restore()
    return change, loss


saved = {layer: projection(layer).weight.clone() for layer in layers}


def write(change: Change) -> None:
    with torch.no_grad():
        for layer, value, key in change:
            projection(layer).weight += torch.outer(value, key).float()


def restore() -> None:
    with torch.no_grad():
        for layer, weight in saved.items():
            projection(layer).weight.copy_(weight)


def scores(asked: list[dict]) -> list[bool]:
    """Whether the answer is likelier per token than its rival."""
    rows = [q["prompt"] + q[side] for q in asked for side in ("answer", "rival")]
    lengths = [len(q[side]) for q in asked for side in ("answer", "rival")]
    tokens, mask = pad(rows)
    with torch.no_grad():
        logits = model(tokens, attention_mask=mask, use_cache=False).logits
    means = [answer_log_probs(logits[i], row, n).mean().item() for i, (row, n) in enumerate(zip(rows, lengths, strict=True))]
    return [answer > rival for answer, rival in zip(means[::2], means[1::2], strict=True)]


edit = {"rome": rome, "memit": memit}[job["method"]]
made: list[Change] = []
print(json.dumps({"versions": {"torch": torch.__version__, "transformers": transformers.__version__}}), flush=True)
for line in sys.stdin:
    if line.strip() == "end":
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        told = []
        for change, asked in zip(made, job["probes"], strict=False):
            write(change)
            told.append(scores(asked))
            restore()
        print(json.dumps({"peakRssBytes": peak, "scores": told}), flush=True)
        break
    begun = time.perf_counter()
    change, loss = edit(job["requests"][len(made)])
    made.append(change)
    print(json.dumps({"ms": 1000 * (time.perf_counter() - begun), "value": loss}), flush=True)
