"""The interface of tokenizers: frames to small latents and back."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from worldeval.axes import Float, Int


class FrameTokenizer(nn.Module):
    """Base class of tokenizers: frames (0-1) of a known (task, view) to latents and back."""

    grid: tuple[int, int, int]  # d h w of one view's latent

    def encode(
        self, frames: Float[Tensor, "n 3 h w"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n d y x"]:
        """Encode to standardised latents: about zero mean, unit variance per view and channel."""
        raise NotImplementedError

    def decode(
        self, latents: Float[Tensor, "n d y x"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Decode standardised latents to frames (0-1, not clipped)."""
        raise NotImplementedError


def index_of(names: Sequence[str], known: Sequence[str]) -> Int[Tensor, " n"]:
    """Indices of `names` in `known`, as a tensor."""
    place = {name: index for index, name in enumerate(known)}
    return torch.tensor([place[name] for name in names])
