# The library's stubs are narrower than what it accepts and returns.
# pyright: reportArgumentType=false, reportCallIssue=false
"""Encoded episodes as flat arrays, the training data of dynamics models and judges.

One row per frame, episodes one after another; latents stay in their files until used.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Bool, Float, Float32, Int, UInt8
from worldeval.data.draws import Blend, Draws
from worldeval.data.row_files import RowFiles


@dataclass(frozen=True, kw_only=True)
class LatentEpisodes:
    """Episodes with encoded frames; `begin` and `length` divide the rows into episodes."""

    # Standardised, float16, left in their files.
    latents: Float[Array, "n v d h w"] | RowFiles
    actions: Float32[Array, "n a"]  # row t leads from frame t to t+1
    pose: Float32[Array, "n p"]
    task: Int[Array, " e"]  # index into the world's tasks
    begin: Int[Array, " e"]
    length: Int[Array, " e"]
    flags: UInt8[Array, " n"] | None = None  # success at each frame, if known
    blend: Blend | None = None  # each episode's dataset, if datasets have weights
    instructions: tuple[str, ...] | None = None  # one per episode, if tasks are merged into one
    video: Bool[Array, " e"] | None = None  # true where actions and words are never used
    labelled: Bool[Array, " e"] | None = None  # where success is known; None: where flags exist
    timed: Bool[Array, " e"] | None = None  # where it is known per frame; None: everywhere
    drivers: tuple[str, ...] | None = None  # who controlled each episode
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def episode_of_row(self) -> Int[Array, " n"]:
        """Return the episode that each row belongs to."""
        return np.repeat(np.arange(len(self)), self.length)

    def transitions(self, episodes: Int[Array, " k"], horizon: int) -> Int[Array, " m"]:
        """Return the rows that are followed by `horizon` frames of the same episode."""
        spans = (
            np.arange(self.begin[index], self.begin[index] + self.length[index] - horizon)
            for index in episodes
        )
        return np.concatenate([*spans, np.empty(0, np.int64)]).astype(np.int64)

    def draws(self, episodes: Int[Array, " k"], horizon: int) -> Draws:
        """Return a sampler over `transitions`, weighted if the data are a mixture."""
        rows = torch.from_numpy(self.transitions(episodes, horizon))
        if self.blend is None:
            return Draws(rows)
        part = torch.from_numpy(self.blend.part[self.episode_of_row])[rows]
        return Draws(rows, part=part, weights=self.blend.weights)

    def blended(self, part: Int[Array, " e"], weights: tuple[float, ...]) -> "LatentEpisodes":
        """Return the same episodes as a mixture; `part` is the dataset of each episode."""
        return replace(self, blend=Blend(part=part, weights=weights))

    def gather(self, rows: Int[Array, " k"]) -> Float[Tensor, "k v d h w"]:
        """Read the latents at rows, as float32."""
        return torch.from_numpy(np.asarray(self.latents[rows])).float()
