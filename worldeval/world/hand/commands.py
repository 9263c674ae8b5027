"""The commanded pose: where the controller has been told to bring the robot so far.

A robot lags behind its command, and images show only the robot, so the difference is a state that a
world model must carry. For delta control it is the sum of all commands, clipped to the workspace.
"""

import torch
from torch import Tensor

from worldeval.axes import Float
from worldeval.world.body import Body, hand_body
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import ActuationRecipe


class Actuation:
    """Integrates frame actions into commanded places, in the pose's units."""

    def __init__(self, recipe: ActuationRecipe, body: Body, *, fps: float = 1.0) -> None:
        """`fps` are world frames a second: velocities are commanded for a step's share of one."""
        self.body, self.scaled = body, bool(recipe.scale)
        if self.scaled:
            self.low, self.high = torch.tensor(recipe.low), torch.tensor(recipe.high)
        self._pose = [command.pose for command in body.commands]
        self._action = [command.action for command in body.commands]
        second = 1 / (fps * body.steps)
        self._factor = torch.tensor(
            [c.factor * (second if c.motion == "velocity" else 1.0) for c in body.commands]
        )
        self._absolute = torch.tensor([c.motion == "absolute" for c in body.commands])
        self._all_absolute = bool(self._absolute.all())

    def begin(self, pose: Float[Tensor, "b p"]) -> Float[Tensor, "b c"]:
        """At a start, the robot is where it was told to be."""
        return pose[:, self._pose]

    def step(
        self, command: Float[Tensor, "b c"], action: Float[Tensor, "b a"]
    ) -> Float[Tensor, "b c"]:
        """The command after one frame's action; absolute actions are their own command."""
        if not self._pose:
            return command
        factor = self._factor.to(action)
        for part in action.unflatten(1, (self.body.steps, -1)).unbind(1):
            told = part[:, self._action]
            if self.scaled:  # a recipe's deltas are shares of the longest step, in a workspace
                moved = command + factor * told.clamp(-1, 1)
                low, high = self.low.to(moved), self.high.to(moved)
                command = torch.maximum(torch.minimum(moved, high), low)
            elif self._all_absolute:
                command = told * factor
            else:
                absolute = self._absolute.to(action.device)
                command = torch.where(absolute, told * factor, command + told * factor)
        return command


def actuation_of(recipe: ActuationRecipe, spec: WorldSpec) -> Actuation:
    """The actuation of a world: by the body that its data describe, or by its recipe's hand."""
    body = spec.body or hand_body(recipe, action_dim=spec.action_dim)
    return Actuation(recipe, body, fps=spec.fps)
