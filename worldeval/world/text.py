"""Embed instructions with a text encoder from a local folder: CLIP's, or a sentence encoder."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.errors import UserError
from worldeval.files import read_object
from worldeval.world.torchvision_ops import need_torchvision

AT_ONCE = 256  # texts encoded per batch

Encoder = Callable[[list[str]], Float[Tensor, "n c"]]


@torch.no_grad()
def embed_texts(folder: Path, texts: Sequence[str]) -> Float[Tensor, "n c"]:
    """Embed texts with the encoder in `folder`, a local copy of a Hugging Face model.

    CLIP gives its projected text embedding (Radford et al., 2021). Other encoders give the mean of
    their last hidden states over the words (Sentence-BERT; Reimers & Gurevych, 2019).

    Raises:
        UserError: transformers is not installed, or the folder holds no text encoder.
    """
    encode = _encoder(folder)
    cuts = range(0, len(texts), AT_ONCE)
    return torch.cat([encode(list(texts[begin : begin + AT_ONCE])) for begin in cuts])


@lru_cache(maxsize=1)
def _encoder(folder: Path) -> Encoder:
    """Load a tokenizer and an encoder, cached for the next batch of texts."""
    need_torchvision()  # transformers imports it
    try:
        from transformers import AutoModel, AutoTokenizer, CLIPTextModelWithProjection
    except ImportError as error:
        raise UserError(
            "Reading instructions needs transformers: pip install 'worldeval[diffusers]'. Or leave "
            "the text encoder out."
        ) from error
    if not (folder / "config.json").is_file():
        raise UserError(
            f"{folder} contains no text encoder (no config.json). Name a local copy of "
            "openai/clip-vit-base-patch32 or of a sentence encoder, or leave it out."
        )
    clip = str(read_object(folder / "config.json").get("model_type", "")).startswith("clip")
    words = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    kind = CLIPTextModelWithProjection if clip else AutoModel
    model: Any = kind.from_pretrained(folder, local_files_only=True).eval()

    def encode(texts: list[str]) -> Float[Tensor, "n c"]:
        padding = "max_length" if clip else True
        read = words(texts, padding=padding, truncation=True, return_tensors="pt")
        found = model(input_ids=read["input_ids"], attention_mask=read["attention_mask"])
        if clip:
            return found.text_embeds
        mask = read["attention_mask"][..., None].float()
        return (found.last_hidden_state * mask).sum(1) / mask.sum(1).clamp_min(1)

    return encode
