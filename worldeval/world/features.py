"""The non-visual inputs of a world: poses, actions, commands and the task, as one vector."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.data.normaliser import Normaliser
from worldeval.world.body import HAND
from worldeval.world.protocol import WorldSpec

PAST_ACTIONS = 2
FREQUENCIES = (2.0, 4.0, 8.0, 16.0)  # radians per normalised unit of position


@dataclass(frozen=True, kw_only=True)
class Motion:
    """The recent motion of a batch of episodes, in the robot's units."""

    action: Float[Tensor, "b a"]  # of the step to be imagined
    past_actions: Float[Tensor, "b 2 a"]  # newest first; zeros before the start
    pose: Float[Tensor, "b p"]
    past_poses: Float[Tensor, "b 2 p"]  # newest first; the first pose before the start
    command: Float[Tensor, "b c"]  # commanded position before the action
    next_command: Float[Tensor, "b c"]  # and after it
    task: Int[Tensor, " b"]


class Features(nn.Module):
    """Normalise a `Motion` by the training statistics and concatenate it into one vector."""

    pose_mean: Tensor
    pose_std: Tensor
    step_std: Tensor  # of pose changes per frame
    action_mean: Tensor
    action_std: Tensor

    def __init__(
        self,
        *,
        pose_dim: int,
        action_dim: int,
        tasks: int,
        place: Sequence[int] = HAND,
        commanded: Sequence[int] = HAND,
    ) -> None:
        """`place` and `commanded` are pose columns (see body.py)."""
        super().__init__()
        self.tasks = tasks
        self.place, self.commanded = list(place), list(commanded)
        self.wave_size = 2 * len(FREQUENCIES) * len(self.place)
        for name, size in (("pose", pose_dim), ("action", action_dim)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))
        self.register_buffer("step_std", torch.ones(pose_dim))
        known = action_dim * (1 + PAST_ACTIONS) + pose_dim * 3 + 2 * len(self.commanded)
        self.size = known + self.wave_size + tasks

    def fit(self, pose: Tensor, step: Tensor, action: Tensor) -> None:
        """Compute the statistics of training poses, pose changes and actions."""
        poses = Normaliser.fit([pose.numpy()], "mean-std", least=1e-3)
        steps = Normaliser.fit([step.numpy()], "mean-std", least=1e-4)
        actions = Normaliser.fit([action.numpy()], "mean-std", least=1e-3)
        for buffer, found in (
            (self.pose_mean, poses.centre),
            (self.pose_std, poses.scale),
            (self.step_std, steps.scale),
            (self.action_mean, actions.centre),
            (self.action_std, actions.scale),
        ):
            buffer.copy_(torch.from_numpy(found))

    def unit(self, pose: Float[Tensor, "b p"]) -> Float[Tensor, "b p"]:
        """Express a pose in standard deviations from the training mean."""
        return (pose - self.pose_mean) / self.pose_std

    def waves(self, pose: Float[Tensor, "b p"]) -> Float[Tensor, "b w"]:
        """Sine and cosine features of the position, which help an MLP locate the gripper."""
        angle = (
            self.unit(pose)[:, self.place, None] * torch.tensor(FREQUENCIES, device=pose.device) / 2
        )
        return torch.cat([angle.sin(), angle.cos()], 2).flatten(1)

    def forward(self, motion: Motion) -> Float[Tensor, "b f"]:
        told_std = self.step_std[self.commanded]
        here = motion.pose[:, self.commanded]
        steps = torch.stack([motion.pose, motion.past_poses[:, 0]], 1) - motion.past_poses
        actions = torch.cat([motion.action[:, None], motion.past_actions], 1)
        return torch.cat(
            [
                ((actions - self.action_mean) / self.action_std).flatten(1),
                self.unit(motion.pose),
                (steps / self.step_std).flatten(1),
                (motion.command - here) / told_std / 3,
                (motion.next_command - here) / told_std / 3,
                self.waves(motion.pose),
                F.one_hot(motion.task, self.tasks).float(),
            ],
            1,
        )


def features_of(spec: WorldSpec) -> Features:
    """Build features for a world's poses, actions and tasks; their statistics are not set yet."""
    return Features(
        pose_dim=spec.pose_dim,
        action_dim=spec.action_dim,
        tasks=len(spec.tasks),
        place=spec.place,
        commanded=spec.commanded,
    )
