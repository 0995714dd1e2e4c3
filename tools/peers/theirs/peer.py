"""The Python side of a comparison: one repetition per line "run" on stdin (see run.ts)."""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable

import torch

# The same job as a user with a bf16 unit runs it: products in bf16, weights and everything else as they are.
BF16 = os.environ.get("LFM_PEER_BF16") == "1"


def autocast() -> torch.autocast:
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=BF16)


torch.set_num_threads(int(os.environ.get("LFM_THREADS", "2")))


def serve(repeat: Callable[[], float], **versions: str) -> None:
    print(json.dumps({"versions": {"torch": torch.__version__, **versions}}), flush=True)
    for line in sys.stdin:
        if line.strip() == "end":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            print(json.dumps({"peakRssBytes": peak}), flush=True)
            return
        start = time.perf_counter()
        value = repeat()
        print(json.dumps({"ms": 1000 * (time.perf_counter() - start), "value": value}), flush=True)
