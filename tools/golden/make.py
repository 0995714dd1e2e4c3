"""Makes the golden fixtures named on the command line, or all: see make.sh."""

from __future__ import annotations

import os
import sys

import adapter_merges
import alignment
import answers
import architectures
import chat
import config_options
import data_merges
import distillation
import distillation_losses
import editing
import editing_batch
import encoder_decoder
import encoders
import formats
import generation
import gguf_files
import input_tuning
import layer_tuning
import learned_editing
import linalg
import lora_merges
import memory_editing
import mergekit_config
import merges
import meta
import meta_methods
import operations
import optimizers
import perplexity
import plain_networks
import preferences
import probe
import real_models
import safetensors_verdicts
import sentence_embeddings
import subject_memory
import text
import tokenizer_files
import tuning
from fixture import run_makers

modules = [adapter_merges, alignment, answers, architectures, chat, config_options, data_merges, distillation, distillation_losses, editing, editing_batch, encoder_decoder, encoders, formats, generation, gguf_files, input_tuning, layer_tuning, learned_editing, linalg, lora_merges, memory_editing, mergekit_config, merges, meta, meta_methods, operations, optimizers, perplexity, plain_networks, preferences, probe, real_models, safetensors_verdicts, sentence_embeddings, subject_memory, text, tokenizer_files, tuning]
makers = {name: make for module in modules for name, make in module.MAKERS.items()}
wanted = sys.argv[1:] or list(makers)
unknown = [name for name in wanted if name not in makers]
if unknown:
    sys.exit(f"no maker {', '.join(unknown)}; there are: {', '.join(makers)}")
if "models/minilm" in wanted and not os.environ.get("LFM_MODELS"):
    if sys.argv[1:]:
        sys.exit("models/minilm needs LFM_MODELS, the folder that holds all-MiniLM-L6-v2")
    print("left as it is: models/minilm (LFM_MODELS is not set)", flush=True)
    wanted.remove("models/minilm")
run_makers({name: makers[name] for name in wanted})
