"""How mergekit 0.1.5 understands the configurations of packages/reuse/test/fixtures/mergekit: reuse/mergekit-config.

One file mergekit-NAME.json for NAME.yml:
  tensors     {output: {shared, base, inputs: [[model, tensor, parameters]]}} in the order of mergekit's plan; `tensor` is null where it is
              called as the output; optional tensors that no model has are left out
  config      what config.json says about type, layers and vocabulary
  vocabulary  tokens of the new tokenizer, sorted: the ids of new ones depend on the order of a set, from run to run
  rows        {tensor: {model: {token: row}}}: inputs in the new vocabulary; "" is the row of padding
  merged      {model: {tensor: values}}: what a model with an adapter holds, for the tensors that the adapter changes

The models are recipes in models.json, written here as folders.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
import yaml
from safetensors.torch import save_file

from fixture import ROOT

FIXTURES = ROOT / "packages" / "reuse" / "test" / "fixtures" / "mergekit"
GOLDEN = ROOT / "packages" / "reuse" / "test" / "golden"
LIMIT_BYTES = 200_000
DTYPES = {"F32": torch.float32, "BF16": torch.bfloat16}


def fill(shape: list[int], k: int, seed: int, scale: float = 1.0) -> torch.Tensor:
    i = torch.arange(torch.Size(shape).numel(), dtype=torch.int64)
    return ((((37 * i + 101 * k + 211 * seed) % 257 - 128) / 256) * scale).to(torch.float32).reshape(shape)


def fill_all(shapes: dict[str, list[int]], seed: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    return {name: fill(shapes[name], k, seed, scale) for k, name in enumerate(sorted(shapes))}


def write_model(folder: Path, recipe: dict[str, Any], spec: dict[str, Any]) -> None:
    folder.mkdir()
    shapes: dict[str, list[int]] = {}
    for name, shape in spec["shapes"][recipe["shapes"]].items():
        sized = [recipe["vocab"] if d == "vocab" else d for d in shape]
        for i in range(recipe["layers"]) if "{}" in name else [0]:
            shapes[name.replace("{}", str(i))] = sized
    for name in recipe.get("without", []):
        del shapes[name]
    shapes.update(recipe.get("resize", {}))
    tensors = fill_all(shapes, recipe["seed"])
    strip = recipe.get("strip", "")
    named = {name.removeprefix(strip): t.to(DTYPES[recipe["dtype"]]) for name, t in tensors.items()}
    save_file(named, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(recipe["config"]))
    write_tokenizer(folder, spec["tokenizers"][recipe["tokenizer"]])


def write_tokenizer(folder: Path, recipe: dict[str, Any]) -> None:
    vocab = {token: i for i, token in enumerate(recipe["tokens"])}
    appended = {token: len(vocab) + i for i, token in enumerate(recipe.get("appended", []))}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": vocab[t], "content": t, **flags} for t in recipe["added"]] + [{"id": i, "content": t, **flags} for t, i in appended.items()]
    model: dict[str, Any] = {"type": recipe["type"], "vocab": vocab}
    if recipe["type"] == "BPE":
        model |= {"dropout": None, "unk_token": None, "continuing_subword_prefix": None, "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False, "ignore_merges": False, "merges": recipe["merges"]}
    else:
        model |= {"unk_token": "<unk>"}
    whole = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": sorted(added, key=lambda t: t["id"]), "normalizer": None, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None, "model": model}
    (folder / "tokenizer.json").write_text(json.dumps(whole))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"}
    if "chat_template" in recipe:
        config["chat_template"] = recipe["chat_template"]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))


def write_adapter(folder: Path, recipe: dict[str, Any]) -> None:
    folder.mkdir()
    shapes: dict[str, list[int]] = {}
    for path, parts in recipe["layers"].items():
        for part, shape in parts.items():
            shapes[f"{path}.lora_{part}.weight" if part in "AB" else f"{path}.lora_magnitude_vector"] = shape
    for path, parts in recipe.get("embeddings", {}).items():
        for part, shape in parts.items():
            shapes[f"{path}.lora_embedding_{part}"] = shape
    shapes |= recipe.get("saved", {})
    tensors = fill_all(shapes, recipe["seed"], 1 / 8)
    save_file({f"base_model.model.{name}": t for name, t in tensors.items()}, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(recipe["config"]))


def plain(value: Any) -> Any:
    """Parameters as JSON: floats as they are, anything else that is no JSON refused."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise TypeError(f"{value!r}")


def parameters(values: Any) -> dict[str, Any]:
    return {key: plain(value) for key, value in sorted(values.items())}


def resolve(path: Path, cache: Path) -> dict[str, Any]:
    from mergekit.architecture import get_architecture_info
    from mergekit.config import MergeConfiguration
    from mergekit.graph import Executor
    from mergekit.io.tasks import LoaderCache
    from mergekit.merge import _model_out_config, _update_config_vocab
    from mergekit.options import MergeOptions
    from mergekit.plan import MergePlanner
    from mergekit.tokenizer import PermutedVocabulary

    config = MergeConfiguration.model_validate(yaml.safe_load(path.read_text()))
    # A set: with one model it is that model, with several and no base the order is chance; ours is that of the file.
    first = config.base_model or first_model(config)
    options = MergeOptions(lora_merge_cache=str(cache), quiet=True)
    arch = get_architecture_info(config, options)
    LoaderCache().loaders.clear()
    LoaderCache().setup(options=options)
    with_base = config.model_copy(update={"base_model": first})
    out_config = _model_out_config(with_base, arch)
    planner = MergePlanner(config, arch, options=options, out_model_config=out_config)
    planner._plan()
    result: dict[str, Any] = {"tensors": {}}
    gathers: dict[Any, str] = {}
    for weight, task in planner._tensors:
        gather = task.gather_tensors
        inner = gather.gather_tensors if isinstance(gather, PermutedVocabulary) else gather
        names = {str(model): info.name for model, info in inner.weight_info.items()}
        result["tensors"][weight.name] = {
            "shared": parameters(task.parameters),
            "base": str(task.base_model) if task.base_model else None,
            "inputs": [
                [str(m), None if names[str(m)] == weight.name else names[str(m)], parameters(task.input_parameters[m])]
                for m in task.model_order
            ],
        }
        if isinstance(gather, PermutedVocabulary):
            gathers[gather] = weight.name
    if planner._tokenizer_task:
        # In one run: every run numbers new tokens anew.
        values = dict(Executor([planner._tokenizer_task, *gathers]).run(quiet=True))
        info = values.pop(planner._tokenizer_task)
        rows = {name: values[task] for task, name in gathers.items()}
        pad = config.tokenizer.pad_to_multiple_of if config.tokenizer else None
        _update_config_vocab(out_config, arch, info.tokenizer, pad_to_multiple_of=pad)
        vocabulary = info.tokenizer.get_vocab()
        result["vocabulary"] = sorted(vocabulary)
        result["rows"] = {
            name: {str(m): by_token(t, vocabulary) for m, t in sorted(tensors.items(), key=lambda item: str(item[0]))} for name, tensors in rows.items()
        }
    keys = ("num_hidden_layers", "n_layer", "vocab_size")
    described = out_config.to_dict()
    result["config"] = {key: described[key] for key in keys if key in described}
    dtype = described.get("dtype", described.get("torch_dtype"))
    result["config"]["dtype"] = str(dtype).removeprefix("torch.")
    merged = {}
    for model in config.referenced_models():
        if model.lora:
            loader = LoaderCache().get(model)
            plain_loader = LoaderCache().get(model.model_copy(update={"lora": None}))
            # transformers may leave out a tied output layer.
            changed = [
                n
                for n in sorted(loader.index.tensor_paths)
                if n in plain_loader.index.tensor_paths and not torch.equal(loader.get_tensor(n), plain_loader.get_tensor(n))
            ]
            merged[str(model)] = {n: [round(x, 7) for x in loader.get_tensor(n).flatten().tolist()] for n in changed}
    if merged:
        result["merged"] = merged
    return result


def first_model(config: Any) -> Any:
    if config.models:
        return config.models[0].model
    if config.slices:
        return config.slices[0].sources[0].model
    module = next(iter(config.modules.values()))
    return module.models[0].model if module.models else module.slices[0].sources[0].model


def by_token(tensor: torch.Tensor, vocabulary: dict[str, int]) -> dict[str, list[float]]:
    ids = dict(vocabulary)
    if tensor.shape[0] > len(vocabulary):
        ids[""] = len(vocabulary)
    return {token: [round(x, 7) for x in tensor[i].tolist()] for token, i in sorted(ids.items())}


def write(name: str, value: dict[str, Any]) -> None:
    text = json.dumps(value, indent=1)
    # One tensor, one row a line.
    text = re.sub(r"\n {3,}", " ", text)
    path = GOLDEN / f"mergekit-{name}.json"
    path.write_text(text + "\n")
    if path.stat().st_size > LIMIT_BYTES:
        raise ValueError(f"{path} has {path.stat().st_size} bytes")


def make() -> None:
    spec = json.loads((FIXTURES / "models.json").read_text())
    folder = Path(tempfile.mkdtemp())
    before = os.getcwd()
    try:
        for name, recipe in spec["models"].items():
            write_model(folder / name, recipe, spec)
        for name, recipe in spec["adapters"].items():
            write_adapter(folder / name, recipe)
        os.chdir(folder)
        for old in GOLDEN.glob("mergekit-*.json"):
            old.unlink()
        for path in sorted(FIXTURES.glob("*.yml")):
            write(path.stem, resolve(path, folder / f"cache-{path.stem}"))
    finally:
        os.chdir(before)
        shutil.rmtree(folder)


MAKERS = {"reuse/mergekit-config": make}
