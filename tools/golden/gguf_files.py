"""GGUF files: blocks of every type with the values that the `gguf` package gives, small models in llama.cpp's layout, vocabularies with their ids."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import gguf
import numpy as np
import sentencepiece
import torch
from gguf import GGMLQuantizationType as Q
from safetensors.numpy import save_file
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    Gemma2Config,
    Gemma2ForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GemmaConfig,
    GemmaForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from architectures import VOCABULARY, built, gpt2, llama, mixtral, qwen2, separate_experts
from fixture import LIMIT_BYTES, folder, tokens, write_json, write_tensors
from formats import SENTENCES, texts

TYPES = [Q.F32, Q.F16, Q.BF16, Q.Q4_0, Q.Q4_1, Q.Q5_0, Q.Q5_1, Q.Q8_0, Q.Q2_K, Q.Q3_K, Q.Q4_K, Q.Q5_K, Q.Q6_K]
# Where the halves of a block that scale it begin.
SCALES = {
    Q.Q4_0: [0], Q.Q4_1: [0, 2], Q.Q5_0: [0], Q.Q5_1: [0, 2], Q.Q8_0: [0],
    Q.Q2_K: [80, 82], Q.Q3_K: [108], Q.Q4_K: [0, 2], Q.Q5_K: [0, 2], Q.Q6_K: [208],
}  # fmt: skip
EXTREMES = [0.0, -0.0, 6e-8, -6e-8, 6.1e-5, 65504.0, -65504.0, 1.0, float("inf")]
RANDOM_BLOCKS = 512


def random_bytes(seed: int, count: int) -> np.ndarray:
    """The upper byte of x ← (1664525·x + 1013904223) mod 2³²."""
    out = np.empty(count, np.uint8)
    for i in range(count):
        seed = (1664525 * seed + 1013904223) % 2**32
        out[i] = seed >> 24
    return out


def dequantized(data: np.ndarray, kind: Q) -> np.ndarray:
    with np.errstate(all="ignore"):
        values = gguf.quants.dequantize(data, kind) if kind != Q.F32 else data.view(np.float32)
    # One NaN for all: payloads are nobody's promise.
    return np.where(np.isnan(values), np.float32(np.nan), values).astype(np.float32)


def make_blocks() -> None:
    path = folder("formats", "gguf-blocks")
    shown: dict[str, np.ndarray] = {}
    random: dict[str, object] = {}
    for kind in TYPES:
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        many = RANDOM_BLOCKS * max(1, 32 // elements)
        blocks = random_bytes(int(kind) + 1, many * size).reshape(many, size)
        values = dequantized(blocks, kind)
        random[kind.name] = {"seed": int(kind) + 1, "blocks": many, "sha256": hashlib.sha256(values.tobytes()).hexdigest()}
        if kind not in SCALES:
            continue
        extreme = blocks[: len(EXTREMES)].copy()
        for i, value in enumerate(EXTREMES):
            for k, at in enumerate(SCALES[kind]):
                half = np.float16(value if k == 0 else EXTREMES[(i + 1) % len(EXTREMES)])
                extreme[i, at : at + 2] = np.frombuffer(half.tobytes(), np.uint8)
        shown[f"{kind.name}/bytes"] = extreme.reshape(-1)
        shown[f"{kind.name}/values"] = dequantized(extreme, kind).reshape(-1)
    save_file(shown, path / "extremes.safetensors")
    if (path / "extremes.safetensors").stat().st_size > LIMIT_BYTES:
        raise ValueError("the blocks are too many")
    write_json(path / "golden.json", {"maker": "gguf_files.py", "random": random})


# Models


def llama3() -> LlamaForCausalLM:
    rope = {
        "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }  # fmt: skip
    config = LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=True, attention_bias=True,
        rope_parameters={**rope, "rope_theta": 1e6}, bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return built(LlamaForCausalLM, config, seed=11)


def qwen3() -> Qwen3ForCausalLM:
    config = Qwen3Config(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, head_dim=16, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=False,
        rope_parameters={"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 1e4},
    )  # fmt: skip
    return built(Qwen3ForCausalLM, config, seed=12)


def gemma_sizes(**more: object) -> dict[str, object]:
    return {
        "vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 64, "rms_norm_eps": 1e-6, **more,
    }  # fmt: skip


def gemma() -> GemmaForCausalLM:
    return built(GemmaForCausalLM, GemmaConfig(**gemma_sizes()), seed=13)


def gemma2() -> Gemma2ForCausalLM:
    return built(Gemma2ForCausalLM, Gemma2Config(**gemma_sizes(query_pre_attn_scalar=16, sliding_window=4)), seed=14)


def gemma3() -> Gemma3ForCausalLM:
    config = Gemma3TextConfig(**gemma_sizes(num_hidden_layers=6, query_pre_attn_scalar=16, sliding_window=4, intermediate_size=32))
    return built(Gemma3ForCausalLM, config, seed=15)


@dataclass(frozen=True)
class ModelCase:
    build: Callable[[], PreTrainedModel]
    arch: gguf.MODEL_ARCH
    # config.json as it has to come out, beside what every one has.
    config: dict[str, object]
    # Types of matrices in turn; F32 where there is none.
    types: list[Q] = field(default_factory=list)


MODELS = {
    "gpt2": ModelCase(gpt2, gguf.MODEL_ARCH.GPT2, {"model_type": "gpt2", "n_inner": 64, "tie_word_embeddings": True}),
    "llama": ModelCase(
        llama, gguf.MODEL_ARCH.LLAMA, {"model_type": "llama", "rope_theta": 500, "rms_norm_eps": 1e-5, "tie_word_embeddings": False},
        types=[Q.Q8_0, Q.F16, Q.BF16, Q.Q5_1],
    ),
    "llama3": ModelCase(
        llama3, gguf.MODEL_ARCH.LLAMA,
        {"model_type": "llama", "attention_bias": True, "rope_scaling": {
            "rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4, "original_max_position_embeddings": 8192}},
    ),
    "mixtral": ModelCase(
        mixtral, gguf.MODEL_ARCH.LLAMA, {"model_type": "mixtral", "num_local_experts": 3, "num_experts_per_tok": 2}
    ),
    "qwen2": ModelCase(qwen2, gguf.MODEL_ARCH.QWEN2, {"model_type": "qwen2", "tie_word_embeddings": True, "rms_norm_eps": 1e-6}),
    "qwen3": ModelCase(
        qwen3, gguf.MODEL_ARCH.QWEN3,
        {"model_type": "qwen3", "head_dim": 16,
         "rope_scaling": {"rope_type": "yarn", "factor": 4, "original_max_position_embeddings": 16}},
    ),
    "gemma": ModelCase(gemma, gguf.MODEL_ARCH.GEMMA, {"model_type": "gemma", "head_dim": 16, "hidden_activation": "gelu_pytorch_tanh"}),
    "gemma2": ModelCase(
        gemma2, gguf.MODEL_ARCH.GEMMA2,
        {"model_type": "gemma2", "sliding_window": 4, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 50,
         "final_logit_softcapping": 30, "layer_types": ["sliding_attention", "full_attention"]},
    ),
    "gemma3": ModelCase(
        gemma3, gguf.MODEL_ARCH.GEMMA3,
        {"model_type": "gemma3_text", "sliding_window": 4, "rope_local_base_freq": 10000, "rope_theta": 1000000,
         "layer_types": ["sliding_attention"] * 5 + ["full_attention"]},
        types=[Q.BF16],
    ),
}  # fmt: skip


def checkpoint(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    """Tensors under the names that checkpoints have, a tied head left out."""
    named = {name: p.detach().float() for name, p in model.named_parameters()}
    return separate_experts(named) if model.config.model_type == "mixtral" else named


def paired(weight: np.ndarray, heads: int) -> np.ndarray:
    """Two halves of each head become rotary pairs side by side, as llama.cpp wants them."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def metadata(writer: gguf.GGUFWriter, model: PreTrainedModel, case: ModelCase) -> None:
    c, name = model.config, gguf.MODEL_ARCH_NAMES[case.arch]
    writer.add_context_length(c.max_position_embeddings)
    writer.add_embedding_length(c.hidden_size)
    writer.add_block_count(c.num_hidden_layers)
    writer.add_head_count(c.num_attention_heads)
    if name == "gpt2":
        writer.add_feed_forward_length(c.n_inner)
        writer.add_layer_norm_eps(c.layer_norm_epsilon)
        return
    writer.add_feed_forward_length(c.intermediate_size)
    writer.add_head_count_kv(c.num_key_value_heads)
    writer.add_layer_norm_rms_eps(c.rms_norm_eps)
    head_dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
    if name != "qwen2":
        writer.add_key_length(head_dim)
        writer.add_value_length(head_dim)
    if name == "llama":
        writer.add_rope_dimension_count(head_dim)
        writer.add_vocab_size(c.vocab_size)
    rope = c.rope_parameters
    if name == "gemma3":
        rope = rope["full_attention"]
    writer.add_rope_freq_base(rope["rope_theta"])
    if rope["rope_type"] == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
    if model.config.model_type == "mixtral":
        writer.add_expert_count(c.num_local_experts)
        writer.add_expert_used_count(c.num_experts_per_tok)
    if name == "gemma2":
        writer.add_attn_logit_softcapping(c.attn_logit_softcapping)
        writer.add_final_logit_softcapping(c.final_logit_softcapping)
    if name in ("gemma2", "gemma3"):
        writer.add_sliding_window(c.sliding_window)


def llama3_factors(rope: dict[str, float], head_dim: int) -> np.ndarray:
    """What llama.cpp divides rotary frequencies by."""
    waves = 2 * np.pi * rope["rope_theta"] ** (np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    low, high, old = rope["low_freq_factor"], rope["high_freq_factor"], rope["original_max_position_embeddings"]
    smooth = (old / waves - low) / (high - low)
    between = 1 / ((1 - smooth) / rope["factor"] + smooth)
    return np.where(waves < old / high, 1.0, np.where(waves > old / low, rope["factor"], between)).astype(np.float32)


def write_model(path: Path, model: PreTrainedModel, case: ModelCase) -> None:
    """The file that llama.cpp's converter would write, under the names of the package's own map."""
    name, c = gguf.MODEL_ARCH_NAMES[case.arch], model.config
    writer = gguf.GGUFWriter(path, name)
    metadata(writer, model, case)
    names = gguf.get_tensor_name_map(case.arch, c.num_hidden_layers)
    experts: dict[str, list[np.ndarray]] = {}
    turn = 0
    for given, tensor in checkpoint(model).items():
        weight = tensor.numpy()
        if ".experts." in given:
            before, number, after = given.replace(".experts.", ".experts.|").partition("|")[0], *given.split(".experts.")[1].split(".", 1)
            experts.setdefault(before + after, []).append(weight)
            assert len(experts[before + after]) == int(number) + 1
            if len(experts[before + after]) < c.num_local_experts:
                continue
            given, weight = before + after, np.stack(experts[before + after])
        target = names.get_name(given, try_suffixes=(".weight", ".bias"))
        assert target is not None, given
        if name == "llama" and "q_proj" in given:
            weight = paired(weight, c.num_attention_heads)
        if name == "llama" and "k_proj" in given:
            weight = paired(weight, c.num_key_value_heads)
        if name == "gpt2" and given.endswith((".c_attn.weight", ".c_proj.weight", ".c_fc.weight")):
            weight = weight.T
        if name.startswith("gemma") and "norm" in given:
            weight = weight + 1
        weight = np.ascontiguousarray(weight, np.float32)
        kind = Q.F32
        if weight.ndim == 2 and case.types and weight.shape[1] % 32 == 0:
            kind, turn = case.types[turn % len(case.types)], turn + 1
        data = weight if kind == Q.F32 else gguf.quants.quantize(weight, kind)
        writer.add_tensor(target, data, raw_dtype=kind)
    if c.model_type == "llama" and c.rope_parameters["rope_type"] == "llama3":
        writer.add_tensor("rope_freqs.weight", llama3_factors(c.rope_parameters, c.hidden_size // c.num_attention_heads))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def stored(model: PreTrainedModel, case: ModelCase) -> None:
    """Rounds the model to what the file holds: 1 + w of Gemma's norms, quantised matrices."""
    turn = 0
    with torch.no_grad():
        for given, p in model.named_parameters():
            if model.config.model_type.startswith("gemma") and "norm" in given:
                p.copy_((p + 1) - 1)
            if p.dim() != 2 or not case.types or p.shape[1] % 32 != 0:
                continue
            kind, turn = case.types[turn % len(case.types)], turn + 1
            heads = {"q_proj": model.config.num_attention_heads, "k_proj": model.config.num_key_value_heads}
            of = next((h for part, h in heads.items() if part in given), None)
            weight = p.numpy() if of is None else paired(p.numpy(), of)
            values = dequantized(gguf.quants.quantize(np.ascontiguousarray(weight), kind), kind)
            if of is not None:
                half = values.shape[0] // of // 2
                values = values.reshape(of, half, 2, -1).swapaxes(1, 2).reshape(values.shape)
            p.copy_(torch.from_numpy(np.ascontiguousarray(values)))


def make_models() -> None:
    path = folder("models", "gguf")
    golden: dict[str, object] = {}
    tensors: dict[str, torch.Tensor] = {}
    for name, case in MODELS.items():
        model = case.build()
        stored(model, case)
        write_model(path / f"{name}.gguf", model, case)
        assert (path / f"{name}.gguf").stat().st_size < LIMIT_BYTES, name
        ids = tokens(21, (2, 9), VOCABULARY)
        with torch.no_grad():
            tensors[f"{name}/in/tokens"], tensors[f"{name}/out/logits"] = ids, model(input_ids=ids).logits
        hashes = {n: hashlib.sha256(t.numpy().tobytes()).hexdigest()[:16] for n, t in checkpoint(model).items()}
        golden[name] = {"config": case.config, "tensors": hashes}
    write_tensors(path / "logits.safetensors", tensors)
    text = json.dumps({"maker": "gguf_files.py", "tolerance": 1e-4, "tensors": "first 16 digits of the sha256 of their f32", "models": golden}, indent=1)
    (path / "golden.json").write_text(text + "\n")


# Vocabularies


def word_pattern(name: str) -> str:
    """The pattern as the model's own tokenizer.json has it."""
    rest = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    word = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
    upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
    slashed = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ends = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
    cased = lambda end: rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{end}|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{end}"  # noqa: E731
    return {
        "llama-bpe": rf"{word}|\p{{N}}{{1,3}}|{rest}",
        "qwen2": rf"{word}|\p{{N}}|{rest}",
        "tekken": rf"{cased('')}|\p{{N}}|{slashed}",
        "gpt-4o": rf"{cased(ends)}|\p{{N}}{{1,3}}|{slashed}",
    }[name]


BYTE_LEVEL = ["gpt-2", "smollm", "llama-bpe", "qwen2", "tekken", "gpt-4o"]
CHAT = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"


def byte_level(pre: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(ignore_merges=pre in ("llama-bpe", "tekken")))
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pre in ("gpt-2", "smollm"))
    if pre == "smollm":
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), level])
    elif pre == "gpt-2":
        tokenizer.pre_tokenizer = level
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(word_pattern(pre)), "isolated"), level])
    if pre == "qwen2":
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator([*SENTENCES * 3, *texts()], trainer)
    if pre in ("llama-bpe", "tekken"):
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<|endoftext|> $A", pair="<|endoftext|> $A <|endoftext|> $B:1", special_tokens=[("<|endoftext|>", 0)]
        )
    return tokenizer


def vocabulary_writer(path: Path, vocab_size: int) -> gguf.GGUFWriter:
    """A GPT-2 of nothing but an embedding's shape."""
    writer = gguf.GGUFWriter(path, "gpt2")
    writer.add_context_length(16)
    writer.add_embedding_length(1)
    writer.add_block_count(1)
    writer.add_head_count(1)
    writer.add_layer_norm_eps(1e-5)
    writer.add_tensor("token_embd.weight", np.zeros((vocab_size, 1), np.float32))
    return writer


def finish(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make_byte_level(path: Path, pre: str) -> dict[str, object]:
    tokenizer = byte_level(pre)
    model = json.loads(tokenizer.to_str())["model"]
    words = sorted(model["vocab"], key=model["vocab"].__getitem__)
    writer = vocabulary_writer(path / f"{pre}.gguf", len(words) + 2)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    # Converters fill the embedding's rows up with words that are none.
    writer.add_token_list([*words, "[PAD500]", "[PAD501]"])
    writer.add_token_types([*[3] * 3, *[1] * (len(words) - 3), 5, 5])
    writer.add_token_merges([" ".join(m) for m in model["merges"]])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(2)
    writer.add_eot_token_id(0)
    writer.add_chat_template(CHAT)
    finish(writer)
    return {"ids": [tokenizer.encode(t).ids for t in texts()], "chat": tokenizer.encode(f"<|im_start|>user\n{SENTENCES[2]}<|im_end|>\n").ids}


def make_sentencepiece(path: Path, name: str, prefix: bool) -> dict[str, object]:
    corpus = path / "corpus.txt"
    corpus.write_text("\n".join([*SENTENCES * 3, *[t for t in texts() if "\n" not in t and "\x00" not in t]]))
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(path / name), model_type="bpe", vocab_size=700, byte_fallback=True,
        add_dummy_prefix=prefix, remove_extra_whitespaces=False, normalization_rule_name="identity", num_threads=1,
        user_defined_symbols=["<turn>"], minloglevel=2,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_file=str(path / f"{name}.model"))
    size = model.vocab_size()
    kinds = [
        2 if model.is_unknown(i) else 3 if model.is_control(i) else 4 if i == model.piece_to_id("<turn>") else 6 if model.is_byte(i) else 1
        for i in range(size)
    ]
    writer = vocabulary_writer(path / f"{name}.gguf", size)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([model.id_to_piece(i) for i in range(size)])
    writer.add_token_scores([model.get_score(i) for i in range(size)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(model.bos_id())
    writer.add_eos_token_id(model.eos_id())
    writer.add_unk_token_id(model.unk_id())
    writer.add_add_space_prefix(prefix)
    finish(writer)
    for left in (corpus, path / f"{name}.model", path / f"{name}.vocab"):
        left.unlink()
    ids = [[model.bos_id(), *model.encode(t)] for t in texts()]
    return {"ids": ids, "decoded": [model.decode(i[1:]) for i in ids]}


def make_vocabularies() -> None:
    path = folder("formats", "gguf-vocabularies")
    golden: dict[str, object] = {pre: make_byte_level(path, pre) for pre in BYTE_LEVEL}
    golden["spm"] = make_sentencepiece(path, "spm", prefix=True)
    golden["spm-no-prefix"] = make_sentencepiece(path, "spm-no-prefix", prefix=False)
    text = json.dumps({"maker": "gguf_files.py", "texts": texts(), "chat_template": CHAT, **golden}, separators=(",", ":"))
    (path / "golden.json").write_text(text + "\n")


MAKERS = {"formats/gguf-blocks": make_blocks, "models/gguf": make_models, "formats/gguf-vocabularies": make_vocabularies}
