"""PEFT loads the adapters that @lfm/formats writes: no key missing, none unexpected, the same outputs as with PEFT's own files.

    python tools/golden/check_peft.py

Adapters of random values are saved by PEFT, read and written again by rewrite-peft.ts, and loaded by PEFT on the same base.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict
from transformers import PreTrainedModel

from fixture import ROOT, tokens
from formats import ADAPTERS, AdapterCase, adapted

warnings.simplefilter("ignore")


def outputs(model: PreTrainedModel) -> torch.Tensor:
    with torch.inference_mode():
        return model(input_ids=tokens(50, (2, 9), 97), attention_mask=torch.ones(2, 9, dtype=torch.long)).logits


def load(case: AdapterCase, folder: Path) -> tuple[PeftModel, list[str], list[str]]:
    """The model with the adapter of a folder, the adapter's keys that the file lacks, those that the model lacks."""
    model = get_peft_model(case.base(), PeftConfig.from_pretrained(folder)).eval()
    result = set_peft_model_state_dict(model, load_peft_weights(str(folder), device="cpu"))
    # A prompt is loaded on its own, strictly: its place in the model always reads as missing.
    missing = [key for key in result.missing_keys if ".default" in key and not key.startswith("prompt_encoder.")]
    return model, missing, result.unexpected_keys if not hasattr(model, "prompt_encoder") else [
        key for key in result.unexpected_keys if key != "prompt_embeddings"
    ]


def check(name: str, case: AdapterCase, theirs: Path, ours: Path) -> bool:
    """Ours is right when it loads as PEFT's own file does: the same keys missing (none, but buffers that VeRA never saves), the same outputs."""
    expected, plain = outputs(adapted(case)), outputs(case.base().eval())
    change = (expected[..., -plain.shape[-2] :, :] - plain).abs().max().item()
    own, own_missing, own_unexpected = load(case, theirs)
    model, missing, unexpected = load(case, ours)
    own_difference = (outputs(own) - expected).abs().max().item()
    difference = (outputs(model) - expected).abs().max().item()
    print(
        f"{name}: missing {len(missing)} ({len(own_missing)}), unexpected {len(unexpected)} ({len(own_unexpected)}), "
        f"max |Δ logits| {difference:.1e} ({own_difference:.1e}); the adapter moves them by {change:.2f}",
        flush=True,
    )
    return missing == own_missing and unexpected == own_unexpected == [] and difference <= own_difference and change > 1e-3


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        theirs, ours = Path(scratch, "theirs"), Path(scratch, "ours")
        for name, case in ADAPTERS.items():
            adapted(case).save_pretrained(theirs / name, save_embedding_layers=False)
        script = ROOT / "tools/golden/rewrite-peft.ts"
        subprocess.run(["npx", "tsx", "--conditions=@lfm/source", str(script), str(theirs), str(ours)], cwd=ROOT, check=True)
        results = [check(name, case, theirs / name, ours / name) for name, case in ADAPTERS.items()]
    if not all(results):
        sys.exit("some adapters do not agree")
    print(f"{len(results)} adapters agree; in brackets the same of the files that PEFT wrote")


if __name__ == "__main__":
    main()
