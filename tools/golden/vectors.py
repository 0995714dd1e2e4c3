"""Golden values for the vector indexes of @lfm/retrieval from faiss.

  python tools/golden/vectors.py      (needs faiss-cpu 1.15, numpy, safetensors)

Each case is an index that faiss trained and filled, written in the form of our files, and what faiss finds in it: only the search is ours.
"""

from __future__ import annotations

import json
from pathlib import Path

import faiss
import numpy as np
from safetensors.numpy import save_file

FOLDER = Path(__file__).resolve().parents[2] / "packages" / "retrieval" / "test" / "golden" / "faiss"
D, N, QUERIES, K = 16, 400, 12, 10


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(5)
    centres = rng.normal(size=(20, D))
    near = lambda n: (centres[rng.integers(20, size=n)] + 0.7 * rng.normal(size=(n, D))).astype(np.float32)
    return near(N), near(QUERIES)


def lists_of(index: faiss.IndexIVF, bytes_per_row: int) -> tuple[np.ndarray, np.ndarray]:
    """List and code of each row."""
    lists, codes = np.zeros(N, np.int32), np.zeros((N, bytes_per_row), np.uint8)
    for i in range(index.nlist):
        n = index.invlists.list_size(i)
        if n == 0:
            continue
        ids = faiss.rev_swig_ptr(index.invlists.get_ids(i), n)
        lists[ids] = i
        codes[ids] = faiss.rev_swig_ptr(index.invlists.get_codes(i), n * bytes_per_row).reshape(n, bytes_per_row)
    return lists, codes


def inverted(index: faiss.IndexIVF) -> dict[str, np.ndarray]:
    width = index.code_size
    lists, codes = lists_of(index, width)
    quantizer = faiss.downcast_index(index.quantizer)
    out = {"centroids": quantizer.reconstruct_n(0, index.nlist), "lists": lists}
    if isinstance(index, faiss.IndexIVFPQ):
        return out | {"codebooks": faiss.vector_to_array(index.pq.centroids).reshape(index.pq.M, 256, -1), "codes": codes}
    return out | {"vectors": codes.view(np.float32).reshape(N, D)}


def graph(index: faiss.IndexHNSWFlat, m: int) -> dict[str, np.ndarray]:
    hnsw = index.hnsw
    levels = faiss.vector_to_array(hnsw.levels) - 1
    offsets, neighbours = faiss.vector_to_array(hnsw.offsets), faiss.vector_to_array(hnsw.neighbors)
    ends = faiss.vector_to_array(hnsw.cum_nneighbor_per_level)
    ground, blocks = np.zeros((N, 1 + 2 * m), np.int32), np.zeros((int(levels.sum()), 1 + m), np.int32)
    block = 0
    for i in range(N):
        for level in range(levels[i] + 1):
            own = neighbours[int(offsets[i]) + ends[level] : int(offsets[i]) + ends[level + 1]]
            own = own[own >= 0]
            row = ground[i] if level == 0 else blocks[block]
            row[0], row[1 : 1 + len(own)] = len(own), own
            block += level > 0
    entry = np.array([hnsw.entry_point], np.int32)
    twins = np.full(N, -1, np.int32)
    return {"levels": levels.astype(np.int32), "entry": entry, "twins": twins, "ground": ground, "blocks": blocks}


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    vectors, queries = data()
    ids = np.frombuffer(json.dumps([str(i) for i in range(N)]).encode(), np.uint8).copy()
    cases = []
    for name, metric in [
        ("Flat", "l2"), ("LSH", "l2"), ("IVF8,Flat", "l2"), ("IVF8,Flat", "inner-product"), ("PQ4", "l2"), ("PQ4", "inner-product"),
        ("IVF8,PQ4", "l2"), ("IVF8,PQ4", "inner-product"), ("HNSW6", "l2"),
    ]:
        index = faiss.index_factory(D, name, faiss.METRIC_L2 if metric == "l2" else faiss.METRIC_INNER_PRODUCT)
        index.train(vectors)
        index.add(vectors)
        if name.startswith("IVF"):
            index.nprobe = 3
            parts = inverted(index)
        elif name.startswith("PQ"):
            codes = faiss.vector_to_array(index.codes).reshape(N, -1)
            parts = {"codebooks": faiss.vector_to_array(index.pq.centroids).reshape(index.pq.M, 256, -1), "codes": codes}
        elif name == "LSH":
            parts = {"codes": faiss.vector_to_array(index.codes).reshape(N, -1)}
        else:
            parts = {"vectors": vectors}
        if name.startswith("HNSW"):
            index.hnsw.efSearch = 12
            parts |= graph(index, 6)
        file = f"{name.replace(',', '-')}-{metric}.safetensors"
        options = {"factory": name, "metric": metric, "dimension": D, "seed": 0, "efConstruction": 40}
        save_file({"ids": ids, **parts}, FOLDER / file, metadata={"lfm.index": "vectors", "options": json.dumps(options)})
        distances, found = index.search(queries, K)
        cases.append({"file": file, "factory": name, "metric": metric, "found": found.tolist(), "scores": distances.astype(float).round(5).tolist()})
        print(f"made {file}: {(FOLDER / file).stat().st_size} bytes")
    save_file({"vectors": vectors, "queries": queries}, FOLDER / "data.safetensors")
    (FOLDER / "found.json").write_text(json.dumps({"faiss": faiss.__version__, "k": K, "probes": 3, "ef": 12, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
