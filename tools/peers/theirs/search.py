"""Search by faiss and bm25s over the data of search-data.ts, which LFM_SEARCH names: flat SIZE, graph, or words."""

import os
import sys

import numpy as np
from peer import serve
from safetensors.numpy import load_file

K, RECALL = 10, 0.95
folder = os.environ["LFM_SEARCH"]
kind = sys.argv[1]


def flat(size: int) -> None:
    import faiss

    faiss.omp_set_num_threads(int(os.environ.get("LFM_THREADS", "2")))
    data = load_file(os.path.join(folder, "vectors.safetensors"))
    index = faiss.IndexFlatIP(data["documents"].shape[1])
    index.add(data["documents"])
    asked = [data["questions"][i * size : (i + 1) * size] for i in range(256 // size)]
    repeat = lambda: float(sum(index.search(q, K)[0].astype(np.float64).sum() for q in asked))
    repeat()
    serve(repeat, faiss=faiss.__version__)


def graph() -> None:
    import faiss

    data = load_file(os.path.join(folder, "vectors.safetensors"))
    d, questions = data["documents"].shape[1], data["questions"]
    exact = faiss.IndexFlatIP(d)
    exact.add(data["documents"])
    truth = exact.search(questions, K)[1]
    index = faiss.IndexHNSWFlat(d, 32, faiss.METRIC_INNER_PRODUCT)
    index.add(data["documents"])
    # One question after the other, as a server is asked; ours has one thread too.
    faiss.omp_set_num_threads(1)

    def repeat() -> float:
        found = [index.search(questions[i : i + 1], K)[1][0] for i in range(len(questions))]
        return sum(len(set(f) & set(t)) for f, t in zip(found, truth)) / (K * len(questions))

    for width in [10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512]:
        index.hnsw.efSearch = width
        if repeat() >= RECALL:
            break
    serve(repeat, faiss=faiss.__version__)


def words() -> None:
    import bm25s

    lines = lambda name: open(os.path.join(folder, name), encoding="utf-8").read().split("\n")[:-1]
    index = bm25s.BM25(method="lucene", k1=0.9, b=0.4)
    index.index([line.split() for line in lines("documents.txt")], show_progress=False)
    questions = lines("questions.txt")

    def repeat() -> float:
        # Words of a question that stand nowhere are left out by bm25s too; one question at a time.
        total = 0.0
        for question in questions:
            total += float(index.retrieve([question.split()], k=K, show_progress=False, n_threads=1)[1].sum())
        return total

    repeat()
    serve(repeat, bm25s=bm25s.__version__)


flat(int(sys.argv[2])) if kind == "flat" else {"graph": graph, "words": words}[kind]()
