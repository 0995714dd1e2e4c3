"""Holds the fixture of data_merges.py against fusion_bench's own functions.

Usage: python check_fusion_bench.py FOLDER, the `fusion_bench` folder of an unpacked fusion-bench 0.2.33. Its files are loaded one by one, with
stand-ins for the libraries that their functions do not use: nothing else of it needs to be installed.
"""

from __future__ import annotations

import copy
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import sys
import types
import typing
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from data_merges import ADA, ADA_CASES, BATCH, LLAMA, MODELS, SAMPLES, SMILE, WEMOE, Network, gram, inputs_of
from fixture import ROOT

SOURCES = [
    "method/adamerging/entropy_loss",
    "method/fisher_merging/fisher_merging",
    "method/regmean/regmean",
    "method/regmean/utils",
    "method/regmean_plusplus/regmean_plusplus",
    "models/smile_moe/linear_from_module",
    "models/smile_moe/utils",
    "models/smile_moe/utils/svd_utils",
    "models/utils",
    "models/we_moe",
    "models/wrappers/layer_wise_fusion",
    "models/wrappers/task_wise_fusion",
    "utils/type",
]
TOLERANCE = 2e-6


class StandIn(types.ModuleType):
    __path__: list[str] = []

    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):
            raise AttributeError(name)
        if name.endswith("Type"):
            return typing.TypeVar(name)
        if name[0].isupper():
            return type(name, (), {})

        def decorator(*args: object, **_: object) -> object:
            return args[0] if args and callable(args[0]) else decorator

        return decorator


class Sources(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Modules of fusion_bench from their files where they are named above, everything that is not installed as a stand-in."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        top, *rest = name.split(".")
        if top == "fusion_bench" and "/".join(rest) in SOURCES:
            place = self.root.joinpath(*rest)
            if place.is_dir():
                return importlib.util.spec_from_file_location(name, place / "__init__.py", submodule_search_locations=[str(place)])
            return importlib.util.spec_from_file_location(name, place.with_suffix(".py"))
        if top in ("fusion_bench", "omegaconf", "lightning", "tqdm"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return StandIn(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        module.__path__ = []


def main() -> None:
    sys.meta_path.insert(0, Sources(Path(sys.argv[1])))
    load = lambda name: importlib.import_module(f"fusion_bench.{name.replace('/', '.')}")  # noqa: E731
    path = ROOT / "packages/reuse/test/golden/data-merges"
    stored = {n: t.double() if t.is_floating_point() else t for n, t in load_file(path / "golden.safetensors").items()}
    golden = json.loads((path / "golden.json").read_text())
    part = lambda prefix: {n[len(prefix) + 1 :]: t for n, t in stored.items() if n.startswith(f"{prefix}/")}  # noqa: E731

    def check(what: str, got: torch.Tensor, want: torch.Tensor) -> None:
        off = float((got.double() - want.double()).abs().max())
        scale = max(1.0, float(want.abs().max()))
        print(f"{what}: {off:.1e}")
        if not off <= TOLERANCE * scale:
            sys.exit(f"{what} differs")

    fisher = load("method/fisher_merging/fisher_merging")
    values, statistics = {m: part(f"fisher/in/{m}") for m in MODELS}, [part(f"fisher/statistics/{m}") for m in MODELS]
    for case, weights, normalize in (("normalized", [1, 1, 1], True), ("weighted", [1, 2, 0.5], False)):
        merged = fisher.merging_with_fisher_weights(
            {n: [values[m][n] for m in MODELS] for n in ("b", "w")}, statistics, torch.tensor(weights).double(), normalize, 1e-6
        )
        for n, t in part(f"fisher/out/{case}").items():
            check(f"fisher {case} {n}", merged[n], t)

    regmean = load("method/regmean/regmean")
    grams = [{"w": stored[f"regmean/statistics/{m}/w"]} for m in MODELS]
    for ratio in (0.95, 0.6, 0.0):
        merged = regmean.merging_with_regmean_weights({"w.weight": [values[m]["w"] for m in MODELS]}, grams, ratio)
        check(f"regmean {ratio}", merged["w.weight"], stored[f"regmean/out/{ratio}/w"])

    tuned = {m: part(f"network/{m}") for m in MODELS}
    data = {m: stored[f"data/{m}/x"] for m in MODELS}

    def network(state: dict[str, torch.Tensor]) -> Network:
        made = Network().double()
        made.load_state_dict(state)
        return made

    model, sums = network(tuned["a"]), {}
    for rows in data["a"].split(BATCH):
        logits = model(rows)
        model.zero_grad()
        (torch.sqrt(logits.softmax(-1).detach()) * logits.log_softmax(-1)).sum(-1).sum(0).backward()
        for n, s in fisher.get_param_squared_gradients(model, [n for n, _ in model.named_parameters()]).items():
            sums[n] = sums.get(n, 0) + s
    for n, t in part("network/fisher/fusion-bench").items():
        check(f"squared gradients {n}", sums[n] / SAMPLES, t)

    entropy = load("method/adamerging/entropy_loss").entropy_loss
    layers, tasks = load("models/wrappers/layer_wise_fusion"), load("models/wrappers/task_wise_fusion")
    for case, (granularity, init, clamp) in ADA_CASES.items():
        names = [n for n, _ in Network().named_parameters()]
        start = torch.full((len(MODELS),) if granularity == "task" else (len(MODELS), len(names)), init, dtype=torch.float64)
        wrap = tasks.TaskWiseMergedModel if granularity == "task" else layers.LayerWiseMergedModel
        merged = wrap(start, network(part("network/base")), [network(tuned[m]) for m in MODELS], clamp_weights=clamp)
        optimizer = torch.optim.Adam([merged.merge_weight], lr=ADA["lr"])
        for step in range(ADA["steps"]):
            merged.merge_weights()
            at = (step * BATCH) % SAMPLES
            losses = [entropy(merged(data[m][at : at + BATCH])) for m in MODELS]
            optimizer.zero_grad()
            sum(losses).backward()
            optimizer.step()
            check(f"ada {case} loss {step}", sum(losses).detach(), torch.tensor(golden[f"ada-{case}"]["losses"][step]))
        check(f"ada {case}", merged.merge_weight.detach(), stored[f"ada/{case}"])

    plus = load("method/regmean_plusplus/regmean_plusplus")
    flow = dict(data)
    for i in range(3):
        name = f"fc{i + 1}"
        merged = plus.merging_with_regmean_weights(
            {f"{name}.{kind}": [tuned[m][f"{name}.{kind}"] for m in MODELS] for kind in ("weight", "bias")},
            [{name: gram(flow[m])} for m in MODELS],
            0.95,
        )
        for n, t in merged.items():
            check(f"regmean++ {n}", t, stored[f"regmean-plus-plus/{n}"])
        flow = {m: (flow[m] @ merged[f"{name}.weight"].T + merged[f"{name}.bias"]).tanh() for m in MODELS}
    for n, x in inputs_of(tuned["a"], data["a"]).items():
        check(f"gram {n}", gram(x), stored[f"network/gram/{n}.weight"])

    smile = load("models/smile_moe/linear_from_module")
    for case, ranks in SMILE.items():
        x = data["a"]
        for i in range(3):
            layers_of = lambda: [getattr(network(tuned[m]), f"fc{i + 1}") for m in MODELS]  # noqa: B023, E731
            layer = smile.SmileMoELinear(getattr(network(part("network/base")), f"fc{i + 1}"), layers_of(), full_matrices=False, **ranks)
            x = layer(x).detach()
            x = x.tanh() if i < 2 else x
        check(f"smile {case}", x, stored[f"smile/{case}"])

    moe = load("models/we_moe")
    llama = lambda which: make_llama(part(f"wemoe/{which}"))  # noqa: E731
    base, tuned_llamas = llama("base"), [llama(m) for m in WEMOE["models"]]
    merged = copy.deepcopy(base)
    with torch.no_grad():
        for n, p in merged.named_parameters():
            p.copy_(p + sum(WEMOE["init"] * (t.get_parameter(n) - p) for t in tuned_llamas))
    for i, layer in enumerate(merged.model.layers):
        mixed = moe.WeightEnsemblingMoE(
            LLAMA["hidden_size"],
            copy.deepcopy(base.model.layers[i].mlp),
            [copy.deepcopy(t.model.layers[i].mlp) for t in tuned_llamas],
            WEMOE["init"],
            batch_first=True,
        ).double()
        for k, fc in enumerate((mixed.gate.fc1, mixed.gate.fc2)):
            fc.load_state_dict({n: stored[f"wemoe/routers/model.layers.{i}.mlp.router.{k}.{n}"] for n in ("weight", "bias")})
        layer.mlp = mixed
    check("wemoe", merged(torch.tensor(WEMOE["tokens"]), use_cache=False).logits.detach(), stored["wemoe/logits/sequence"])


def make_llama(state: dict[str, torch.Tensor]) -> LlamaForCausalLM:
    made = LlamaForCausalLM(LlamaConfig(**LLAMA)).double().eval()
    made.load_state_dict(state)
    return made


if __name__ == "__main__":
    main()
