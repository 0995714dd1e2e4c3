"""Losses of preference tuning by TRL's own trainers, on stored logits, with their gradients.

Beside them the scores of transformers' heads for classes on decoders. The trainers' loss functions are called on stand-ins: a model that answers with stored logits, and an accelerator that gathers nothing.
"""

from __future__ import annotations

from collections import defaultdict
from types import SimpleNamespace

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification
from trl import DPOTrainer, KTOTrainer, RewardTrainer
from trl.experimental.orpo import ORPOTrainer

from fixture import ROOT, folder, noise, write_json, write_tensors

VOCABULARY = 7
BETA = 0.3
# Prompt and completion of each row: completions of a pair differ in length, one is a single token.
PROMPTS = [[1, 2], [3], [4, 5, 6], [2]]
CHOSEN = [[3, 4, 5], [6], [1, 2], [5, 5, 5]]
REJECTED = [[6, 1], [2, 3, 4, 5], [0], [1, 6]]
LABELS = [True, False, False, True]


class Accelerator(SimpleNamespace):
    device = torch.device("cpu")

    def gather(self, x: torch.Tensor) -> torch.Tensor:
        return x

    gather_for_metrics = gather


def padded(rows: list[list[int]]) -> torch.Tensor:
    width = max(map(len, rows))
    return torch.tensor([row + [0] * (width - len(row)) for row in rows])


def batch_of(completions: list[list[int]], prompts: list[list[int]]) -> dict[str, torch.Tensor]:
    return {
        "input_ids": padded([p + c for p, c in zip(prompts, completions, strict=True)]),
        "attention_mask": padded([[1] * (len(p) + len(c)) for p, c in zip(prompts, completions, strict=True)]),
        "completion_mask": padded([[0] * len(p) + [1] * len(c) for p, c in zip(prompts, completions, strict=True)]),
    }


def log_probs(logits: torch.Tensor, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """log p(token t | before), 0 where it is no part of a completion, as TRL's fused head answers."""
    each = logits[:, :-1].log_softmax(-1).gather(-1, batch["input_ids"][:, 1:, None])[..., 0]
    return each * batch["completion_mask"][:, 1:]


def answer(logits: torch.Tensor, batch: dict[str, torch.Tensor]) -> SimpleNamespace:
    each = log_probs(logits, batch)
    return SimpleNamespace(log_probs=each, entropy=each.detach(), mean_logits=each.detach(), is_top1=each.detach() > 0, logits=logits)


def trainer(**options: object) -> SimpleNamespace:
    return SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=Accelerator(),
        aux_loss_enabled=False,
        beta=BETA,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **options,
    )


def learned(seed: int, shape: tuple[int, ...]) -> torch.Tensor:
    return (1.5 * noise(seed, shape)).requires_grad_()


def dpo() -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    batch = batch_of(CHOSEN + REJECTED, PROMPTS + PROMPTS)
    shape = (*batch["input_ids"].shape, VOCABULARY)
    base = 1.5 * noise(2, shape)
    ref_chosen, ref_rejected = log_probs(base, batch).sum(1).chunk(2)
    tensors = {"dpo/in/tokens": batch["input_ids"], "dpo/in/base": base, "dpo/in/own": learned(1, shape)}
    cases = []
    for loss_type, smoothing in (("sigmoid", 0), ("robust", 0.2), ("hinge", 0), ("ipo", 0)):
        own = learned(1, shape)
        self = trainer(
            ld_alpha=None,
            precompute_ref_logps=True,
            f_divergence_type="reverse_kl",
            loss_types=[loss_type],
            loss_weights=[1.0],
            label_smoothing=smoothing,
            use_weighting=False,
        )
        inputs = {**batch, "ref_chosen_logps": ref_chosen, "ref_rejected_logps": ref_rejected}
        loss = DPOTrainer._compute_loss(self, lambda **_: answer(own, batch), inputs, False)
        loss.backward()
        tensors[f"dpo/grad/{loss_type}"] = own.grad
        metrics = self._metrics["train"]
        cases.append(
            {
                "lossType": loss_type,
                "labelSmoothing": smoothing,
                "loss": loss.item(),
                "margin": metrics["rewards/margins"][0],
                "accuracy": metrics["rewards/accuracies"][0],
            }
        )
    # TRL's sigmoid form takes no smoothing any more; its sorted form is that of one pair, whose order is its own.
    own = learned(1, shape)
    losses = []
    for i in range(len(PROMPTS)):
        rows = [i, i + len(PROMPTS)]
        one = {name: t[rows] for name, t in batch.items()}
        self = trainer(
            ld_alpha=None,
            precompute_ref_logps=True,
            f_divergence_type="reverse_kl",
            loss_types=["aot"],
            loss_weights=[1.0],
            label_smoothing=0.2,
            use_weighting=False,
        )
        inputs = {**one, "ref_chosen_logps": ref_chosen[i : i + 1], "ref_rejected_logps": ref_rejected[i : i + 1]}
        losses.append(DPOTrainer._compute_loss(self, lambda rows=rows, one=one, **_: answer(own[rows], one), inputs, False))
    loss = torch.stack(losses).mean()
    loss.backward()
    tensors["dpo/grad/smoothed"] = own.grad
    cases.append({"lossType": "sigmoid", "labelSmoothing": 0.2, "gradient": "smoothed", "loss": loss.item()})
    return tensors, cases


def kto() -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    batch = batch_of(CHOSEN, PROMPTS)
    crossed = batch_of([CHOSEN[-1], *CHOSEN[:-1]], PROMPTS)
    shape, other = (*batch["input_ids"].shape, VOCABULARY), (*crossed["input_ids"].shape, VOCABULARY)
    tensors = {"kto/in/tokens": batch["input_ids"], "kto/in/mismatched": crossed["input_ids"], "kto/in/own": learned(3, shape)}
    tensors["kto/in/base"] = 1.5 * noise(4, shape)
    cases = []
    # A KL below 0 is clamped: of the second case model and base of the mismatched rows are swapped.
    for name, (seed, seed_base), desirable, undesirable in (("above", (5, 6), 1.0, 1.5), ("clamped", (6, 5), 0.7, 1.0)):
        own = learned(3, shape)
        mismatched, mismatched_base = learned(seed, other), 1.5 * noise(seed_base, other)
        tensors[f"kto/in/mismatched_own_{name}"], tensors[f"kto/in/mismatched_base_{name}"] = mismatched, mismatched_base
        self = trainer(
            calculate_KL=True,
            precompute_ref_logps=True,
            loss_type="kto",
            desirable_weight=desirable,
            undesirable_weight=undesirable,
        )
        self._compute_kl_logps = lambda model, inputs, self=self: KTOTrainer._compute_kl_logps(self, model, inputs)
        inputs = {
            **batch,
            "KL_input_ids": crossed["input_ids"],
            "KL_attention_mask": crossed["attention_mask"],
            "KL_completion_mask": crossed["completion_mask"],
            "label": torch.tensor(LABELS),
            "ref_logps": log_probs(tensors["kto/in/base"], batch).sum(1),
            "ref_KL_logps": log_probs(mismatched_base, crossed).sum(1),
        }

        def model(own=own, mismatched=mismatched, **given: torch.Tensor) -> SimpleNamespace:
            is_kl = given["input_ids"] is crossed["input_ids"]
            return answer(mismatched, crossed) if is_kl else answer(own, batch)

        loss = KTOTrainer._compute_loss(self, model, inputs, False)
        loss.backward()
        assert mismatched.grad is None
        tensors[f"kto/grad/{name}"] = own.grad
        kl = self._metrics["train"]["kl"][0]
        cases.append(
            {"name": name, "desirableWeight": desirable, "undesirableWeight": undesirable, "loss": loss.item(), "kl": kl}
        )
    assert cases[0]["kl"] > 0 and cases[1]["kl"] == 0
    return tensors, cases


def orpo() -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    sides = {"chosen": batch_of(CHOSEN, PROMPTS), "rejected": batch_of(REJECTED, PROMPTS)}
    both = batch_of(CHOSEN + REJECTED, PROMPTS + PROMPTS)
    own = learned(7, (*both["input_ids"].shape, VOCABULARY))
    inputs = {}
    for side, batch in sides.items():
        inputs[f"{side}_input_ids"] = batch["input_ids"]
        inputs[f"{side}_attention_mask"] = batch["attention_mask"]
        inputs[f"{side}_labels"] = batch["input_ids"].masked_fill(batch["completion_mask"] == 0, -100)
    self = trainer(is_encoder_decoder=False, padding_value=0)
    for name in ("concatenated_forward", "odds_ratio_loss"):
        setattr(self, name, getattr(ORPOTrainer, name).__get__(self))
    for name in ("concatenated_inputs", "get_batch_logps"):
        setattr(self, name, getattr(ORPOTrainer, name))
    loss, metrics = ORPOTrainer.get_batch_loss_metrics(self, lambda *_, **__: SimpleNamespace(logits=own), inputs)
    loss.backward()
    tensors = {"orpo/in/tokens": both["input_ids"], "orpo/in/own": own, "orpo/grad/own": own.grad}
    return tensors, [
        {
            "loss": loss.item(),
            "likelihood": metrics["nll_loss"],
            "margin": metrics["rewards/margins"],
            "accuracy": metrics["rewards/accuracies"],
        }
    ]


def reward() -> tuple[dict[str, torch.Tensor], list[dict[str, object]]]:
    margins = [0.5, 0.0, 1.0, 0.25]
    tensors = {"reward/in/scores": learned(8, (8, 1))}
    cases = []
    for name, given, center in (("plain", [0.0] * 4, 0.0), ("margins", margins, 0.0), ("centered", margins, 0.01)):
        scores = learned(8, (8, 1))
        self = trainer(args=SimpleNamespace(center_rewards_coefficient=center or None))
        inputs = {"attention_mask": torch.ones(8, 2), "margin": torch.tensor(given)}
        loss = RewardTrainer.compute_loss(self, lambda scores=scores, **_: SimpleNamespace(logits=scores), inputs)
        loss.backward()
        tensors[f"reward/grad/{name}"] = scores.grad
        metrics = self._metrics["train"]
        cases.append(
            {
                "name": name,
                "margins": given,
                "centerRewards": center,
                "loss": loss.item(),
                "margin": metrics["margin"][0],
                "accuracy": metrics["accuracy"][0],
            }
        )
    return tensors, cases


def scores(kind: str) -> dict[str, torch.Tensor]:
    """What transformers' class for classes answers with a head on the small decoder fixture, rows right-padded."""
    source = ROOT / "packages/models/test/golden" / kind
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=1, dtype=torch.float32, pad_token_id=0).eval()
    with torch.no_grad():
        model.score.weight.copy_(noise(9, tuple(model.score.weight.shape)))
        lengths = [7, 3, 5]
        rows = [torch.randint(1, 97, (length,), generator=torch.Generator().manual_seed(length)).tolist() for length in lengths]
        tokens = padded(rows)
        mask = padded([[1] * length for length in lengths])
        logits = model(input_ids=tokens, attention_mask=mask).logits
    found = {"in/tokens": tokens, "in/mask": mask.float(), "in/score.weight": model.score.weight, "out/logits": logits}
    return {f"score.{kind}/{name}": t for name, t in found.items()}


STEPS, LR, DECAY, RANK, ALPHA = 5, 0.01, 0.1, 3, 6


def steps(objective: str) -> tuple[dict[str, torch.Tensor], list[float]]:
    """AdamW steps of a LoRA over the small llama fixture by a trainer's loss; the reference is the same model with the adapter disabled."""
    source = ROOT / "packages/models/test/golden/llama"
    model = get_peft_model(
        AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).eval(),
        LoraConfig(r=RANK, lora_alpha=ALPHA, target_modules=["q_proj", "v_proj"]),
    )
    parameters = {
        name.removeprefix("base_model.model.").replace(".default", ""): p for name, p in model.named_parameters() if p.requires_grad
    }
    with torch.no_grad():
        for i, (_name, p) in enumerate(sorted(parameters.items())):
            p.copy_(0.3 * noise(i, tuple(p.shape)))
    tensors = {f"steps.{objective}/in/{name}": p.detach().clone() for name, p in parameters.items()}
    both = batch_of(CHOSEN + REJECTED, PROMPTS + PROMPTS)
    single, crossed = batch_of(CHOSEN, PROMPTS), batch_of([CHOSEN[-1], *CHOSEN[:-1]], PROMPTS)

    def run(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits

    def reference(batch: dict[str, torch.Tensor]) -> torch.Tensor:
        with torch.no_grad(), model.disable_adapter():
            return log_probs(run(batch), batch).sum(1)

    def loss_of() -> torch.Tensor:
        if objective == "dpo":
            self = trainer(
                ld_alpha=None,
                precompute_ref_logps=True,
                f_divergence_type="reverse_kl",
                loss_types=["sigmoid"],
                loss_weights=[1.0],
                label_smoothing=0,
                use_weighting=False,
            )
            ref_chosen, ref_rejected = reference(both).chunk(2)
            inputs = {**both, "ref_chosen_logps": ref_chosen, "ref_rejected_logps": ref_rejected}
            return DPOTrainer._compute_loss(self, lambda **_: answer(run(both), both), inputs, False)
        self = trainer(calculate_KL=True, precompute_ref_logps=True, loss_type="kto", desirable_weight=1.0, undesirable_weight=1.5)
        self._compute_kl_logps = lambda given, inputs, self=self: KTOTrainer._compute_kl_logps(self, given, inputs)
        inputs = {
            **single,
            "KL_input_ids": crossed["input_ids"],
            "KL_attention_mask": crossed["attention_mask"],
            "KL_completion_mask": crossed["completion_mask"],
            "label": torch.tensor(LABELS),
            "ref_logps": reference(single),
            "ref_KL_logps": reference(crossed),
        }

        def given(**kw: torch.Tensor) -> SimpleNamespace:
            batch = crossed if kw["input_ids"] is crossed["input_ids"] else single
            return answer(run(batch), batch)

        return KTOTrainer._compute_loss(self, given, inputs, False)

    optimizer = torch.optim.AdamW(list(parameters.values()), lr=LR, weight_decay=DECAY)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of()
        losses.append(loss.item())
        loss.backward()
        optimizer.step()
    return tensors | {f"steps.{objective}/out/{name}": p.detach().clone() for name, p in parameters.items()}, losses


def make() -> None:
    trained = {objective: steps(objective) for objective in ("dpo", "kto")}
    made = {"dpo": dpo(), "kto": kto(), "orpo": orpo(), "reward": reward()}
    path = folder("tuning", "preferences")
    heads = {name: t for kind in ("llama", "gpt2") for name, t in scores(kind).items()}
    write_tensors(path / "golden.safetensors", {name: t for tensors, _ in [*made.values(), *trained.values()] for name, t in tensors.items()} | heads)
    write_json(
        path / "golden.json",
        {
            "maker": "preferences.py",
            "beta": BETA,
            "prompts": PROMPTS,
            "chosen": CHOSEN,
            "rejected": REJECTED,
            "labels": LABELS,
            "tolerance": 1e-5,
            "steps": {
                "lr": LR,
                "weightDecay": DECAY,
                "lora": {"r": RANK, "loraAlpha": ALPHA, "targetModules": ["q", "v"]},
                "losses": {objective: losses for objective, (_, losses) in trained.items()},
            },
            **{name: cases for name, (_, cases) in made.items()},
        },
    )


MAKERS = {"tuning/preferences": make}
