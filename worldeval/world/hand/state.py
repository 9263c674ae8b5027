"""The state of a world's robot: its poses, its command, and the effect of the next action.

Images show the gripper, policies read its pose, and a controller remembers its command. Families
that do not predict poses share this part.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldeval.axes import Float, Int
from worldeval.world.features import PAST_ACTIONS, Motion
from worldeval.world.hand.commands import Actuation
from worldeval.world.hand.kinematics import Kinematics
from worldeval.world.history import History


@dataclass(frozen=True, kw_only=True)
class HandState:
    """The poses so far, and what determines the next one."""

    track: History  # of poses
    past_actions: Float[Tensor, "b 2 a"]  # newest first
    command: Float[Tensor, "b c"]
    task: Int[Tensor, " b"]

    @property
    def poses(self) -> Float[Tensor, "b t p"]:
        """The poses so far."""
        return self.track.frames

    def found_at(self, pose: Float[Tensor, "b p"]) -> "HandState":
        """Replace the newest pose by an observed one."""
        return replace(self, track=self.track.ending_in(pose))


@dataclass(frozen=True, kw_only=True)
class FrameState:
    """Every frame imagined so far, with the robot's state; memory may retrieve any frame."""

    video: History  # of latents
    hand: HandState
    generators: list[torch.Generator]  # one per episode

    @property
    def latents(self) -> Float[Tensor, "b t v d h w"]:
        """The latents of every frame."""
        return self.video.frames

    @property
    def poses(self) -> Float[Tensor, "b t p"]:
        """The pose of every frame."""
        return self.hand.poses


@dataclass(frozen=True, kw_only=True)
class HandStep:
    """One frame's motion and the state after it."""

    motion: Motion
    hand: HandState

    @property
    def pose(self) -> Float[Tensor, "b p"]:
        """The pose at the time of the next frame."""
        return self.hand.poses[:, -1]


class Hand:
    """Join the kinematics and actuation of one robot; both belong to the world."""

    def __init__(self, kinematics: Kinematics, actuation: Actuation, *, action_dim: int) -> None:
        self.kinematics, self.actuation, self.action_dim = kinematics, actuation, action_dim

    def begin(self, pose: Float[Tensor, "b p"], task: Int[Tensor, " b"]) -> HandState:
        """Begin at rest: the command is the current position and there are no past actions."""
        return HandState(
            track=History.of(pose[:, None]),
            past_actions=pose.new_zeros(len(pose), PAST_ACTIONS, self.action_dim),
            command=self.actuation.begin(pose),
            task=task,
        )

    def step(
        self,
        hand: HandState,
        action: Float[Tensor, "b a"],
        *,
        newest: Float[Tensor, "b v d h w"],
        first: Float[Tensor, "b v d h w"],
    ) -> HandStep:
        """Execute one frame's action; contact is inferred from the newest and first latents."""
        next_command = self.actuation.step(hand.command, action)
        motion = Motion(
            action=action,
            past_actions=hand.past_actions,
            pose=back(hand.poses, 0),
            past_poses=torch.stack([back(hand.poses, 1), back(hand.poses, 2)], 1),
            command=hand.command,
            next_command=next_command,
            task=hand.task,
        )
        next_pose = self.kinematics.follow(newest.flatten(1), first.flatten(1), motion)
        after = replace(
            hand,
            track=hand.track.followed_by(next_pose[:, None]),
            past_actions=torch.stack([action, hand.past_actions[:, 0]], 1),
            command=next_command,
        )
        return HandStep(motion=motion, hand=after)


def back(history: Float[Tensor, "b t ..."], lag: int) -> Float[Tensor, "b ..."]:
    """The frame `lag` before the newest, or the first frame if there is none."""
    return history[:, max(history.shape[1] - 1 - lag, 0)]
