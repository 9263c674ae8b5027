"""A tiny random CLIP text encoder in a local folder, in the layout of transformers."""

import json
from pathlib import Path

import pytest
import torch

from worldeval.world.torchvision_ops import need_torchvision

WIDTH = 8  # of the embedding


def tiny_clip(folder: Path) -> Path:
    """Write the encoder to `folder`, which exists."""
    need_torchvision()
    transformers = pytest.importorskip("transformers")
    letters = [chr(code) for code in range(ord("a"), ord("z") + 1)]
    words = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{each}</w>" for each in letters)]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 12})
    )
    torch.manual_seed(0)
    config = transformers.CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=8,
        intermediate_size=16,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    transformers.CLIPTextModelWithProjection(config).save_pretrained(folder)
    return folder
