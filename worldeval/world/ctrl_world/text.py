"""Embed instructions for Ctrl-World: CLIP's text embedding, tiled to the width of a token."""

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.errors import UserError
from worldeval.world.torchvision_ops import need_torchvision

AT_ONCE = 256  # instructions encoded per batch


@torch.no_grad()
def embed_tasks(folder: Path, tasks: Sequence[str], *, width: int) -> Float[Tensor, "n c"]:
    """Embed tasks with the CLIP text encoder in `folder` (openai/clip-vit-base-patch32's).

    The official model adds the 512 numbers, tiled twice, to every frame's token of 1024.
    """
    words, encoder = _reader(folder)
    parts = []
    for begin in range(0, len(tasks), AT_ONCE):
        part = list(tasks[begin : begin + AT_ONCE])
        read = words(part, padding="max_length", truncation=True, return_tensors="pt")
        ids, mask = read["input_ids"], read["attention_mask"]
        parts.append(encoder(input_ids=ids, attention_mask=mask).text_embeds)
    found = torch.cat(parts)
    if width % found.shape[1]:
        raise UserError(
            f"Embeddings of {found.shape[1]} dimensions cannot be tiled to a token of {width} "
            f"(unet.token). Use another text encoder, or another token width."
        )
    return found.repeat(1, width // found.shape[1])


@lru_cache(maxsize=1)
def _reader(folder: Path) -> tuple[Any, Any]:
    """Load the text tokenizer and encoder, cached for the next batch of episodes."""
    need_torchvision()  # transformers imports it
    try:
        from transformers import AutoTokenizer, CLIPTextModelWithProjection
    except ImportError as error:
        raise UserError(
            "Reading instructions needs CLIP's text encoder: pip install 'worldeval[diffusers]'. "
            "Or leave `text` empty."
        ) from error
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} contains no CLIP text encoder (no config.json). Name a local copy of "
            "openai/clip-vit-base-patch32, or leave `text` empty."
        )
    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return words, CLIPTextModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
