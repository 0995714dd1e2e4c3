"""Small random encoders beside BERT and ViT, with outputs and gradients: roberta, distilbert, dinov2, resnet."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    PreTrainedModel,
    ResNetConfig,
    ResNetForImageClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
    RobertaModel,
)

from architectures import built, save_model
from fixture import Array, folder, gradients, noise, prefixed, tokens, write_json, write_tensors

VOCABULARY = 61
LABEL_LOSS = "mean over the batch of the cross entropy of logits against in/labels"
TOLERANCE = {"logits": 1e-4, "grad": "1e-4 of max|grad| of that parameter"}


def texts() -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens padded on the right with RoBERTa's padding id 1, one of them inside of a text: no gradient reaches its row."""
    mask = torch.tensor([[1] * 9, [1] * 6 + [0] * 3, [1] * 2 + [0] * 7])
    ids = tokens(51, (3, 9), VOCABULARY - 2) + 2
    ids[1, 3] = 1
    return torch.where(mask == 1, ids, 1), mask


def make_classifier(name: str, model: PreTrainedModel) -> None:
    path = folder("models", name)
    save_model(model, path)
    ids, mask = texts()
    labels = torch.tensor([2, 0, 1])
    result = model(input_ids=ids, attention_mask=mask, output_hidden_states=True)
    loss = F.cross_entropy(result.logits, labels)
    keep = mask[..., None].to(torch.float32)
    tensors: dict[str, Array] = {
        "padded/in/tokens": ids, "padded/in/mask": mask.to(torch.float32), "padded/in/labels": labels,
        "padded/out/logits": result.logits, "padded/out/loss": loss, "padded/out/last": result.hidden_states[-1] * keep,
        **{f"padded/out/hidden.{i}": h * keep for i, h in enumerate(result.hidden_states)},
        **prefixed("padded/grad", gradients(model, loss)),
        "defaults/in/tokens": ids, "defaults/out/logits": model(input_ids=ids).logits,
    }  # fmt: skip
    positions = torch.arange(3, 12).expand(3, 9)
    if not isinstance(model, DistilBertForSequenceClassification):
        tensors |= {"positions/in/tokens": ids, "positions/in/positions": positions, "positions/out/logits": model(input_ids=ids, position_ids=positions).logits}
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "encoders.py", "cases": ["padded", "defaults"], "gradients_of": "padded", "loss": LABEL_LOSS,
            "masked": "positions with mask 0 are written as 0 in last and hidden.i", "tolerance": TOLERANCE,
        },
    )  # fmt: skip


def roberta_config() -> RobertaConfig:
    return RobertaConfig(
        vocab_size=VOCABULARY, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=20, type_vocab_size=1, num_labels=3, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        pad_token_id=1, layer_norm_eps=1e-5,
    )  # fmt: skip


def make_roberta_encoder() -> None:
    path = folder("models", "roberta-encoder")
    model = built(RobertaModel, roberta_config(), seed=62)
    save_model(model, path)
    ids, mask = texts()
    result = model(input_ids=ids, attention_mask=mask)
    embeddings = noise(63, (2, 5, 16))
    tensors: dict[str, Array] = {
        "padded/in/tokens": ids, "padded/in/mask": mask.to(torch.float32), "padded/out/pooled": result.pooler_output,
        "padded/out/last": result.last_hidden_state * mask[..., None], "embeddings/in/embeddings": embeddings,
        "embeddings/out/last": model(inputs_embeds=embeddings).last_hidden_state,
    }  # fmt: skip
    write_tensors(path / "golden.safetensors", tensors)
    write_json(path / "golden.json", {"maker": "encoders.py", "cases": ["padded", "embeddings"], "tolerance": TOLERANCE})


def distilbert() -> DistilBertForSequenceClassification:
    config = DistilBertConfig(
        vocab_size=VOCABULARY, dim=16, hidden_dim=24, n_layers=2, n_heads=2, max_position_embeddings=20, num_labels=3,
        dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0,
    )  # fmt: skip
    return built(DistilBertForSequenceClassification, config, seed=64)


def checkpoint_names(named: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """transformers 5 renamed modules of DINOv2 and took SwiGLU's layer apart, but writes checkpoints as before."""
    renamed = {
        "attention.q_proj": "attention.attention.query", "attention.k_proj": "attention.attention.key",
        "attention.v_proj": "attention.attention.value", "attention.o_proj": "attention.output.dense",
        "mlp.down_proj": "mlp.weights_out",
    }  # fmt: skip
    out: dict[str, torch.Tensor] = {}
    for name, value in named.items():
        if ".mlp.up_proj." in name:
            continue
        if ".mlp.gate_proj." in name:
            out[name.replace("gate_proj", "weights_in")] = torch.cat([value, named[name.replace("gate_proj", "up_proj")]])
            continue
        for new, old in renamed.items():
            name = name.replace(new, old)
        out[name] = value
    return out


def image_case(model: PreTrainedModel, size: int, channels: int) -> dict[str, Array]:
    pixels, labels = noise(65, (3, channels, size, size)), torch.tensor([1, 3, 0])
    result = model(pixel_values=pixels, output_hidden_states=True)
    loss = F.cross_entropy(result.logits, labels)
    return {
        "in/pixels": pixels, "in/labels": labels, "out/logits": result.logits, "out/loss": loss,
        **{f"out/hidden.{i}": h for i, h in enumerate(result.hidden_states)}, **prefixed("grad", checkpoint_names(gradients(model, loss))),
    }  # fmt: skip


def dinov2(swiglu: bool) -> Dinov2ForImageClassification:
    config = Dinov2Config(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, mlp_ratio=2, image_size=24, patch_size=6, num_channels=3,
        num_labels=4, use_swiglu_ffn=swiglu, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return built(Dinov2ForImageClassification, config, seed=66)


def make_dinov2(name: str, swiglu: bool) -> None:
    path = folder("models", name)
    model = dinov2(swiglu)
    save_model(model, path)
    larger = noise(67, (2, 3, 36, 48))
    with torch.inference_mode():
        encoder: Dinov2Model = model.dinov2
        wide = encoder(pixel_values=larger).last_hidden_state
        logits = model(pixel_values=larger).logits
    tensors = prefixed("plain", image_case(model, 24, 3)) | {
        "larger/in/pixels": larger, "larger/out/last": wide, "larger/out/logits": logits,
    }  # fmt: skip
    tensors = {name: value for name, value in tensors.items() if not name.startswith("plain/out/hidden")}
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "encoders.py", "cases": ["plain", "larger"], "gradients_of": "plain", "loss": LABEL_LOSS,
            "larger": "an image of another size: position embeddings are resized (bicubic)", "tolerance": TOLERANCE,
        },
    )  # fmt: skip


def resnet(layer: str, first: bool) -> ResNetForImageClassification:
    config = ResNetConfig(
        num_channels=3, embedding_size=6, hidden_sizes=[8, 12], depths=[2, 1], layer_type=layer, hidden_act="relu",
        downsample_in_first_stage=first, downsample_in_bottleneck=first, num_labels=4,
    )  # fmt: skip
    model = built(ResNetForImageClassification, config, seed=68)
    generator = torch.Generator().manual_seed(69)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim == 4:
                parameter.mul_(0.5)
        for name, buffer in model.named_buffers():
            if name.endswith("running_mean"):
                buffer.copy_(0.2 * torch.randn(buffer.shape, generator=generator))
            elif name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return model


def make_resnet(name: str, layer: str, first: bool) -> None:
    path = folder("models", name)
    model = resnet(layer, first)
    save_model(model, path)
    tensors = prefixed("eval", image_case(model, 33, 3))
    model.train()
    train = image_case(model, 33, 3)
    tensors |= prefixed("train", {k: v for k, v in train.items() if "hidden" not in k and not k.startswith("grad")})
    tensors |= prefixed("train/state", {n: b for n, b in model.named_buffers() if "running" in n})
    write_tensors(path / "golden.safetensors", tensors)
    write_json(
        path / "golden.json",
        {
            "maker": "encoders.py", "cases": ["eval", "train"], "gradients_of": "eval", "loss": LABEL_LOSS,
            "state": "running statistics of batch norms after the step in train mode", "tolerance": TOLERANCE,
        },
    )  # fmt: skip


MAKERS = {
    "models/roberta-classifier": lambda: make_classifier(
        "roberta-classifier", built(RobertaForSequenceClassification, roberta_config(), seed=61)
    ),
    "models/roberta-encoder": make_roberta_encoder,
    "models/distilbert-classifier": lambda: make_classifier("distilbert-classifier", distilbert()),
    "models/dinov2": lambda: make_dinov2("dinov2", False),
    "models/dinov2-swiglu": lambda: make_dinov2("dinov2-swiglu", True),
    "models/resnet-basic": lambda: make_resnet("resnet-basic", "basic", False),
    "models/resnet-bottleneck": lambda: make_resnet("resnet-bottleneck", "bottleneck", True),
}
