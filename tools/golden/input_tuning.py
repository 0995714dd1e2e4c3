"""Five AdamW steps of prefix tuning and P-tuning by PEFT, of visual prompts by torch, and how PEFT begins a prompt, on the small fixtures."""

from __future__ import annotations

from collections.abc import Callable

import torch
from peft import PeftModel, PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoModelForSequenceClassification
from transformers.cache_utils import DynamicCache

from fixture import ROOT, folder, noise, tokens, write_json, write_tensors
from tuning import DECAY, LR, STEPS, batch, load, loss_of

MODELS = ROOT / "packages/models/test/golden"
PREFIX, PROMPT = 3, 4
Tensors = dict[str, torch.Tensor]


def learned(model: PeftModel) -> dict[str, torch.nn.Parameter]:
    return {name.removeprefix("prompt_encoder.default."): p for name, p in model.named_parameters() if p.requires_grad}


def spread(parameters: dict[str, torch.nn.Parameter], std: float) -> Tensors:
    with torch.no_grad():
        for i, (_name, p) in enumerate(sorted(parameters.items())):
            p.copy_(std * noise(i, tuple(p.shape)))
    return {f"in/{name}": p.detach().clone() for name, p in parameters.items()}


def steps(parameters: dict[str, torch.nn.Parameter], loss: Callable[[int], torch.Tensor]) -> list[float]:
    optimizer = torch.optim.AdamW(list(parameters.values()), lr=LR, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        value = loss(step)
        losses.append(value.item())
        value.backward()
        optimizer.step()
    return losses


def language(kind: str, config: PrefixTuningConfig | PromptEncoderConfig) -> tuple[Tensors, list[float]]:
    """What learned, at the start; what PEFT saves, logits and a greedy continuation, at the end."""
    model = get_peft_model(load(kind), config)
    parameters = learned(model)
    start = spread(parameters, 0.4)

    def loss(step: int) -> torch.Tensor:
        ids, weights = batch(step)
        return loss_of(model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits, ids, weights)

    losses = steps(parameters, loss)
    ids, _weights = batch(0)
    with torch.no_grad():
        # By whole passes: with a prefix, `generate` of these versions of PEFT and transformers does not follow the model's own logits.
        text = ids[:1]
        for _ in range(6):
            text = torch.cat([text, model(input_ids=text, attention_mask=torch.ones_like(text)).logits[:, -1:].argmax(-1)], 1)
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[:, -ids.shape[1] :]
    end = {"out/prompt_embeddings": model.get_prompt_embedding_to_save("default"), "out/logits": logits, "out/text": text[0, ids.shape[1] :]}
    return start | end, losses


def make_language(kind: str) -> None:
    task = {"task_type": "CAUSAL_LM"}
    cases = {
        "prefix": PrefixTuningConfig(**task, num_virtual_tokens=PREFIX),
        "projected": PrefixTuningConfig(**task, num_virtual_tokens=PREFIX, prefix_projection=True, encoder_hidden_size=5),
        "mlp": PromptEncoderConfig(**task, num_virtual_tokens=PROMPT, encoder_hidden_size=6),
    }
    if kind == "llama":
        lstm = {"encoder_reparameterization_type": "LSTM", "encoder_hidden_size": 3, "encoder_num_layers": 2}
        cases["lstm"] = PromptEncoderConfig(**task, num_virtual_tokens=PROMPT, **lstm)
    save(f"{kind}-inputs", {case: language(kind, config) for case, config in cases.items()})


def make_classifier() -> None:
    """A prefix and the head of a BERT classifier; PEFT's own layout of keys and values, handed to the encoder as its cache."""
    base = AutoModelForSequenceClassification.from_pretrained(MODELS / "bert-classifier", dtype=torch.float32).eval()
    model = get_peft_model(base, PrefixTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=PREFIX))
    parameters = {
        name.replace("base_model.", "").replace("modules_to_save.default.", ""): p for name, p in learned(model).items()
    }
    start = spread(parameters, 0.4)
    lengths = torch.tensor([7, 4, 6])
    mask = (torch.arange(7)[None] < lengths[:, None]).long()

    def forward(step: int) -> torch.Tensor:
        ids = tokens(80 + step, (3, 7), base.config.vocab_size)
        cache = model.get_prompt(3)
        seen = torch.cat([torch.ones(3, PREFIX, dtype=torch.long), mask], 1)
        assert isinstance(cache, DynamicCache)
        pooled = base.bert(input_ids=ids, attention_mask=seen, cache=cache).pooler_output
        return base.classifier(pooled)

    labels = torch.tensor([0, 1, 2])
    losses = steps(parameters, lambda step: torch.nn.functional.cross_entropy(forward(step), labels))
    with torch.no_grad():
        logits = forward(0)
    end = {f"out/{name}": p for name, p in parameters.items() if name.startswith("classifier")}
    given = {f"in/tokens.{step}": tokens(80 + step, (3, 7), base.config.vocab_size) for step in range(STEPS)} | {"in/mask": mask}
    saved = {"out/prompt_embeddings": model.get_prompt_embedding_to_save("default"), "out/logits": logits}
    save("bert-inputs", {"prefix": (start | given | end | saved, losses)})


def vision(kind: str, deep: bool) -> tuple[Tensors, list[float]]:
    """Prompts behind the class token, as the authors place them; of deep ones the rows of the block before are replaced."""
    model = AutoModelForImageClassification.from_pretrained(MODELS / kind, dtype=torch.float32).eval()
    for p in model.parameters():
        p.requires_grad_(False)
    encoder = getattr(model, kind)
    layers = encoder.layers if kind == "vit" else encoder.encoder.layer
    width, count = model.config.hidden_size, 2
    shape = (len(layers), count, width) if deep else (count, width)
    parameters = {"prompts": torch.nn.Parameter(torch.empty(shape)), **dict(model.classifier.named_parameters(prefix="classifier"))}
    for p in parameters.values():
        p.requires_grad_(True)
    start = spread(parameters, 0.4)
    prompts = parameters["prompts"]
    side = model.config.image_size

    def forward(step: int) -> torch.Tensor:
        h = encoder.embeddings(noise(90 + step, (3, 3, side, side)))
        beside = lambda rows, behind: torch.cat([h[:, :1], rows.expand(3, -1, -1), h[:, behind:]], 1)  # noqa: E731
        for i, layer in enumerate(layers):
            if i == 0:
                h = beside(prompts[0] if deep else prompts, 1)
            elif deep:
                h = beside(prompts[i], 1 + count)
            h = layer(h)
            h = h[0] if isinstance(h, tuple) else h
        h = encoder.layernorm(h)
        front = h[:, 0]
        return model.classifier(front if kind == "vit" else torch.cat([front, h[:, 1 + count :].mean(1)], 1))

    labels = torch.tensor([0, 1, 2])
    losses = steps(parameters, lambda step: torch.nn.functional.cross_entropy(forward(step), labels))
    with torch.no_grad():
        logits = forward(0)
    return start | {f"out/{name}": p for name, p in parameters.items()} | {"out/logits": logits}, losses


def make_vision() -> None:
    cases = {f"{kind}-{name}": vision(kind, name == "deep") for kind in ("vit", "dinov2") for name in ("shallow", "deep")}
    pixels = {f"{kind}.{step}": noise(90 + step, (3, 3, 24, 24)) for kind in ("pixels",) for step in range(STEPS)}
    save("vision-inputs", cases, pixels)


def make_start() -> None:
    """PEFT's TEXT: cut to three tokens, and repeated to eleven."""
    base = AutoModelForCausalLM.from_pretrained(MODELS / "text", dtype=torch.float32)
    given = "the cat sat on the mat"
    tensors = {}
    for count in (3, 11):
        config = PromptTuningConfig(
            task_type="CAUSAL_LM",
            num_virtual_tokens=count,
            prompt_tuning_init="TEXT",
            prompt_tuning_init_text=given,
            tokenizer_name_or_path=str(MODELS / "text"),
        )
        tensors[f"text.{count}/out/prompt_embeddings"] = get_peft_model(base, config).get_prompt_embedding_to_save("default")
        base = AutoModelForCausalLM.from_pretrained(MODELS / "text", dtype=torch.float32)
    path = folder("tuning", "initial-prompts")
    write_tensors(path / "golden.safetensors", tensors)
    write_json(path / "golden.json", {"maker": "input_tuning.py", "model": "packages/models/test/golden/text", "text": given})


def save(name: str, cases: dict[str, tuple[Tensors, list[float]]], more: Tensors | None = None) -> None:
    path = folder("tuning", name)
    write_tensors(path / "golden.safetensors", {f"{case}/{key}": t for case, (ts, _losses) in cases.items() for key, t in ts.items()} | (more or {}))
    write_json(path / "golden.json", {"maker": "input_tuning.py", "losses": {case: losses for case, (_tensors, losses) in cases.items()}})


MAKERS: dict[str, Callable[[], None]] = {
    "tuning/llama-inputs": lambda: make_language("llama"),
    "tuning/gpt2-inputs": lambda: make_language("gpt2"),
    "tuning/bert-inputs": make_classifier,
    "tuning/vision-inputs": make_vision,
    "tuning/initial-prompts": make_start,
}
