"""What encoder-decoders answer, and what they learn of (source, answer) pairs, by transformers and PEFT on the fixtures of encoder_decoder.py."""

from __future__ import annotations

import torch
from peft import IA3Config, LoraConfig, PeftModel, PromptTuningConfig, TaskType, get_peft_model
from transformers import AutoModelForSeq2SeqLM

from architectures import VOCABULARY
from fixture import ROOT, Array, folder, noise, prefixed, tokens, write_json, write_tensors

KINDS = ("t5", "t5-gated")
NEW = 14
BEAMS = 3
# Case → (beams, repetition penalty, which end token is looked for, length penalty). "own": one that comes when nothing ends.
CASES = {
    "greedy": (1, 1.0, None, 1.0),
    "ends": (1, 1.0, "own", 1.0),
    "penalty": (1, 1.7, None, 1.0),
    "beams": (BEAMS, 1.0, "own", 1.0),
    "long": (BEAMS, 1.0, "own", 2.0),
    "config": (1, 1.0, 1, 1.0),
    "config-beams": (BEAMS, 1.0, 1, 1.0),
}
STEPS, LR, DECAY = 5, 0.01, 0.1
RANK, ALPHA, VIRTUAL = 3, 6, 4
LENGTHS = torch.tensor([9, 6, 4])


def load(kind: str) -> torch.nn.Module:
    return AutoModelForSeq2SeqLM.from_pretrained(ROOT / "packages/models/test/golden" / kind, dtype=torch.float32).eval()


def answer(model: torch.nn.Module, ids: Array, mask: Array, beams: int, penalty: float, end: int | None, length: float) -> Array:
    with torch.inference_mode():
        out = model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=NEW, num_beams=beams, do_sample=False, repetition_penalty=penalty,
            length_penalty=length, eos_token_id=end,
        )  # fmt: skip
    found = torch.full((out.shape[0], NEW), VOCABULARY)
    for row, new in zip(found, out[:, 1:].tolist(), strict=True):
        count = new.index(end) + 1 if end in new else len(new)
        row[:count] = torch.tensor(new[:count])
    return found


def make_answers() -> None:
    tensors: dict[str, Array] = {}
    ids = tokens(61, (4, 11), VOCABULARY)
    ids[0, -1] = 1  # as a text that T5's tokenizer has closed
    mask = (torch.arange(11)[None] < torch.tensor([11, 7, 3, 1])[:, None]).long()
    for kind in KINDS:
        model = load(kind)
        free = answer(model, ids, mask, *CASES["greedy"][:2], None, 1.0)
        common = int(torch.mode(free[:, 2:].flatten()).values)
        found: dict[str, Array] = {"in/eos": torch.tensor([common])}
        for case, (beams, penalty, ends, length) in CASES.items():
            found[f"out/{case}"] = answer(model, ids, mask, beams, penalty, common if ends == "own" else ends, length)
        tensors |= prefixed(kind, found)
    path = folder("models", "t5-answers")
    write_tensors(path / "golden.safetensors", {**tensors, "in/tokens": ids * mask, "in/mask": mask})
    write_json(
        path / "golden.json",
        {
            "maker": "answers.py",
            "models": list(KINDS),
            "maxNewTokens": NEW,
            "cases": {
                case: {"beams": beams, "repetitionPenalty": penalty, "ends": ends, "lengthPenalty": length}
                for case, (beams, penalty, ends, length) in CASES.items()
            },
            "out": "i32[4, new]: answers without their start token, their end token included, filled up with 97",
        },
    )


def labels_of(seed: int) -> torch.Tensor:
    labels = tokens(70 + seed, (3, 5), VOCABULARY)
    labels[1, 3:] = -100
    labels[2, 1] = -100
    return labels


def batch(step: int) -> dict[str, torch.Tensor]:
    mask = (torch.arange(9)[None] < LENGTHS[:, None]).long()
    return {"input_ids": tokens(80 + step, (3, 9), VOCABULARY) * mask, "attention_mask": mask, "labels": labels_of(10 + step)}


def rows() -> dict[str, torch.Tensor]:
    """One batch as it comes out of texts: sources and answers end with token 1, and only what fills up is not learned."""
    ids, labels = tokens(91, (3, 9), VOCABULARY - 2) + 2, tokens(92, (3, 5), VOCABULARY - 2) + 2
    mask = (torch.arange(9)[None] < LENGTHS[:, None]).long()
    lengths = torch.tensor([5, 2, 3])
    for i in range(3):
        ids[i, LENGTHS[i] - 1], labels[i, lengths[i] - 1], labels[i, lengths[i] :] = 1, 1, -100
    return {"input_ids": ids * mask, "attention_mask": mask, "labels": labels}


def train(model: torch.nn.Module, parameters: list[torch.nn.Parameter], of_step) -> list[float]:
    optimizer = torch.optim.AdamW(parameters, lr=LR, weight_decay=DECAY)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = model(**of_step(step)).loss
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return losses


CONFIGS = {
    "lora": (lambda: LoraConfig(task_type=TaskType.SEQ_2_SEQ_LM, r=RANK, lora_alpha=ALPHA), 0.0, 0.2),
    "ia3": (lambda: IA3Config(task_type=TaskType.SEQ_2_SEQ_LM), 1.0, 0.3),
    "prompt": (lambda: PromptTuningConfig(task_type=TaskType.SEQ_2_SEQ_LM, num_virtual_tokens=VIRTUAL), 0.0, 0.5),
}


def adapted(kind: str, method: str) -> PeftModel:
    """PEFT's own choice of layers, and values that change what comes out."""
    make, mean, std = CONFIGS[method]
    model = get_peft_model(load(kind), make())
    with torch.no_grad():
        for i, (_name, p) in enumerate(sorted((n, p) for n, p in model.named_parameters() if p.requires_grad)):
            p.copy_(mean + std * noise(i, tuple(p.shape)))
    return model


def trained(kind: str, method: str, of_step) -> tuple[dict[str, Array], list[float]]:
    model = adapted(kind, method)
    learned = {n: p for n, p in model.named_parameters() if p.requires_grad}

    def names(name: str) -> str:
        if method == "prompt":
            return "prompt_embeddings"
        return name.removeprefix("base_model.model.").replace(".default", "")

    start = {f"in/{names(n)}": p.detach().clone() for n, p in learned.items()}
    losses = train(model, list(learned.values()), of_step)
    return {**start, **{f"out/{names(n)}": p.detach().clone() for n, p in learned.items()}}, losses


def make_tuning(kind: str) -> None:
    path = folder("tuning", kind)
    tensors: dict[str, Array] = {}
    losses: dict[str, list[float]] = {}
    for method in CONFIGS:
        found, losses[method] = trained(kind, method, batch)
        tensors |= prefixed(method, found)
        model = adapted(kind, method)
        model.peft_config["default"].base_model_name_or_path = kind
        model.save_pretrained(path / method, save_embedding_layers=False)
        (path / method / "README.md").unlink()
        with torch.inference_mode():
            plain = {k: v for k, v in batch(0).items() if k != "labels"}
            tensors[f"{method}/out/answer"] = model.generate(**plain, max_new_tokens=NEW, do_sample=False, eos_token_id=None)[:, 1:]
    _found, losses["rows"] = trained(kind, "lora", lambda _step: rows())
    for step in range(STEPS):
        tensors |= {f"batch.{step}/in/{name}": t for name, t in batch(step).items()}
    write_tensors(path / "golden.safetensors", {**tensors, **{f"rows/in/{name}": t for name, t in rows().items()}})
    write_json(
        path / "golden.json",
        {
            "maker": "answers.py", "model": f"packages/models/test/golden/{kind}", "steps": STEPS, "lr": LR, "weightDecay": DECAY,
            "lora": {"r": RANK, "loraAlpha": ALPHA}, "virtualTokens": VIRTUAL, "maxNewTokens": NEW, "losses": losses,
        },
    )  # fmt: skip


MAKERS = {"models/t5-answers": make_answers} | {f"tuning/{kind}": (lambda kind=kind: make_tuning(kind)) for kind in KINDS}
