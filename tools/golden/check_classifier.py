"""PEFT loads the classifier that `lfm tune` writes: no key missing, none unexpected, the loss and the accuracy that `lfm eval` measures.

    python tools/golden/check_classifier.py
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from peft import PeftConfig, get_peft_model, load_peft_weights, set_peft_model_state_dict
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel

from fixture import ROOT, spread_parameters

warnings.simplefilter("ignore")
WORDS = ["<pad>", "<unk>", "cat", "dog", "mat", "road", "good", "bad", "fine"]
LABELS = {"good": "yes", "bad": "no", "fine": "maybe"}


def lfm(*arguments: str) -> dict[str, object]:
    main = 'import { main } from "./apps/cli/src/main.js"; import { runHere } from "./apps/cli/src/program/run-job.js";'
    run = f"{main} main({json.dumps([*arguments, '--json', '--quiet'])}, {{ io: process, runJob: runHere }}).then((c) => process.exit(c));"
    command = ["npx", "tsx", "--conditions=@lfm/source", "--input-type=module", "--eval", run]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout)


def check(method: str, base: Path, rows: list[dict[str, str]], scratch: Path) -> bool:
    data, out = scratch / "rows.jsonl", scratch / method
    data.write_text("\n".join(json.dumps(row) for row in rows))
    lfm("tune", method, "--model", str(base), "--data", str(data), "--steps", "60", "--lr", "0.02", "--out", str(out))
    measured = lfm("eval", "--model", str(base), "--delta", str(out), "--data", str(data))["metrics"]
    labels = json.loads((out / "labels.json").read_text())
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels))
    model = get_peft_model(model, PeftConfig.from_pretrained(out)).eval()
    result = set_peft_model_state_dict(model, load_peft_weights(str(out), device="cpu"))
    missing = [key for key in result.missing_keys if ".default" in key]
    right, loss = 0, 0.0
    for row in rows:
        ids = torch.tensor([[WORDS.index(word) for word in row["text"].split()]])
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0]
        right += labels[int(logits.argmax())] == row["label"]
        loss -= logits.log_softmax(-1)[labels.index(row["label"])].item() / len(rows)
    accuracy = right / len(rows)
    print(
        f"{method}: missing {len(missing)}, unexpected {len(result.unexpected_keys)}; accuracy {accuracy:.4f} ({measured['accuracy']:.4f}), "
        f"loss {loss:.6f} ({measured['loss']:.6f})",
        flush=True,
    )
    return not missing and not result.unexpected_keys and accuracy == measured["accuracy"] and abs(loss - measured["loss"]) < 1e-5


def main() -> None:
    torch.set_num_threads(1)
    random.seed(0)
    rows = [
        {"text": " ".join([*random.choices(WORDS[2:6], k=3), mood]), "label": label} for _ in range(12) for mood, label in LABELS.items()
    ]
    with tempfile.TemporaryDirectory() as scratch:
        base = Path(scratch, "base")
        model = BertModel(BertConfig(vocab_size=len(WORDS), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2))
        spread_parameters(model, seed=1)
        model.save_pretrained(base)
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="<unk>"))
        tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
        tokenizer.save(str(base / "tokenizer.json"))
        (base / "tokenizer_config.json").write_text(json.dumps({"pad_token": "<pad>", "unk_token": "<unk>"}))
        results = [check(method, base, rows, Path(scratch)) for method in ("lora", "ia3")]
    if not all(results):
        sys.exit("PEFT's classifier is another one")
    print("PEFT measures what lfm measures; in brackets the numbers of lfm eval")


if __name__ == "__main__":
    main()
