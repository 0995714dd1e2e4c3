"""MiniLM tuned on labelled sentences with transformers, and PEFT for LoRA: the job of ../minilm-tuning.ts, its batches and its starting point."""

import json
import os
import sys
import time

import peft
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer, get_linear_schedule_with_warmup

torch.set_num_threads(int(os.environ.get("LFM_THREADS", "2")))
torch.manual_seed(0)

with open(sys.argv[1]) as file:
    job = json.load(file)
config = job["config"]
start = load_file(job["start"])

tokenizer = AutoTokenizer.from_pretrained(job["model"])
# No dropout, as ours.
encoder = AutoModel.from_pretrained(
    job["model"], add_pooling_layer=False, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
)
head = torch.nn.Linear(encoder.config.hidden_size, job["classes"])
with torch.no_grad():
    head.weight.copy_(start["classifier.weight"])
    head.bias.copy_(start["classifier.bias"])

if job["method"] == "lora":
    encoder = peft.get_peft_model(
        encoder,
        peft.LoraConfig(
            r=config["r"], lora_alpha=config["loraAlpha"], lora_dropout=0.0, target_modules=["query", "key", "value", "dense"]
        ),
    )
    matched = 0
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            plain = name.removeprefix("base_model.model.").replace(".default", "")
            if "lora_A" in name:
                p.copy_(start[plain])
                matched += 1
    assert matched == sum("lora_A" in name for name in start), "other layers than ours have an adapter"

trained = [p for p in [*encoder.parameters(), *head.parameters()] if p.requires_grad]
optimizer = torch.optim.AdamW(trained, lr=config["lr"], weight_decay=config["weightDecay"])
assert config["schedule"] == "linear"
schedule = get_linear_schedule_with_warmup(optimizer, config["warmup"], config["steps"])


def logits(texts: list[str]) -> torch.Tensor:
    batch = tokenizer(texts, padding=True, truncation=True, max_length=job["maxLength"], return_tensors="pt")
    last = encoder(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    return head((last * mask).sum(1) / mask.sum(1).clamp(min=1e-9))


began = time.perf_counter()
losses = []
encoder.train()
for chosen in job["batches"]:
    loss = F.cross_entropy(logits([job["train"]["texts"][i] for i in chosen]), torch.tensor([job["train"]["labels"][i] for i in chosen]))
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if config.get("clipNorm"):
        torch.nn.utils.clip_grad_norm_(trained, config["clipNorm"])
    optimizer.step()
    schedule.step()
    losses.append(loss.item())
    print(f"{len(losses)}/{len(job['batches'])} {losses[-1]:.4f}", file=sys.stderr, flush=True)
train_ms = 1000 * (time.perf_counter() - began)

encoder.eval()
right = 0
texts, labels = job["test"]["texts"], job["test"]["labels"]
order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
with torch.inference_mode():
    for at in range(0, len(order), 64):
        some = order[at : at + 64]
        answers = logits([texts[i] for i in some]).argmax(-1).tolist()
        right += sum(answer == labels[i] for answer, i in zip(answers, some))

print(
    json.dumps(
        {
            "accuracy": right / len(texts),
            "losses": losses,
            "trainableParams": sum(p.numel() for p in trained),
            "trainMs": train_ms,
            "versions": {"torch": torch.__version__, "transformers": transformers.__version__, "peft": peft.__version__},
        }
    )
)
