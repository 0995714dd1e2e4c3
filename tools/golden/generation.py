"""transformers' beam search on the causal models of architectures.py, as their folders hold them."""

from __future__ import annotations

import torch
from transformers import AutoModelForCausalLM

from architectures import VOCABULARY
from fixture import ROOT, Array, folder, prefixed, tokens, write_json, write_tensors

BEAMS = 3
MODELS = ("gpt2", "llama")
# Case → (new tokens, end token, length penalty, early stopping). Token 97 does not exist: nothing ends but by length.
CASES = {
    "length": (12, VOCABULARY, 1.0, False),
    "ends": (12, None, 1.0, False),
    "early": (12, None, 1.0, True),
    "short": (12, None, -1.5, False),
    "long": (12, None, 3.0, False),
}


def beam_search(model: torch.nn.Module, new: int, end: int, penalty: float, early: bool) -> dict[str, Array]:
    ids = tokens(16, (4, 9), VOCABULARY)
    lengths = torch.tensor([9, 5, 2, 1])
    mask = (torch.arange(9)[None] >= 9 - lengths[:, None]).long()
    with torch.inference_mode():
        out = model.generate(
            ids * mask, attention_mask=mask, max_new_tokens=new, num_beams=BEAMS, length_penalty=penalty,
            early_stopping=early, do_sample=False, pad_token_id=VOCABULARY, eos_token_id=end,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
    return {
        "in/tokens": ids * mask,
        "in/mask": mask,
        "in/eos": torch.tensor([end]),
        "out/tokens": out.sequences[:, 9:],
        "out/scores": out.sequences_scores,
    }


def make_beams() -> None:
    path = folder("models", "beams")
    tensors: dict[str, Array] = {}
    for name in MODELS:
        model = AutoModelForCausalLM.from_pretrained(ROOT / "packages/models/test/golden" / name, dtype=torch.float32).eval()
        # An end token that matters: one that the search without ends comes by.
        free = beam_search(model, *CASES["length"])
        common = int(torch.mode(free["out/tokens"].flatten()).values)
        for case, (new, end, penalty, early) in CASES.items():
            found = beam_search(model, new, common if end is None else end, penalty, early)
            tensors |= prefixed(f"{name}-{case}", found)
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "generation.py",
            "models": list(MODELS),
            "beams": BEAMS,
            "cases": {
                case: {"maxNewTokens": new, "lengthPenalty": penalty, "earlyStopping": early}
                for case, (new, _end, penalty, early) in CASES.items()
            },
            "in": "tokens i32[batch, seq], padded on the left where mask i32[batch, seq] is 0; eos i32[1], 97 for none",
            "out": "tokens i32[batch, new]: the best continuation, its end token included, filled up with 97; scores f32[batch]",
            "tolerance": {"tokens": "equal", "scores": 1e-4},
        },
    )


MAKERS = {"models/beams": make_beams}
