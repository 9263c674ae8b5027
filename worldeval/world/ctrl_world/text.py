"""Embed instructions for Ctrl-World: CLIP's text embedding, tiled to the width of a token."""

from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from worldeval.axes import Float
from worldeval.errors import UserError
from worldeval.world.text import embed_texts


def embed_tasks(folder: Path, tasks: Sequence[str], *, width: int) -> Float[Tensor, "n c"]:
    """Embed tasks with the CLIP text encoder in `folder` (openai/clip-vit-base-patch32's).

    The official model adds the 512 numbers, tiled twice, to every frame's token of 1024.
    """
    found = embed_texts(folder, tasks)
    if width % found.shape[1]:
        raise UserError(
            f"Embeddings of {found.shape[1]} dimensions cannot be tiled to a token of {width} "
            f"(unet.token). Use another text encoder, or another token width."
        )
    return found.repeat(1, width // found.shape[1])
