"""Golden chunks of @lfm/retrieval from langchain's RecursiveCharacterTextSplitter.

  python tools/golden/chunks.py      (needs langchain-text-splitters 1.1)
"""

from __future__ import annotations

import json
import random
from pathlib import Path

from langchain_text_splitters import RecursiveCharacterTextSplitter

PATH = Path(__file__).resolve().parents[2] / "packages" / "retrieval" / "test" / "golden" / "chunks.json"


def main() -> None:
    rng = random.Random(3)
    pieces = ["word", "a", "longerword", "é", ". ", " ", "  ", "\n", "\n\n", "\n\n\n", "verylongwordwithoutanyspace"]
    cases = []
    for _ in range(60):
        text = "".join(rng.choice(pieces) for _ in range(rng.choice([0, 3, 20, 60])))
        size = rng.choice([1, 5, 12, 30, 100])
        overlap = rng.randrange(size)
        chunks = RecursiveCharacterTextSplitter(chunk_size=size, chunk_overlap=overlap).split_text(text)
        cases.append({"text": text, "size": size, "overlap": overlap, "chunks": chunks})
    PATH.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
