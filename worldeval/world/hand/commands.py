"""The commanded pose: where the controller has been commanded to move the robot so far.

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
    """Integrate frame actions into commanded positions, in the pose's units."""

    def __init__(
        self, recipe: ActuationRecipe, body: Body | None = None, *, fps: float = 1.0
    ) -> None:
        """
        Args:
            recipe: how deltas move the target, for data that do not say it themselves.
            body: which columns are commanded, and how; None is the hand that the recipe describes.
            fps: world frames per second; a velocity command lasts one controller step.
        """
        self.recipe, self.scaled = recipe, bool(recipe.scale)
        self._step = recipe.step_dim if self.scaled else 0  # 0: as the body says
        self.body = body = body or hand_body(recipe, action_dim=recipe.step_dim)
        if self.scaled:
            self.low, self.high = torch.tensor(recipe.low), torch.tensor(recipe.high)
        self._pose = [command.pose for command in body.commands]
        self._action = [command.action for command in body.commands]
        second = 1 / (fps * body.steps)
        self._factor = torch.tensor(
            [c.factor * (second if c.motion == "velocity" else 1.0) for c in body.commands]
        )
        self._absolute = torch.tensor([c.motion == "absolute" for c in body.commands])
        self._all_absolute = all(command.motion == "absolute" for command in body.commands)

    def begin(self, pose: Float[Tensor, "b p"]) -> Float[Tensor, "b c"]:
        """At a start, the command is the robot's position."""
        return pose[:, self._pose]

    def step(
        self, command: Float[Tensor, "b c"], action: Float[Tensor, "b a"]
    ) -> Float[Tensor, "b c"]:
        """Update the command by one frame's action; absolute actions replace it."""
        if not self._pose:
            return command
        factor = self._factor.to(action)
        steps = action.shape[1] // self._step if self._step else self.body.steps
        for part in action.unflatten(1, (steps, -1)).unbind(1):
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
    """Build a world's actuation from its data's body, or from the end effector in its recipe."""
    body = spec.body or hand_body(recipe, action_dim=spec.action_dim)
    return Actuation(recipe, body, fps=spec.fps)
