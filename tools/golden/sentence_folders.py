"""sentence-transformers on folders that ask for other things than a mean: poolings, lengths, prompts, lower case, comparison."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

from sentence_transformers import SentenceTransformer
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from fixture import ROOT, Array, folder, prefixed, write_json, write_tensors

MODEL = ROOT / "packages/models/test/golden/bert-encoder"
WORDS = "[PAD] [CLS] [SEP] [UNK] the a cat dog sat ran on mat road home of is in Ada Bo Cy Paris Rome Oslo red blue green one two three query: passage: Σ σ".split()
TEXTS = ["the cat sat on the mat", "Rome", "a dog ran home to Paris in two blue green red one", "red Σ cat", ""]

# Case → what stands in the pooling's config, sentence_bert_config.json, config_sentence_transformers.json, and whether vectors are normalised.
Json = dict[str, object]
CASES: dict[str, tuple[Json, Json, Json, bool]] = {
    "cls": ({"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}, {"max_seq_length": 6}, {}, True),
    "mean": ({"pooling_mode_mean_tokens": True}, {"max_seq_length": 64}, {}, False),
    "no word": ({}, {}, {}, False),
    "max": ({"pooling_mode_max_tokens": True}, {"max_seq_length": 64}, {}, False),
    "mean over the root": ({"pooling_mode_mean_sqrt_len_tokens": True}, {"max_seq_length": 64}, {}, False),
    "weighted": ({"pooling_mode_weightedmean_tokens": True}, {"max_seq_length": 7}, {}, True),
    "last": ({"pooling_mode_lasttoken": True}, {"max_seq_length": 64}, {}, False),
    "several": ({"pooling_mode_mean_tokens": True, "pooling_mode_cls_token": True, "pooling_mode_max_tokens": True}, {"max_seq_length": 64}, {}, True),
    "named": ({"pooling_mode": "lasttoken"}, {"max_seq_length": 64}, {}, False),
    "named, several": ({"pooling_mode": ["max", "cls"]}, {"max_seq_length": 64}, {}, False),
    "lower case": ({"pooling_mode_mean_tokens": True}, {"max_seq_length": 64, "do_lower_case": True}, {}, False),
    "prompts": ({"pooling_mode_mean_tokens": True}, {"max_seq_length": 64}, {"prompts": {"query": "query: ", "document": "passage: "}}, True),
    "a prompt of queries": ({"pooling_mode_mean_tokens": True}, {"max_seq_length": 64}, {"prompts": {"query": "query: "}, "default_prompt_name": None}, True),
    "a prompt of queries by default": ({"pooling_mode_mean_tokens": True}, {"max_seq_length": 64}, {"prompts": {"query": "query: "}, "default_prompt_name": "query"}, True),
}  # fmt: skip


def save_tokenizer(path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:4]])
    special = [("[CLS]", 1), ("[SEP]", 2)]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=special)
    tokenizer.save(str(path / "tokenizer.json"), pretty=False)
    names = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"}
    write_json(path / "tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 9, **names})


def write_modules(path: Path, pooling: Json, transformer: Json, whole: Json, normalise: bool) -> None:
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    paths = ["", "1_Pooling", "2_Normalize"]
    write_json(path / "modules.json", [{"idx": i, "name": str(i), "path": paths[i], "type": f"sentence_transformers.models.{kind}"} for i, kind in enumerate(kinds)])
    for i in range(1, len(kinds)):
        (path / paths[i]).mkdir()
    write_json(path / "1_Pooling" / "config.json", {"word_embedding_dimension": 32, **pooling})
    write_json(path / "sentence_bert_config.json", transformer)
    if whole:
        write_json(path / "config_sentence_transformers.json", whole)


def make_sentence_folders() -> None:
    path = folder("models", "sentence-folders")
    save_tokenizer(path)
    cases: list[Json] = []
    tensors: dict[str, Array] = {}
    for name, (pooling, transformer, whole, normalise) in CASES.items():
        with TemporaryDirectory() as scratch:
            copy = Path(scratch)
            for file in (MODEL / "config.json", MODEL / "model.safetensors", path / "tokenizer.json", path / "tokenizer_config.json"):
                shutil.copy(file, copy)
            write_modules(copy, pooling, transformer, whole, normalise)
            model = SentenceTransformer(str(copy), device="cpu")
            out = {
                "plain": model.encode(TEXTS, prompt=""),
                "query": model.encode_query(TEXTS),
                "document": model.encode_document(TEXTS),
            }
            tensors |= prefixed(f"{len(cases)}/out", out)
            cases.append({"name": name, "pooling": pooling, "transformer": transformer, "whole": whole, "normalise": normalise})
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "sentence_folders.py",
            "model": "packages/models/test/golden/bert-encoder",
            "in": "texts; files of the folder beside the model",
            "out": "by the case's number: vectors f32[texts, dimension] of the texts as nothing in particular, as queries and as documents",
            "tolerance": 1e-4,
            "texts": TEXTS,
            "cases": cases,
        },
    )


MAKERS = {"models/sentence-folders": make_sentence_folders}
