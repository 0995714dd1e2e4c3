"""Golden values for @lfm/retrieval from Lucene, trec_eval and transformers.

  ANSERINI_JAR=anserini-0.22.1-fatjar.jar python tools/golden/retrieval.py words
  ANSERINI_JAR=… python tools/golden/retrieval.py models
  python tools/golden/retrieval.py measures                     (needs pytrec_eval-terrier 0.5.11)
  LFM_DATA=… LFM_MODELS=… ANSERINI_JAR=… python tools/golden/retrieval.py scifact

The jar is part of the PyPI package pyserini 0.22.1; Java 17 runs it. Of SciFact only ids, scores and figures are stored.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
FOLDER = HERE.parents[1] / "packages" / "retrieval" / "test" / "golden"
K1, B = 0.9, 0.4


def write(name: str, value: object) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / name
    path.write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")
    print(f"made {name}: {path.stat().st_size} bytes")


def lucene(*arguments: str, stdin: str | None = None) -> str:
    command = ["java", "-cp", os.environ["ANSERINI_JAR"], str(HERE / "lucene" / "LuceneBm25.java"), *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, check=True, encoding="utf-8").stdout


def analyze(texts: list[str]) -> list[list[str]]:
    lines = lucene("analyze", stdin="".join(escaped(t) + "\n" for t in texts)).split("\n")
    return [line.split("\t") if line else [] for line in lines[: len(texts)]]


def escaped(text: str) -> str:
    return text.replace("\r", "\x01").replace("\n", "\x01").replace("\t", " ")


def search(documents: dict[str, str], queries: dict[str, str], k: int) -> dict[str, list[list[object]]]:
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for name, texts in (("documents", documents), ("queries", queries)):
            path = Path(folder) / name
            path.write_text("".join(f"{i}\t{escaped(t)}\n" for i, t in texts.items()), encoding="utf-8")
            paths.append(str(path))
        out = lucene("search", *paths, str(K1), str(B), str(k))
    run: dict[str, list[list[object]]] = {}
    for line in out.splitlines():
        query, _, document, _, score, _ = line.split()
        run.setdefault(query, []).append([document, float(score)])
    return run


def words() -> None:
    lines = (HERE / "lucene" / "tricky.txt").read_text(encoding="utf-8").splitlines()
    write("lucene-analysis.json", [{"text": t, "terms": terms} for t, terms in zip(lines, analyze(lines))])
    rng = random.Random(7)
    stems = ["relat", "model", "form", "act", "depend", "hope", "connect", "adjust", "nation", "sens", "operat", "learn"]
    endings = ["", "s", "ed", "ing", "ion", "ions", "al", "able", "ive", "ness", "ment", "er", "'s"]
    glue = ["the", "of", "and", "to", "is", "with", "a"]
    word = lambda: rng.choice(glue) if rng.random() < 0.3 else rng.choice(stems) + rng.choice(endings)
    text = lambda n: " ".join(word() for _ in range(n))
    documents = {f"d{i:03d}": text(rng.choice([0, 1, 3, 10, 30, 60, 90, 300])) for i in range(150)}
    queries = {f"q{i:02d}": text(rng.randint(1, 9)) for i in range(30)}
    write("lucene-bm25.json", {"k1": K1, "b": B, "documents": documents, "queries": queries, "run": search(documents, queries, 20)})


def models() -> None:
    """Lucene's language models and combined fields and Anserini's RM3, over made words of very different frequencies."""
    rng = random.Random(13)
    vocabulary = [a + b + c for a in "bdfg" for b in "aeiou" for c in "lmnr"]
    word = lambda: vocabulary[min(int(rng.paretovariate(0.9)) - 1 + rng.randrange(3), len(vocabulary) - 1)]
    text = lambda n: " ".join(word() for _ in range(n))
    documents = {f"d{i:03d}": (text(rng.choice([0, 1, 2, 5])), text(rng.choice([0, 3, 12, 30, 45, 70, 120]))) for i in range(120)}
    queries = {f"q{i:02d}": text(rng.randint(1, 5)) for i in range(16)}
    with tempfile.TemporaryDirectory() as folder:
        docs, asked = Path(folder) / "docs", Path(folder) / "queries"
        docs.write_text("".join(f"{i}\t{title}\t{body}\n" for i, (title, body) in documents.items()))
        asked.write_text("".join(f"{i}\t{q}\n" for i, q in queries.items()))
        command = ["java", "-cp", os.environ["ANSERINI_JAR"], str(HERE / "lucene" / "LuceneModels.java"), str(docs), str(asked), "12"]
        out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found: dict[str, dict[str, list[list[object]]]] = {}
    for line in out.splitlines():
        if len(line.split()) != 5:
            continue
        model, query, _, document, score = line.split()
        found.setdefault(model, {}).setdefault(query, []).append([document, float(score)])
    write("lucene-models.json", {"documents": documents, "queries": queries, "found": found})


def measures() -> None:
    import pytrec_eval

    rng = random.Random(11)
    qrels, run = {}, {}
    for q in range(25):
        judged = rng.sample(range(60), 20)
        qrels[f"q{q}"] = {f"d{d}": rng.choice([-1, 0, 0, 1, 1, 2, 3]) for d in judged}
        found = rng.sample(range(60), rng.choice([0, 1, 5, 30, 60]))
        # Few distinct scores: ties decide.
        run[f"q{q}"] = {f"d{d}": rng.randint(0, 6) / 4 for d in found}
    qrels["q24"] = {"d1": 0}
    run["only-found"] = {"d1": 1.0}
    qrels["only-judged"] = {"d1": 1}
    run = {q: hits for q, hits in run.items() if hits}
    wanted = {"ndcg_cut.3,10", "ndcg", "recall.5,100", "P.5", "map", "map_cut.10", "recip_rank"}
    values = pytrec_eval.RelevanceEvaluator(qrels, wanted).evaluate(run)
    write("trec-eval.json", {"qrels": qrels, "run": run, "values": values})


def scifact() -> None:
    import pytrec_eval

    data = Path(os.environ["LFM_DATA"]) / "scifact"
    rows = [json.loads(line) for line in gzip.open(data / "corpus.jsonl.gz", "rt", encoding="utf-8")]
    documents = {r["_id"]: f"{r['title']} {r['text']}" if r["title"] else r["text"] for r in rows}
    queries = dict(line.rstrip("\n").split("\t", 1) for line in gzip.open(data / "topics.test.tsv.gz", "rt", encoding="utf-8"))
    qrels: dict[str, dict[str, int]] = {}
    for line in open(data / "qrels.test.txt", encoding="utf-8"):
        query, _, document, grade = line.split()
        qrels.setdefault(query, {})[document] = int(grade)

    def figures(run: dict[str, dict[str, float]]) -> dict[str, float]:
        per = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10", "recall.100", "map", "recip_rank"}).evaluate(run)
        return {m: sum(v[m] for v in per.values()) / len(per) for m in ("ndcg_cut_10", "recall_100", "map", "recip_rank")}

    found = search(documents, queries, 1000)
    terms = "".join("\t".join(t) + "\n" for t in analyze(list(documents.values())))
    write(
        "scifact-lucene.json",
        {
            "termsSha256": hashlib.sha256(terms.encode()).hexdigest(),
            "figures": figures({q: {d: s for d, s in hits} for q, hits in found.items()}),
            "top10": {q: hits[:10] for q, hits in found.items()},
        },
    )
    write("scifact-minilm.json", {"model": "all-MiniLM-L6-v2", "maxLength": 256, "figures": figures(minilm(documents, queries))})


def minilm(documents: dict[str, str], queries: dict[str, str]) -> dict[str, dict[str, float]]:
    """Mean pooling and unit length, as sentence-transformers; 256 tokens, as the model's sentence_bert_config.json says."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    folder = Path(os.environ["LFM_MODELS"]) / "all-MiniLM-L6-v2"
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    @torch.no_grad()
    def encode(texts: list[str]) -> torch.Tensor:
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        out = torch.empty(len(texts), model.config.hidden_size)
        for at in range(0, len(order), 32):
            part = order[at : at + 32]
            batch = tokenizer([texts[i] for i in part], padding=True, truncation=True, max_length=256, return_tensors="pt")
            mask = batch["attention_mask"].unsqueeze(-1).float()
            hidden = model(**batch).last_hidden_state
            out[part] = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)
        return out

    ids = list(documents)
    scores = encode(list(queries.values())) @ encode(list(documents.values())).T
    best = scores.topk(1000, dim=1)
    return {
        q: {ids[int(d)]: float(s) for s, d in zip(values, places)} for q, values, places in zip(queries, best.values, best.indices)
    }


if __name__ == "__main__":
    for name in sys.argv[1:] or ["words", "models", "measures", "scifact"]:
        {"words": words, "models": models, "measures": measures, "scifact": scifact}[name]()
