# The library's stubs are narrower than what it takes and gives.
# pyright: reportArgumentType=false, reportCallIssue=false
"""Encoded episodes as flat arrays: what dynamics models and judges train on.

One row per frame, episodes one after another; latents stay in a memory map until used.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from worldeval.axes import Array, Bool, Float, Float32, Int, UInt8
from worldeval.data.draws import Blend, Draws


@dataclass(frozen=True, kw_only=True)
class LatentEpisodes:
    """Episodes whose frames are encoded. `begin` and `length` cut the rows into episodes."""

    latents: Float[Array, "n v d h w"]  # standardised, float16, perhaps a memory map
    actions: Float32[Array, "n a"]  # row t leads from frame t to t+1
    pose: Float32[Array, "n p"]
    task: Int[Array, " e"]  # index into the world's tasks
    begin: Int[Array, " e"]
    length: Int[Array, " e"]
    flags: UInt8[Array, " n"] | None = None  # success at each frame, where someone knows
    blend: Blend | None = None  # which dataset each episode is of, where they have weights
    video: Bool[Array, " e"] | None = None  # true where actions and words are never looked at
    told: tuple[str, ...] | None = None  # every episode's own words, where its task is one of all

    def __len__(self) -> int:
        return len(self.begin)

    @property
    def episode_of_row(self) -> Int[Array, " n"]:
        """Which episode a row belongs to."""
        return np.repeat(np.arange(len(self)), self.length)

    def transitions(self, episodes: Int[Array, " k"], horizon: int) -> Int[Array, " m"]:
        """Rows from which `horizon` further frames of the same episode follow."""
        spans = (
            np.arange(self.begin[index], self.begin[index] + self.length[index] - horizon)
            for index in episodes
        )
        return np.concatenate([*spans, np.empty(0, np.int64)]).astype(np.int64)

    def draws(self, episodes: Int[Array, " k"], horizon: int) -> Draws:
        """The `transitions` to draw from at random, those of a mixture by its weights."""
        rows = torch.from_numpy(self.transitions(episodes, horizon))
        if self.blend is None:
            return Draws(rows)
        part = torch.from_numpy(self.blend.part[self.episode_of_row])[rows]
        return Draws(rows, part=part, weights=self.blend.weights)

    def blended(self, part: Int[Array, " e"], weights: tuple[float, ...]) -> "LatentEpisodes":
        """The same as a mixture: `part` says which dataset an episode is of."""
        return replace(self, blend=Blend(part=part, weights=weights))

    def gather(self, rows: Int[Array, " k"]) -> Float[Tensor, "k v d h w"]:
        """Latents at rows, as float32."""
        return torch.from_numpy(np.asarray(self.latents[rows])).float()


def join(*parts: LatentEpisodes) -> LatentEpisodes:
    """Several sets as one, drawn from evenly; latents are copied into memory.

    Flags and words stay where every set has them.
    """
    told = [part.told for part in parts if part.told is not None]
    flags = [part.flags for part in parts if part.flags is not None]
    video = [_video(part) for part in parts]
    shift = np.cumsum([0] + [len(part.pose) for part in parts[:-1]])
    return LatentEpisodes(
        latents=np.concatenate([part.latents for part in parts]),
        actions=np.concatenate([part.actions for part in parts]),
        pose=np.concatenate([part.pose for part in parts]),
        task=np.concatenate([part.task for part in parts]),
        begin=np.concatenate([p.begin + s for p, s in zip(parts, shift, strict=True)]),
        length=np.concatenate([part.length for part in parts]),
        flags=np.concatenate(flags) if len(flags) == len(parts) else None,
        video=np.concatenate(video) if any(part.video is not None for part in parts) else None,
        told=sum(told, ()) if len(told) == len(parts) else None,
    )


def _video(part: LatentEpisodes) -> Bool[Array, " e"]:
    return np.zeros(len(part), bool) if part.video is None else part.video
