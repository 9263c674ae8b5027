"""The tokenizer network: frames to small latents and back, shared by every view and task."""

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.world.recipe import TokenizerRecipe
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Float[Tensor, "n d h w"]) -> Float[Tensor, "n d h w"]:
        return x + self.second(F.silu(self.first(F.silu(self.norm(x)))))


class Tokenizer(FrameTokenizer):
    """Encode frames (0-1) of a known (task, view) to standardised latents and decode them.

    A fixed camera shows mostly the same image, so the encoder also reads the difference from the
    mean image of its task and view, and the decoder's output is added to that mean image.
    """

    mean_image: Tensor  # task view 3 h w, 0-1
    shift: Tensor  # view d 1 1, of raw latents
    scale: Tensor  # view d 1 1

    def __init__(self, recipe: TokenizerRecipe, *, tasks: int, views: int, size: tuple[int, int]):
        super().__init__()
        widths, channels = recipe.widths, recipe.channels
        self.encoder = nn.Sequential(
            # Reduce to a quarter of the resolution at once: encoding needs less detail.
            nn.PixelUnshuffle(4),
            nn.Conv2d(16 * 6, widths[1], 3, padding=1),
            _Residual(widths[1]),
            *(
                nn.Sequential(nn.Conv2d(low, high, 4, stride=2, padding=1), _Residual(high))
                for low, high in itertools.pairwise(widths[1:])
            ),
            nn.GroupNorm(8, widths[-1]),
            nn.SiLU(),
            nn.Conv2d(widths[-1], channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(channels, widths[-1], 3, padding=1),
            _Residual(widths[-1]),
            *(
                nn.Sequential(nn.Conv2d(high, 4 * low, 1), nn.PixelShuffle(2), _Residual(low))
                for low, high in zip(widths[-2::-1], widths[:0:-1], strict=True)
            ),
            nn.GroupNorm(8, widths[0]),
            nn.SiLU(),
            nn.Conv2d(widths[0], 4 * 3, 3, padding=1),
            nn.PixelShuffle(2),
        )
        height, breadth = (side // 2 ** len(widths) for side in size)
        self.grid = (channels, height, breadth)
        self.register_buffer("mean_image", torch.zeros(tasks, views, 3, *size))
        self.register_buffer("shift", torch.zeros(views, channels, 1, 1))
        self.register_buffer("scale", torch.ones(views, channels, 1, 1))

    def raw(
        self, frames: Float[Tensor, "n 3 h w"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n d y x"]:
        """Encode to the raw latents of training, before they are standardised."""
        mean = self.mean_image[task, view]
        return self.encoder(
            torch.cat([frames - 0.5, 2 * (frames - mean)], 1).contiguous(
                memory_format=torch.channels_last
            )
        )

    def encode(
        self, frames: Float[Tensor, "n 3 h w"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n d y x"]:
        """Encode to standardised latents: zero mean and unit variance per view and channel."""
        return (self.raw(frames, task, view) - self.shift[view]) / self.scale[view]

    def decode(
        self, latents: Float[Tensor, "n d y x"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Decode standardised latents to frames (0-1, not clipped)."""
        return self.from_raw(latents * self.scale[view] + self.shift[view], task, view)

    def from_raw(
        self, raw: Float[Tensor, "n d y x"], task: Int[Tensor, " n"], view: Int[Tensor, " n"]
    ) -> Float[Tensor, "n 3 h w"]:
        """Decode raw latents to frames."""
        raw = raw.contiguous(memory_format=torch.channels_last)
        return self.decoder(raw).float() + self.mean_image[task, view]
