"""Fixtures of the file formats: adapters that PEFT saved, with the weight changes they mean; tokenizers with the ids they give."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from peft import (
    IA3Config,
    LoraConfig,
    PeftConfig,
    PeftModel,
    PrefixTuningConfig,
    PromptTuningConfig,
    VeraConfig,
    get_peft_model,
)
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification, PreTrainedModel, PreTrainedTokenizerFast

from architectures import bert_config, built, gpt2, llama
from fixture import ROOT, folder, write_json, write_tensors


def bert_classifier() -> BertForSequenceClassification:
    config: BertConfig = bert_config()
    config.num_labels = 3
    return built(BertForSequenceClassification, config, seed=5)


@dataclass(frozen=True)
class AdapterCase:
    base: Callable[[], PreTrainedModel]
    config: PeftConfig


ADAPTERS = {
    "lora-llama": AdapterCase(llama, LoraConfig(r=4, lora_alpha=6, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM")),
    "lora-gpt2": AdapterCase(
        gpt2,
        LoraConfig(r=2, lora_alpha=8, target_modules=["c_attn", "wte"], fan_in_fan_out=True, task_type="CAUSAL_LM"),
    ),
    "lora-patterns": AdapterCase(
        llama,
        LoraConfig(
            r=4, lora_alpha=8, use_rslora=True, target_modules=["q_proj", "o_proj", "down_proj"],
            rank_pattern={"down_proj": 6, r"layers\.0\.self_attn\.q_proj": 2}, alpha_pattern={"o_proj": 3},
            task_type="CAUSAL_LM",
        ),
    ),
    "lora-classifier": AdapterCase(
        bert_classifier,
        LoraConfig(r=3, target_modules=["query", "value"], bias="lora_only", modules_to_save=["classifier"], task_type="SEQ_CLS"),
    ),
    "dora-llama": AdapterCase(llama, LoraConfig(r=2, lora_alpha=4, use_dora=True, target_modules=["k_proj", "up_proj"])),
    "ia3-llama": AdapterCase(llama, IA3Config(target_modules=["k_proj", "down_proj"], feedforward_modules=["down_proj"])),
    "vera-llama": AdapterCase(llama, VeraConfig(r=4, target_modules=["q_proj"])),
    "prompt-llama": AdapterCase(llama, PromptTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
    "prompt-classifier": AdapterCase(bert_classifier, PromptTuningConfig(num_virtual_tokens=2, task_type="SEQ_CLS")),
    "prefix-llama": AdapterCase(llama, PrefixTuningConfig(num_virtual_tokens=3, task_type="CAUSAL_LM")),
}  # fmt: skip


def adapted(case: AdapterCase, seed: int = 40) -> PeftModel:
    """The model with an adapter of random values, those that start at zero included."""
    torch.manual_seed(seed)
    model = get_peft_model(case.base(), case.config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for _, parameter in sorted(model.named_parameters()):
            if parameter.requires_grad:
                parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return model


def sort_targets(path: Path) -> None:
    """PEFT writes sets in the order of their hashes, which differs from run to run."""
    config = json.loads(path.read_text())
    for key in ("target_modules", "feedforward_modules"):
        if isinstance(config.get(key), list):
            config[key].sort()
    path.write_text(json.dumps(config, indent=2, sort_keys=True))


def make_adapters() -> None:
    path = folder("formats", "peft")
    scalings: dict[str, dict[str, float]] = {}
    changes: dict[str, torch.Tensor] = {}
    for name, case in ADAPTERS.items():
        model = adapted(case)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.save_pretrained(path / name, save_embedding_layers=False)
        (path / name / "README.md").unlink(missing_ok=True)
        sort_targets(path / name / "adapter_config.json")
        if case.config.peft_type.value != "LORA":
            continue
        scalings[name] = {}
        for module_path, module in model.get_base_model().named_modules():
            if hasattr(module, "lora_A") and hasattr(module, "get_delta_weight"):
                scalings[name][module_path] = module.scaling["default"]
                changes[f"{name}/{module_path}"] = module.get_delta_weight("default")
    write_tensors(path / "changes.safetensors", changes)
    write_json(
        path / "golden.json",
        {
            "maker": "formats.py",
            "scalings": scalings,
            "changes.safetensors": "ADAPTER/MODULE: what PEFT adds to the module's weight, in the layout of that weight",
        },
    )


SENTENCES = [
    "the quick brown fox jumps over the lazy dog", "a model learns from another model", "Hello, world! How are you today?",
    "tokens are pieces of words, not words", "naïve café über straße señor", "it's John's dog; they've gone, haven't they?",
    "learning learned learner learns unlearned", "low lower lowest new newer newest wide wider widest",
    "1 12 123 1234 3.14 1,000,000 2024-01-01", "to be or not to be, that is the question",
]  # fmt: skip


def texts() -> list[str]:
    """Plain, spaced, accented, mixed scripts, emoji, controls, specials, numbers, code, long words; about 200."""
    hard = [
        "", " ", "  ", "\n", "\t", "a", " a", "a ", "  a  b  ", "a\nb", "a\r\nb", "a\tb", "\u00a0a\u00a0b", "a\u2009b", "a\u3000b",
        "Hello", "HELLO", "hElLo", "ÀÉÎÕÜ", "àéîõü", "e\u0301", "ﬁ ﬂ", "Å Å", "İstanbul", "ß ẞ", "ǅ",
        "你好", "你好 world", "日本語のテキスト", "한국어 텍스트", "漢字かな交じり文", "𠀀𠀁", "ไทย", "العربية", "עברית", "हिन्दी", "ру́сский",
        "😀", "😀😃", "👍🏽", "👩‍👩‍👧", "🇩🇪", "a😀b", "😀 a", "⌚️", "\ufe0f", "\u200d", "\u200b", "a\u200bb", "\u00ad", "\ufeffx",
        "\x00", "a\x00b", "\x01\x02", "\x7f", "\ufffd", "[CLS]", "[SEP] a", "a [MASK] b", "[UNK]", "[PAD]", "[cls]", "[ CLS ]",
        "<s>", "</s>", "a<s>b", "<pad>", "<unk>", "< s >", "<|endoftext|>", "a <mask> b",
        "don't", "DON'T", "we'll they're I'd I'm you've", "''", "'s", "rock'n'roll", "…", "...", "!!!", "?!?!", "a--b", "a—b", "“q”", "‘q’",
        "a_b", "a-b", "a/b\\c", "x=y+z*2", "f(x)[0]{1}", "#tag @user", "a@b.example", "http://example.com/a?b=c&d=e", "$1,234.50", "50%", "½ ² №", "¿Qué?",
        "x" * 50, "x" * 99, "x" * 100, "x" * 101, "x" * 200, "ab" * 60, "z" * 30 + " " + "q" * 30, "the" * 20,
        "0", "007", "1e-5", "0x1F", "123456789012345678901234567890", "١٢٣", "Ⅳ", "①",
        "def f(x):\n    return x + 1\n", "    indented", "{\"a\": [1, 2]}", "<html>&amp;</html>", "a\n\nb\n\n\nc", "tabs\t\tand  spaces",
        "unaffable", "unwanted running", "internationalization", "supercalifragilisticexpialidocious", "antidisestablishmentarianism",
        "~`^|", "·•‣", "→←↑↓", "∑∏√∞≠", "αβγ ΔΣΩ", "ΟΔΟΣ ΣΑΣ Σ", "ℝⁿ", "ｆｕｌｌ ｗｉｄｔｈ", "Ｈｅｌｌｏ", "①②③", "\u0300", "a\u0300\u0301", "q̃",
    ]  # fmt: skip
    mixed = [f"{a.split()[0]} {b} {c}" for a, b, c in zip(SENTENCES, hard[30:40], reversed(hard), strict=False)]
    return [*hard, *SENTENCES, *[s.upper() for s in SENTENCES], *[s.title() for s in SENTENCES], *mixed, *[f" {s}\n" for s in SENTENCES]]


def wordpiece() -> PreTrainedTokenizerFast:
    """A vocabulary of characters, words and endings, put together by hand: the trainer breaks ties differently from run to run."""
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    normalizer, pre_tokenizer = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    words = [w for text in texts() for w, _ in pre_tokenizer.pre_tokenize_str(normalizer.normalize_str(text)) if len(w) < 30]
    letters = sorted({c for w in words for c in w})
    frequent = sorted({w for w in words if words.count(w) > 3 and len(w) > 1})
    endings = sorted({w[i:] for w in frequent for i in range(1, len(w) - 1)})
    pieces = [*specials, *letters, *frequent, *[f"##{c}" for c in letters if c.isalnum()], *[f"##{e}" for e in endings]]
    vocabulary = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    tokenizer = Tokenizer(models.WordPiece(vocab=vocabulary, unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, pre_tokenizer
    tokenizer.decoder = decoders.WordPiece(prefix="##")
    tokenizer.add_special_tokens(specials)
    ids = [("[CLS]", tokenizer.token_to_id("[CLS]")), ("[SEP]", tokenizer.token_to_id("[SEP]"))]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=ids
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]",
        mask_token="[MASK]", clean_up_tokenization_spaces=False,
    )  # fmt: skip


def train_byte_bpe() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([*SENTENCES * 3, *texts()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> $B:1 </s>:1", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="<pad>",
        clean_up_tokenization_spaces=False,
    )  # fmt: skip


def tokenizer_golden(tokenizer: PreTrainedTokenizerFast) -> dict[str, object]:
    """What transformers gives for every text: ids, text of the ids; a padded and cut batch; pairs."""
    every = texts()
    first, second = every[-50:-40] + ["", "a"], every[-10:] + ["b", ""]
    batch = tokenizer(every[-30:], padding=True, truncation=True, max_length=9, return_token_type_ids=True)
    pairs = tokenizer(first, second, padding=True, return_token_type_ids=True)
    cut = {str(n): tokenizer(first, second, padding=True, truncation=True, max_length=n, return_token_type_ids=True) for n in (7, 12)}
    keep = lambda e: {"tokens": e["input_ids"], "mask": e["attention_mask"], "segments": e["token_type_ids"]}  # noqa: E731
    return {
        "vocab_size": len(tokenizer),
        "ids": [[text, tokenizer(text)["input_ids"]] for text in every],
        "bare": [[text, tokenizer(text, add_special_tokens=False)["input_ids"]] for text in every[:60]],
        "decoded": [tokenizer.decode(tokenizer(text)["input_ids"]) for text in every],
        "decoded_plain": [tokenizer.decode(tokenizer(text)["input_ids"], skip_special_tokens=True) for text in every],
        "batch": {"texts": every[-30:], "max_length": 9, **keep(batch)},
        "pairs": {"first": first, "second": second, **keep(pairs), "cut": {n: keep(e) for n, e in cut.items()}},
    }


def make_tokenizer(name: str, tokenizer: PreTrainedTokenizerFast) -> None:
    path: Path = folder("formats", name)
    tokenizer.save_pretrained(path)
    golden = json.dumps(tokenizer_golden(tokenizer), ensure_ascii=True, separators=(",", ":"))
    (path / "golden.json").write_text(golden + "\n")


def make_minilm_ids() -> None:
    """Ids by the tokenizer of all-MiniLM-L6-v2 in LFM_MODELS: numbers only, the tokenizer itself is not copied."""
    models_folder = os.environ.get("LFM_MODELS")
    if not models_folder:
        print("left as it is: formats/minilm-ids (LFM_MODELS is not set)", flush=True)
        return
    tokenizer = AutoTokenizer.from_pretrained(Path(models_folder) / "all-MiniLM-L6-v2")
    every = texts()
    cut = tokenizer(every, padding=True, truncation=True, max_length=16)["input_ids"]
    pairs = [(a, b, tokenizer(a, b, truncation=False)) for a, b in zip(every[-20:], every[-40:-20], strict=True)]
    golden = {
        "ids": [[text, tokenizer(text, truncation=False)["input_ids"]] for text in every],
        "cut": {"max_length": 16, "tokens": cut},
        "pairs": [[a, b, e["input_ids"], e["token_type_ids"]] for a, b, e in pairs],
    }
    path = ROOT / "packages/formats/test/golden/minilm-ids.json"
    path.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


MAKERS = {
    "formats/minilm-ids": make_minilm_ids,
    "formats/peft": make_adapters,
    "formats/wordpiece": lambda: make_tokenizer("wordpiece", wordpiece()),
    "formats/byte-bpe": lambda: make_tokenizer("byte-bpe", train_byte_bpe()),
}
