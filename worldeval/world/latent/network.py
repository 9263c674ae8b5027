"""The network of `latent`: a residual MLP over all views' latents, modulated by motion (FiLM).

It is deterministic and small: a step of 40 episodes takes a handful of matrix products. It is
trained on its own predictions (1, then 2, then 4 steps) with noise on the history, so that it does
not drift.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from worldeval.axes import Float
from worldeval.world.features import Features, Motion
from worldeval.world.latent.recipe import LatentRecipe

CONDITION = 128


@dataclass(frozen=True, kw_only=True)
class Context:
    """Inputs of one step for a batch of episodes. Latents are standardised."""

    latent: Float[Tensor, "b v d h w"]  # newest frame
    previous: Float[Tensor, "b v d h w"]  # the frame before; at the start, the first frame
    first: Float[Tensor, "b v d h w"]  # the first frame: observed, never imagined
    memory: Float[Tensor, "b v d h w"]  # an older frame, the nearest in pose to the next one
    memory_pose: Float[Tensor, "b p"]
    motion: Motion
    next_pose: Float[Tensor, "b p"]  # predicted pose at the time of the next frame


class _FilmBlock(nn.Module):
    """A pre-norm residual block whose hidden units are scaled and shifted by the condition."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.film = nn.Linear(CONDITION, 4 * width)
        self.narrow = nn.Linear(2 * width, width)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(
        self, x: Float[Tensor, "b d"], condition: Float[Tensor, "b c"]
    ) -> Float[Tensor, "b d"]:
        gain, shift = self.film(condition).chunk(2, 1)
        hidden = self.widen(self.norm(x)) * (1 + gain) + shift
        return x + self.narrow(nn.functional.silu(hidden))


class LatentDynamics(nn.Module):
    """Predict the change of the newest latents from four frames, the motion and both poses."""

    def __init__(
        self, recipe: LatentRecipe, features: Features, *, latent: tuple[int, ...]
    ) -> None:
        super().__init__()
        size = math.prod(latent)
        width = recipe.width
        self.features = features
        # The newest, previous, first and memory frames share one embedding, in separate slots.
        self.stem = nn.Linear(size, width)
        self.mix = nn.Linear(4 * width, width)
        known = known_size(features)
        self.condition = nn.Sequential(
            nn.Linear(known, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION), nn.SiLU()
        )
        self.place = nn.Linear(CONDITION, width)
        self.blocks = nn.ModuleList(_FilmBlock(width) for _ in range(recipe.depth))
        last = nn.Linear(width, size)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.LayerNorm(width), last)

    def forward(self, context: Context) -> Float[Tensor, "b v d h w"]:
        """Predict the next frame's latents (standardised)."""
        frames = torch.stack(
            [context.latent, context.previous, context.first, context.memory], 1
        ).flatten(2)
        condition = self.condition(known_to(self.features, context))
        x = self.mix(self.stem(frames).flatten(1)) + self.place(condition)
        for block in self.blocks:
            x = block(x, condition)
        change = self.head(x).float().view_as(context.latent)
        return context.latent + change


def known_size(features: Features) -> int:
    """Size of what `known_to` returns."""
    return features.size + 2 * features.wave_size + 3 * len(features.pose_mean)


def known_to(features: Features, context: Context) -> Float[Tensor, "b f"]:
    """What is known of a step besides its frames: motion, the next pose and the memory's pose."""
    motion = context.motion
    return torch.cat(
        [
            features(motion),
            features.unit(context.next_pose),
            features.waves(context.next_pose),
            (context.next_pose - motion.pose) / features.step_std,
            features.waves(context.memory_pose),
            (context.memory_pose - context.next_pose) / features.pose_std,
        ],
        1,
    )
