"""Two merged models side by side: `merge_compare.py OURS THEIRS [load]` → JSON on stdout.

Counts over all tensors: elements, elements equal as f32, largest distance in steps of bf16, largest difference relative to the largest
magnitude of the tensor; and what differs of keys, shapes, dtypes and config.json. `load`: transformers loads ours and runs it.
"""

import glob
import json
import os
import sys

import torch
from safetensors import safe_open


def open_folder(folder):
    found = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        file = safe_open(path, framework="pt")
        for name in file.keys():
            found[name] = (file, path)
    return found


def bits(t):
    """bf16 numbers as integers in their order."""
    i = t.to(torch.bfloat16).view(torch.int16).to(torch.int32)
    return torch.where(i < 0, -(i & 0x7FFF), i)


ours, theirs = (open_folder(folder) for folder in sys.argv[1:3])
result = {
    "missing": sorted(set(theirs) - set(ours)),
    "extra": sorted(set(ours) - set(theirs)),
    "types": [],
    "elements": 0,
    "equal": 0,
    "ulps": 0,
    "relative": 0.0,
    "worst": None,
}
for name in sorted(set(ours) & set(theirs)):
    a, b = ours[name][0].get_tensor(name), theirs[name][0].get_tensor(name)
    if a.shape != b.shape or a.dtype != b.dtype:
        result["types"].append([name, str(a.dtype), list(a.shape), str(b.dtype), list(b.shape)])
        continue
    x, y = a.float(), b.float()
    result["elements"] += x.numel()
    result["equal"] += int((x == y).sum())
    relative = float((x - y).abs().max() / y.abs().max().clamp(min=1e-30))
    if relative > result["relative"]:
        result["relative"], result["worst"] = relative, name
    if a.dtype == torch.bfloat16:
        result["ulps"] = max(result["ulps"], int((bits(a) - bits(b)).abs().max()))

configs = [json.load(open(os.path.join(folder, "config.json"))) for folder in sys.argv[1:3]]
# The version that wrote a file is not a property of the model.
result["config"] = sorted(
    key for key in set(configs[0]) | set(configs[1]) if configs[0].get(key) != configs[1].get(key) and key != "transformers_version"
)
if "load" in sys.argv[3:]:
    from transformers import AutoModelForCausalLM

    model, info = AutoModelForCausalLM.from_pretrained(sys.argv[1], output_loading_info=True)
    logits = model(torch.arange(8).unsqueeze(0)).logits
    result["loads"] = bool(torch.isfinite(logits).all()) and not info["missing_keys"] and not info["unexpected_keys"]
print(json.dumps(result))
