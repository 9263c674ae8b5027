"""The commanded pose: where the controller has been told to bring the hand so far.

The hand lags behind its command, and images show only the hand, so the difference is a state that a
world model must carry. For delta position control it is the clipped sum of all commands.
"""

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.world.recipe import ActuationRecipe


class Actuation:
    """Integrates frame actions into commanded positions (m)."""

    def __init__(self, recipe: ActuationRecipe) -> None:
        self.recipe = recipe
        self.low = torch.tensor(recipe.low)
        self.high = torch.tensor(recipe.high)

    def begin(self, pose: Float[Tensor, "b p"]) -> Float[Tensor, "b 3"]:
        """At a start, the hand is where it was told to be."""
        return pose[:, :3]

    def step(
        self, command: Float[Tensor, "b 3"], action: Float[Tensor, "b a"]
    ) -> Float[Tensor, "b 3"]:
        """The command after one frame's action; absolute actions are their own command."""
        if not self.recipe.scale:
            return action[:, :3]
        for part in action.split(self.recipe.step_dim, dim=1):
            moved = command + self.recipe.scale * part[:, :3].clamp(-1, 1)
            command = torch.maximum(torch.minimum(moved, self.high.to(moved)), self.low.to(moved))
        return command
