"""The spatial network of `latent`: residual convolutions over the latent grid of every view.

A cell's next latents depend mostly on the cells around it, wherever they are, so the same weights
serve all cells: an object that is pushed moves by the same rule everywhere, and what stands still
is copied. What a convolution cannot see is given to every cell: the motion, as a gain and a shift
of the hidden units (FiLM), and where the robot is, as maps that are added to the input. Where a
camera is known, the maps hold the projected grippers (hand/maps.py); for every view, the network
also draws maps of its own from the motion and the poses.

The blocks are pre-norm residual blocks with one 3 x 3 convolution, as in ConvNeXt (arXiv
2201.03545) but not depthwise: on a grid of 8 x 8 cells a full convolution runs at the speed of a
matrix product, a depthwise one does not.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float
from worldeval.device import autocast
from worldeval.world.features import Features
from worldeval.world.hand.maps import HandMaps
from worldeval.world.latent.network import CONDITION, Context, known_size, known_to
from worldeval.world.latent.recipe import DRAWN, LatentRecipe

FRAMES = 4  # newest, previous, first and memory
SKETCH = 256  # hidden units from which the maps are drawn


class _SpatialBlock(nn.Module):
    """A residual block over cells; what all cells of all views show shifts its hidden units."""

    def __init__(self, width: int, views: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.look = nn.Conv2d(width, 2 * width, 3, padding=1)
        self.film = nn.Linear(CONDITION, 4 * width)
        self.whole = nn.Linear(views * width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        for layer in (self.narrow, self.whole):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, x: Float[Tensor, "b v h w c"], condition: Float[Tensor, "b f"]
    ) -> Float[Tensor, "b v h w c"]:
        gain, shift = self.film(condition).chunk(2, 1)
        normed = self.norm(x)
        shift = shift + self.whole(normed.mean((2, 3)).flatten(1))
        # Channels last in memory, whatever the order of the axes.
        hidden = self.look(normed.flatten(0, 1).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        hidden = hidden.unflatten(0, x.shape[:2])
        hidden = hidden * (1 + gain[:, None, None, None]) + shift[:, None, None, None]
        return x + self.narrow(F.silu(hidden))


class SpatialDynamics(nn.Module):
    """Predict the change of the newest latents, cell by cell, from four frames and the motion."""

    def __init__(
        self,
        recipe: LatentRecipe,
        features: Features,
        *,
        latent: tuple[int, int, int, int],
        hands: HandMaps | None = None,
    ) -> None:
        """
        Args:
            latent: views, channels, height and width.
            hands: maps of the grippers on the latent grid; None: no camera is known.
        """
        super().__init__()
        views, channels, height, width = latent
        self.features, self.hands, self.shape = features, hands, (views, height, width, DRAWN)
        known = known_size(features)
        self.condition = nn.Sequential(
            nn.Linear(known, CONDITION), nn.SiLU(), nn.Linear(CONDITION, CONDITION), nn.SiLU()
        )
        self.draw = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(low, high), nn.SiLU())
                for low, high in pairwise((known, SKETCH, SKETCH))
            ),
            nn.Linear(SKETCH, views * height * width * DRAWN),
        )
        maps = DRAWN + (hands.channels if hands is not None else 0)
        self.stem = nn.Linear(FRAMES * channels + maps, recipe.width)
        self.place = nn.Parameter(0.02 * torch.randn(views, height, width, recipe.width))
        self.blocks = nn.ModuleList(_SpatialBlock(recipe.width, views) for _ in range(recipe.depth))
        last = nn.Linear(recipe.width, channels)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.LayerNorm(recipe.width), last)

    def forward(self, context: Context) -> Float[Tensor, "b v d h w"]:
        """Predict the next frame's latents (standardised)."""
        with autocast(context.latent.device):
            change = self._change(context).float()
        return context.latent + change.movedim(-1, 2)

    def _change(self, context: Context) -> Float[Tensor, "b v h w d"]:
        known = known_to(self.features, context)
        frames = [context.latent, context.previous, context.first, context.memory]
        seen = [torch.cat(frames, 2).movedim(2, -1)]
        seen.append(self.draw(known).unflatten(1, self.shape))
        if self.hands is not None:
            motion = context.motion
            maps = self.hands(motion.task, motion.pose, context.next_pose)
            seen.append(maps.unflatten(1, self.shape[:3]))
        condition = self.condition(known)
        x = self.stem(torch.cat(seen, -1)) + self.place
        for block in self.blocks:
            x = block(x, condition)
        return self.head(x)
