"""Action chunks as tokens at several time scales, by residual quantisation.

As in CARP (arXiv 2412.06782) and VAR (Tian et al., arXiv 2404.02905, algorithms 1 and 2): the chunk
is averaged to a scale's length and quantised, and what is left goes on to the next scale. Codebooks
are moving averages of the numbers that they code (van den Oord et al., arXiv 1711.00937, appendix
A.1), and codes that nothing uses are moved to numbers of the batch.
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

DECAY = 0.98  # of the codebooks' averages
UNUSED = 0.02  # times the mean use of a code: below, it is moved


@dataclass(frozen=True, kw_only=True, eq=False)
class Tokens:
    """Tokens of chunks, from coarse to fine; scales that are not known yet are missing."""

    choice: Int[Tensor, " b"] | None
    details: tuple[Int[Tensor, "b _ a"], ...] = ()

    def with_details(self, found: Int[Tensor, "b s a"]) -> "Tokens":
        """Add the next scale."""
        return replace(self, details=(*self.details, found))


class ScaleTokens(nn.Module):
    """Codebooks of vectors for the chunk's mean, and of single numbers for every finer scale."""

    def __init__(self, chunk: int, action: int, codes: int) -> None:
        super().__init__()
        self.chunk, self.scales = chunk, scales_of(chunk)
        self.mean = Codebook(codes, action)
        self.rest = nn.ModuleList(Codebook(codes, 1) for _ in self.scales)

    @property
    def books(self) -> list["Codebook"]:
        """The codebooks of the finer scales."""
        return [book for book in self.rest if isinstance(book, Codebook)]

    def encode(self, chunk: Float[Tensor, "b k a"]) -> Tokens:
        """Quantise chunks, scale after scale."""
        choice = self.mean.nearest(chunk.mean(1))
        left, details = chunk - self.mean(choice)[:, None], []
        for scale, book in zip(self.scales, self.books, strict=True):
            found = book.nearest(resized(left, scale)[..., None])
            details.append(found)
            left = left - resized(book(found)[..., 0], self.chunk)
        return Tokens(choice=choice, details=tuple(details))

    def built(self, tokens: Tokens) -> list[Float[Tensor, "b k a"]]:
        """The chunk after every scale of `tokens`, the coarsest first."""
        if tokens.choice is None:
            return []
        built = [self.mean(tokens.choice)[:, None].expand(-1, self.chunk, -1)]
        for found, book in zip(tokens.details, self.books, strict=False):
            built.append(built[-1] + resized(book(found)[..., 0], self.chunk))
        return built

    @torch.no_grad()
    def learn(self, chunk: Float[Tensor, "b k a"], generator: torch.Generator) -> None:
        """Move the codebooks towards a batch of chunks."""
        middle = chunk.mean(1)
        self.mean.learn(middle, generator)
        left = chunk - self.mean(self.mean.nearest(middle))[:, None]
        for scale, book in zip(self.scales, self.books, strict=True):
            rough = resized(left, scale)[..., None]
            book.learn(rough.reshape(-1, 1), generator)
            left = left - resized(book(book.nearest(rough))[..., 0], self.chunk)


class Codebook(nn.Module):
    """Vectors that stand for those near them."""

    codes: Tensor
    uses: Tensor
    sums: Tensor

    def __init__(self, count: int, size: int) -> None:
        super().__init__()
        first = torch.randn(count, size)
        self.register_buffer("codes", first)
        self.register_buffer("uses", torch.zeros(count))
        self.register_buffer("sums", torch.zeros_like(first))

    def forward(self, found: Int[Tensor, "*b"]) -> Float[Tensor, "*b e"]:
        """The vectors of codes."""
        return self.codes[found]

    def nearest(self, x: Float[Tensor, "*b e"]) -> Int[Tensor, "*b"]:
        """The code nearest to every vector."""
        flat = x.reshape(-1, x.shape[-1])
        return torch.cdist(flat, self.codes).argmin(1).view(x.shape[:-1])

    def learn(self, x: Float[Tensor, "b e"], generator: torch.Generator) -> None:
        """Move codes to the moving average of what they code, and unused ones into the batch."""
        which = F.one_hot(self.nearest(x), len(self.codes)).to(x.dtype)
        self.uses.lerp_(which.sum(0), 1 - DECAY)
        self.sums.lerp_((which.mT @ x).to(self.sums), 1 - DECAY)
        idle = (self.uses < UNUSED * self.uses.mean())[:, None]
        rows = torch.randint(len(x), (len(self.codes),), generator=generator).to(x.device)
        moved = self.sums / self.uses.clamp_min(1e-8)[:, None]
        self.codes.copy_(torch.where(idle, x[rows], moved))


def scales_of(chunk: int) -> tuple[int, ...]:
    """Lengths of the scales after the mean: 1, 2, 4, ..., and the chunk, which is the last."""
    halves = tuple(2**power for power in range(1, chunk.bit_length()) if 2**power < chunk)
    return (1, *halves, chunk) if chunk > 1 else (1,)


def resized(x: Float[Tensor, "b t a"], length: int) -> Float[Tensor, "b _ a"]:
    """Average (or repeat) over time to another length."""
    if x.shape[1] == length:
        return x
    if length < x.shape[1]:
        return F.adaptive_avg_pool1d(x.mT, length).mT
    return F.interpolate(x.mT, size=length, mode="nearest").mT
