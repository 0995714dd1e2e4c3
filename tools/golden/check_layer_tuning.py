"""PEFT loads the adapters that @lfm/tuning writes: no key missing, none unexpected, the same logits as with PEFT's own files.

    python tools/golden/check_layer_tuning.py

The fixtures of layer_tuning.py are read and written again by rewrite-layer-tuning.ts, and loaded by PEFT on the same base.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from contextlib import nullcontext
from pathlib import Path

import torch
from peft import PeftConfig, PeftModel, get_peft_model, load_peft_weights, set_peft_model_state_dict
from safetensors.torch import load_file

from fixture import ROOT
from layer_tuning import batch, butterfly, load

warnings.simplefilter("ignore")
GOLDEN = ROOT / "packages/tuning/test/golden/peft"
# What PEFT never saves, or keeps by another way than the state of the adapter.
ELSEWHERE = ("vera_A.default", "vera_B.default", "ranknum.default")


def check(name: str, ours: Path) -> bool:
    base = json.loads((GOLDEN / name / "golden.json").read_text())["base"]
    golden = load_file(GOLDEN / name / "golden.safetensors")
    tokens, _weights = batch(0)
    given = {"pixel_values": golden["in/pixels"]} if "in/pixels" in golden else {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    with butterfly() if "butterfly" in name else nullcontext():
        model = PeftModel.from_pretrained(load(base), ours).eval()
        fresh = get_peft_model(load(base), PeftConfig.from_pretrained(ours))
        result = set_peft_model_state_dict(fresh, load_peft_weights(str(ours), device="cpu"))
        with torch.inference_mode():
            difference = (model(**given).logits - golden["out/logits"]).abs().max().item()
    missing = [key for key in result.missing_keys if ".default" in key and not key.endswith(ELSEWHERE)]
    print(f"{name}: missing {len(missing)}, unexpected {len(result.unexpected_keys)}, max |Δ logits| {difference:.1e}", flush=True)
    return not missing and not result.unexpected_keys and difference < 1e-5


def main() -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        script = ROOT / "tools/golden/rewrite-layer-tuning.ts"
        subprocess.run(["npx", "tsx", "--conditions=@lfm/source", str(script), scratch], cwd=ROOT, check=True)
        results = [check(folder.name, folder) for folder in sorted(Path(scratch).iterdir())]
    if not all(results):
        sys.exit("some adapters do not agree")
    print(f"{len(results)} adapters agree")


if __name__ == "__main__":
    main()
