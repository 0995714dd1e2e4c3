"""transformers' `generate` by what a model folder says: its tokenizer's post-processor, generation_config.json, config.json."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from fixture import LIMIT_BYTES, folder, spread_parameters, write_json

WORDS = "<pad> <s> </s> <unk> the a cat dog sat ran on mat road home of is in Ada Bo Cy Paris Rome Oslo red blue green one two three four five good bad fine poor".split()
PROMPTS = ("the cat sat on", "the home of Ada is", "red blue red blue red")

# Case → what generation_config.json says (None: there is no such file), and whether the tokenizer puts <s> in front.
CASES: dict[str, tuple[dict[str, object] | None, bool]] = {
    "bos is only named": (None, False),
    "bos is put in front": (None, True),
    "a list of ends": ({"eos_token_id": [2, 29, 18, 27]}, True),
    "ends without the tokenizer's own": ({"eos_token_id": [29]}, False),
    "a file that names no end": ({"max_new_tokens": 12}, True),
    "new tokens": ({"eos_token_id": 2, "max_new_tokens": 5}, True),
    "tokens in all": ({"eos_token_id": 2, "max_length": 9}, True),
    "settings of sampling without sampling": ({"eos_token_id": 2, "temperature": 0.3, "top_k": 3, "top_p": 0.4, "min_p": 0.1, "typical_p": 0.9}, True),
    "sampling that has one choice": ({"eos_token_id": 2, "do_sample": True, "top_k": 1, "temperature": 1.7}, True),
    "neutral values": ({"eos_token_id": 2, "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "guidance_scale": 1.0, "num_beams": 1, "num_return_sequences": 1, "suppress_tokens": None, "renormalize_logits": False, "use_cache": True}, True),
    "repetition penalty": ({"eos_token_id": 2, "repetition_penalty": 1.4}, True),
    "a bonus for repetition": ({"eos_token_id": 2, "repetition_penalty": 0.8}, False),
    "no pair of tokens twice": ({"eos_token_id": 2, "no_repeat_ngram_size": 2}, True),
    "no token twice": ({"eos_token_id": 2, "no_repeat_ngram_size": 1, "max_new_tokens": 12}, False),
    "suppressed tokens": ({"eos_token_id": 2, "suppress_tokens": [18, 29, 27, 22], "begin_suppress_tokens": [4, 5]}, True),
    "ends that may not come yet": ({"eos_token_id": [2, 29, 18, 27], "min_new_tokens": 6}, True),
    "ends that may not come yet, by the length of all": ({"eos_token_id": [2, 29, 18, 27], "min_length": 9}, True),
    "three beams": ({"eos_token_id": [2, 29], "num_beams": 3, "length_penalty": 0.5, "early_stopping": True}, True),
    "three beams with a penalty": ({"eos_token_id": 2, "num_beams": 3, "repetition_penalty": 1.3, "max_new_tokens": 10}, False),
}  # fmt: skip


def save_tokenizer(path: Path, template: bool) -> None:
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.add_special_tokens([AddedToken(word, special=True) for word in WORDS[:4]])
    if template:
        tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", 1)])
    tokenizer.save(str(path / "tokenizer.json"), pretty=False)
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
    write_json(path / "tokenizer_config.json", config | {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"})


def continuation(path: Path, prompt: str) -> dict[str, object]:
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    ids = tokenizer(prompt, return_tensors="pt").input_ids
    torch.manual_seed(0)
    with torch.inference_mode():
        out = model.generate(ids, attention_mask=torch.ones_like(ids), pad_token_id=0, tokenizer=tokenizer)
    new = out[0, ids.shape[1] :].tolist()
    ends = model.generation_config.eos_token_id
    kept = new[:-1] if new and new[-1] in (ends if isinstance(ends, list) else [ends]) else new
    return {"prompt": prompt, "ids": ids[0].tolist(), "tokens": new, "text": tokenizer.decode(kept, skip_special_tokens=True)}


def mean_loss(path: Path, texts: tuple[str, ...]) -> float:
    """Of all tokens but the first of each text, which the tokenizer begins and an end-of-text token closes."""
    tokenizer = AutoTokenizer.from_pretrained(path)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32).eval()
    losses = []
    for text in texts:
        ids = torch.tensor([[*tokenizer(text).input_ids, tokenizer.eos_token_id]])
        with torch.inference_mode():
            losses.append(torch.nn.functional.cross_entropy(model(ids).logits[0, :-1], ids[0, 1:], reduction="none"))
    return float(torch.cat(losses).mean())


def make_text() -> None:
    path = folder("models", "text")
    config = LlamaConfig(
        vocab_size=len(WORDS), hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, bos_token_id=1, eos_token_id=2, pad_token_id=0,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    spread_parameters(model, seed=21, std=0.5, embedding_std=1.0)
    model.save_pretrained(path)
    (path / "generation_config.json").unlink()
    save_tokenizer(path, template=True)
    size = (path / "model.safetensors").stat().st_size
    if size > LIMIT_BYTES:
        raise ValueError(f"the model has {size} bytes")
    cases = []
    losses = {}
    for name, (generation, template) in CASES.items():
        with TemporaryDirectory() as scratch:
            copy = Path(scratch)
            for file in ("config.json", "model.safetensors"):
                (copy / file).write_bytes((path / file).read_bytes())
            save_tokenizer(copy, template)
            if generation is None:
                losses["template" if template else "plain"] = mean_loss(copy, PROMPTS)
            else:
                write_json(copy / "generation_config.json", generation)
            cases.append({"name": name, "template": template, "generation": generation, "out": [continuation(copy, p) for p in PROMPTS]})
    write_json(
        path / "golden.json",
        {
            "maker": "text.py",
            "in": "a folder with this generation_config.json (null: none) whose tokenizer puts <s> in front where `template` is true",
            "out": "ids of the prompt, new tokens (the end that came with them) and their text without that end and special tokens, as transformers' generate gives them with no argument",
            "loss": "mean over all tokens of the prompts but the first, closed by </s>, with <s> in front (template) or not (plain)",
            "tolerance": {"tokens": "equal", "loss": 1e-4},
            "losses": losses,
            "cases": cases,
        },
    )


MAKERS = {"models/text": make_text}
