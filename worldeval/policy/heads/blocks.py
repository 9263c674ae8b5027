"""The transformer block that several heads share."""

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor, nn

HEADS = 4


class TokenBlock(nn.Module):
    """Attention and an MLP, each after layer normalisation and added to its input.

    Attention is written out, because an energy needs second derivatives, which fused kernels lack.
    """

    def __init__(self, width: int, *, expand: int = 2) -> None:
        super().__init__()
        if width % HEADS:
            raise ValueError(f"width {width} must be a multiple of {HEADS}, the attention heads")
        self.before_attention, self.before_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.enter, self.leave = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, expand * width), nn.SiLU(), nn.Linear(expand * width, width)
        )

    def forward(
        self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "n n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Transform tokens; token i reads token j where `mask[i, j]` (None: everywhere)."""
        parts = self.enter(self.before_attention(x))
        q, k, v = rearrange(parts, "b n (part h e) -> part b h n e", part=3, h=HEADS)
        score = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
        if mask is not None:
            score = score.masked_fill(~mask, float("-inf"))
        read = rearrange(score.softmax(-1) @ v, "b h n e -> b n (h e)")
        x = x + self.leave(read)
        return x + self.mlp(self.before_mlp(x))


class Tower(nn.Module):
    """Blocks, and a last normalisation."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(TokenBlock(width) for _ in range(depth))
        self.last = nn.LayerNorm(width)

    def forward(
        self, x: Float[Tensor, "b n d"], mask: Bool[Tensor, "n n"] | None = None
    ) -> Float[Tensor, "b n d"]:
        """Apply every block."""
        for block in self.blocks:
            x = block(x, mask)
        return self.last(x)


def places(count: int, width: int) -> nn.Parameter:
    """Learned positions of `count` tokens, from the start about as large as their contents."""
    return nn.Parameter(0.5 * torch.randn(count, width))
