"""The library `adapters` loads what @lfm/tuning writes: no key missing, none unexpected, the logits of its own files.

    python check_adapters.py, with requirements-adapters.txt; the fixtures of adapter_hub.py are read and written again by rewrite-adapters.ts.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

from adapter_hub import CASES, batch, load, logits_of
from fixture import ROOT

REWRITE = [str(ROOT / "node_modules/.bin/tsx"), "--conditions=@lfm/source", str(ROOT / "tools/golden/rewrite-adapters.ts")]


def rewrite(kind: str, fixture: Path, out: Path) -> None:
    base = ROOT / "packages/models/test/golden" / kind
    subprocess.run([*REWRITE, str(base), str(fixture), str(out), fixture.name], check=True, cwd=ROOT)


def main() -> None:
    fixtures = ROOT / "packages/tuning/test/golden/adapter-hub"
    with tempfile.TemporaryDirectory() as scratch:
        for case in [*CASES, "bert-fusion"]:
            kind = json.loads((fixtures / case / "golden.json").read_text())["model"]
            out = Path(scratch) / case
            rewrite(kind, fixtures / case, out)
            model = load(kind)
            found: dict[str, list[str]] = {}
            if case == "bert-fusion":
                model.load_adapter_setup(str(out), set_active=True, use_safetensors=True)
            else:
                name = model.load_adapter(str(out), set_active=True, use_safetensors=True, loading_info=found)
                assert name == case, name
            model.eval()
            assert not found.get("missing_keys") and not found.get("unexpected_keys"), (case, found)
            with torch.no_grad():
                logits = logits_of(model, batch(kind, 0))
            expected = load_file(fixtures / case / "golden.safetensors")["out/logits"]
            worst = (logits - expected).abs().max().item()
            print(f"{case}: {worst:.1e}", flush=True)
            assert worst < 1e-6, case


if __name__ == "__main__":
    main()
