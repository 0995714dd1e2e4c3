"""Tokenizers as older folders hold them, without tokenizer.json: vocab.txt, vocab.json with merges.txt, SentencePiece models; with transformers' ids."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from transformers import AutoTokenizer

from fixture import LIMIT_BYTES, folder
from formats import SENTENCES, texts, wordpiece

FOLDER = "tokenizer-files"


def multilingual() -> list[str]:
    """Texts of many scripts, with what SentencePiece, byte fallback, dummy prefixes and added tokens are particular about."""
    more = [
        "▁", "▁a", "a▁b", "▁▁", " ▁ ", "<s>", "<s> a", "a <s>b", "</s>", "<unk>", "<0x41>", "<extra_id_0>", "a<extra_id_1> b <extra_id_2>c", "<mask>", "a <mask>", "<pad> a",
        "Ｈｅｌｌｏ　ｗｏｒｌｄ", "ﬁne ﬂow", "e\u0301te\u0301", "①②③", "ｶﾞｷﾞ", "ℌello", "x²", "…", "\u3000", "한국어를", "각", "ไทยไทย", "नमस्ते दुनिया", "Привет, мир!",
        "a\u2028b", "a\u0085b", "a\u00a0 b", "   leading", "trailing   ", "a  b   c    d", "\n\n a \n", "\ta\t", "🏳️‍🌈 flag", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢", "\U0001f9d1\u200d\U0001f4bb", "\u0627\u0644\u0644\u063a\u0629 \u0627\u0644\u0639\u0631\u0628\u064a\u0629",
        "[CLS] a [SEP]", "<|endoftext|>", "a<|endoftext|> b", "<|im_start|>user", "<special> a <special>b", "<plain>x <plain> y", "ÀÉ <Special>", "don't we'll I'M",
    ]  # fmt: skip
    return list(dict.fromkeys([*texts(), *more]))


def spm(kind: str, vocabulary: int, **options: object) -> bytes:
    out = io.BytesIO()
    sentences = [s for s in [*SENTENCES * 5, *texts(), *multilingual()] if s.strip() and "\0" not in s]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences), model_writer=out, model_type=kind, vocab_size=vocabulary, hard_vocab_limit=False,
        minloglevel=2, num_threads=1, **options,
    )  # fmt: skip
    # The rules are compiled into the model; where their file lay does not belong there.
    proto = sentencepiece_model_pb2.ModelProto.FromString(out.getvalue())
    proto.normalizer_spec.normalization_rule_tsv = ""
    return bytes(proto.SerializeToString())


RULES = [
    *[(chr(0xFF01 + i), chr(0x21 + i)) for i in range(94)], ("\u3000", " "), ("\u00a0", " "), ("\t", " "), ("\n", " "), ("ﬁ", "fi"), ("ﬂ", "fl"), ("①", "1"), ("②", "2"),
    ("e\u0301", "é"), ("…", "..."), ("ｶﾞ", "ガ"), ("\u200b", " "), ("²", "2"), ("\u1100\u1161\u11a8", "각"), ("ℌ", "H"), ("\u00ad", ""),
]  # fmt: skip


def rules(path: Path) -> str:
    """A few rules of NFKC and of what sentencepiece adds to it: the map of all has more bytes than a fixture may have."""
    code = lambda text: " ".join(f"{ord(c):X}" for c in text)  # noqa: E731
    path.write_text("".join(f"{code(a)}\t{code(b)}\n" for a, b in RULES))
    return str(path)


def byte_level(path: Path, specials: list[str]) -> None:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=specials, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator(SENTENCES * 3, trainer)
    tokenizer.model.save(str(path))


def config(path: Path, **values: object) -> None:
    (path / "tokenizer_config.json").write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n")


def model_type(path: Path, kind: str) -> None:
    (path / "config.json").write_text(json.dumps({"model_type": kind}) + "\n")


def write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def gpt2(path: Path) -> None:
    byte_level(path, ["<|endoftext|>"])
    config(path, tokenizer_class="GPT2Tokenizer", add_prefix_space=False, bos_token="<|endoftext|>", eos_token="<|endoftext|>", additional_special_tokens=["<special>"])
    write_json(path / "added_tokens.json", {"<plain>": 500, "<special>": 501})
    write_json(path / "special_tokens_map.json", {"unk_token": "<|endoftext|>"})


def gpt2_bos(path: Path) -> None:
    byte_level(path, ["<|endoftext|>"])
    config(path, tokenizer_class="GPT2TokenizerFast", add_prefix_space=True, add_bos_token=True, add_eos_token=True, pad_token="<pad>")


def roberta(path: Path) -> None:
    byte_level(path, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    model_type(path, "roberta")
    mask = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    write_json(path / "special_tokens_map.json", {"bos_token": "<s>", "mask_token": mask})


def qwen2(path: Path) -> None:
    byte_level(path, ["<|endoftext|>"])
    token = {"lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    names = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    decoder = {"0": {**token, "content": names[0]}, "500": {**token, "content": names[1]}, "501": {**token, "content": names[2]}}
    config(path, tokenizer_class="Qwen2Tokenizer", added_tokens_decoder=decoder, eos_token="<|im_end|>", pad_token=names[0], add_bos_token=False)


def wordpiece_vocabulary() -> list[str]:
    vocabulary = wordpiece().get_vocab()
    return sorted(vocabulary, key=vocabulary.get)


def bert(path: Path) -> None:
    (path / "vocab.txt").write_text("".join(f"{t}\n" for t in wordpiece_vocabulary()))
    model_type(path, "bert")


def bert_cased(path: Path) -> None:
    words = ["Hello", "HELLO", "À", "É", "é", "naïve", "café", "##é", "你", "好", "你好", "##好", "Σ", "##Σ", "<plain>"]
    (path / "vocab.txt").write_text("".join(f"{t}\n" for t in dict.fromkeys([*wordpiece_vocabulary(), *words])))
    config(path, tokenizer_class="BertTokenizer", do_lower_case=False, tokenize_chinese_chars=False, strip_accents=True)


def distilbert(path: Path) -> None:
    bert(path)
    model_type(path, "distilbert")
    config(path, tokenizer_class="DistilBertTokenizer", do_lower_case=True, strip_accents=False, model_max_length=512)


def llama(path: Path, **options: object) -> None:
    model = spm("bpe", 600, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False)
    (path / "tokenizer.model").write_bytes(model)
    config(path, tokenizer_class="LlamaTokenizer", **options)


def gemma(path: Path) -> None:
    model = spm(
        "bpe", 650, byte_fallback=True, normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, bos_piece="<bos>", eos_piece="<eos>", user_defined_symbols=["<mask>", "<plain>", "\n\n"],
    )  # fmt: skip
    (path / "tokenizer.model").write_bytes(model)
    config(path, tokenizer_class="GemmaTokenizer", add_bos_token=True, add_eos_token=False, bos_token="<bos>", eos_token="<eos>", pad_token="<pad>")


def t5(path: Path) -> None:
    name = rules(path / "rules.tsv")
    model = spm("unigram", 500, normalization_rule_tsv=name, pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    Path(name).unlink()
    (path / "spiece.model").write_bytes(model)
    model_type(path, "t5")


def xlm_roberta(path: Path) -> None:
    name = rules(path / "rules.tsv")
    model = spm("unigram", 500, normalization_rule_tsv=name, user_defined_symbols=["<plain>"])
    Path(name).unlink()
    (path / "sentencepiece.bpe.model").write_bytes(model)
    mask = {"content": "<mask>", "lstrip": True, "normalized": False, "rstrip": False, "single_word": False}
    config(path, tokenizer_class="XLMRobertaTokenizer", model_max_length=512)
    write_json(path / "special_tokens_map.json", {"mask_token": mask})


KINDS: dict[str, Callable[[Path], None]] = {
    "gpt2": gpt2,
    "gpt2-bos": gpt2_bos,
    "roberta": roberta,
    "qwen2": qwen2,
    "bert": bert,
    "bert-cased": bert_cased,
    "distilbert": distilbert,
    "llama": lambda path: llama(path, add_bos_token=True, add_eos_token=False, legacy=False),
    "llama-legacy": lambda path: llama(path, add_bos_token=True, add_eos_token=True, legacy=True),
    "llama-bare": lambda path: llama(path, add_prefix_space=False),
    "gemma": gemma,
    "t5": t5,
    "xlm-roberta": xlm_roberta,
}


def make() -> None:
    root = folder("formats", FOLDER)
    every = multilingual()
    golden: dict[str, object] = {}
    for name, build in KINDS.items():
        path = root / name
        path.mkdir()
        build(path)
        tokenizer = AutoTokenizer.from_pretrained(path)
        ids = [tokenizer(text)["input_ids"] for text in every]
        pair = tokenizer("a model", "learns", return_token_type_ids=True)
        golden[name] = {
            "vocab_size": len(tokenizer),
            "specials": {k: getattr(tokenizer, f"{k}_token_id") for k in ("bos", "eos", "pad", "unk", "cls", "sep", "mask")},
            "ids": ids,
            "bare": [tokenizer(text, add_special_tokens=False)["input_ids"] for text in every[:40]],
            "decoded": [tokenizer.decode(i, skip_special_tokens=True) for i in ids],
            "pair": [pair["input_ids"], pair["token_type_ids"]],
        }
        size = sum(f.stat().st_size for f in path.iterdir())
        if size > LIMIT_BYTES:
            raise ValueError(f"{path} has {size} bytes")
    write = {"maker": "tokenizer_files.py", "texts": every}
    (root / "texts.json").write_text(json.dumps(write, separators=(",", ":")) + "\n")
    for name, value in golden.items():
        (root / name / "golden.json").write_text(json.dumps(value, separators=(",", ":")) + "\n")


MAKERS = {"formats/tokenizer-files": make}
