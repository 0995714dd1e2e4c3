"""PEFT loads patches of ROME and MEMIT that lfm exports as LoRA: the edited model says what it says in lfm, logits within 1e-4 of the largest.

    python tools/golden/check_edits.py [MODEL…]

Two facts are written into the small llama and gpt2 of the fixtures, and into models whose folders are named, by rewrite-edits.ts.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from fixture import ROOT

warnings.simplefilter("ignore")
WITHIN = 1e-4


def check(folder: Path, adapter: Path) -> bool:
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    edited = load_file(adapter / "edited.safetensors")
    asked = [(edited[f"tokens.{i}"].long(), edited[f"logits.{i}"]) for i in range(len(edited) // 2)]
    with torch.inference_mode():
        before = [base(tokens).logits for tokens, _ in asked]
        model = PeftModel.from_pretrained(base, adapter).eval()
        after = [model(tokens).logits for tokens, _ in asked]
    difference = max((a - said.reshape(a.shape)).abs().max().item() for a, (_, said) in zip(after, asked, strict=True))
    largest = max(a.abs().max().item() for a in after)
    change = max((a - b).abs().max().item() for a, b in zip(after, before, strict=True))
    print(f"{adapter.name}: max |Δ logits| {difference:.1e} of {largest:.1f}; the edit moves them by {change:.2f}", flush=True)
    return difference <= WITHIN * max(1.0, largest) and change > 1e-3


def main() -> None:
    torch.set_num_threads(1)
    folders = [ROOT / "packages/models/test/golden" / kind for kind in ("llama", "gpt2")] + [Path(name).resolve() for name in sys.argv[1:]]
    with tempfile.TemporaryDirectory() as out:
        script = ROOT / "tools/golden/rewrite-edits.ts"
        subprocess.run(["npx", "tsx", "--conditions=@lfm/source", str(script), out, *map(str, folders)], cwd=ROOT, check=True)
        results = [check(folder, Path(out, f"{folder.name}-{method}")) for folder in folders for method in ("rome", "memit")]
    if not all(results):
        sys.exit("some patches do not agree")
    print(f"{len(results)} patches agree")


if __name__ == "__main__":
    main()
