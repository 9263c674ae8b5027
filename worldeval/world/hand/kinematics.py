"""Kinematics: predict the next pose, which policies read and the dynamics are conditioned on."""

import itertools
import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from worldeval.axes import Float
from worldeval.world.features import Features, Motion
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import KinematicsRecipe
from worldeval.world.turned import Turned


class Kinematics(nn.Module):
    """An MLP that predicts the pose change from motion and, to detect contact, the latents.

    It learns rotations without jumps: where the world's poses or actions hold angles, `turned_pose`
    and `turned_action` convert them. `forward` and training take converted motion, `follow` the
    world's own.
    """

    def __init__(
        self,
        recipe: KinematicsRecipe,
        features: Features,
        *,
        latent_size: int,
        turned_pose: Turned | None = None,
        turned_action: Turned | None = None,
    ) -> None:
        super().__init__()
        self.features = features
        width, actions = len(features.pose_mean), len(features.action_mean)
        self.turned_pose = turned_pose or Turned(width=width)
        self.turned_action = turned_action or Turned(width=actions)
        self.glance = nn.Linear(2 * latent_size, recipe.sight)
        pose_dim = len(features.pose_mean)
        widths = [features.size + recipe.sight] + [recipe.width] * recipe.depth
        self.net = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(low, high), nn.SiLU())
                for low, high in itertools.pairwise(widths)
            ),
            nn.Linear(recipe.width, pose_dim),
        )

    def forward(
        self, latent: Float[Tensor, "b z"], first: Float[Tensor, "b z"], motion: Motion
    ) -> Float[Tensor, "b p"]:
        """Predict the pose one frame later, from the newest and the first frame's latents."""
        sight = torch.tanh(self.glance(torch.cat([latent, first], 1)))
        change = self.net(torch.cat([self.features(motion), sight], 1)).float()
        return motion.pose + change * self.features.step_std

    def follow(
        self, latent: Float[Tensor, "b z"], first: Float[Tensor, "b z"], motion: Motion
    ) -> Float[Tensor, "b p"]:
        """Predict the pose one frame later in the world's own form, which may hold angles."""
        pose, action = self.turned_pose, self.turned_action
        turned = replace(
            motion,
            action=action.forth(motion.action),
            past_actions=action.forth(motion.past_actions),
            pose=pose.forth(motion.pose),
            past_poses=pose.forth(motion.past_poses),
        )
        return pose.back(self(latent, first, turned))

    @property
    def pose_std(self) -> Float[Tensor, " p"]:
        """Standard deviation of the world's poses in training; 1 radian for angles."""
        own = self.turned_pose
        if not own.first:
            return self.features.pose_std
        std = self.features.pose_std.new_ones(own.width)
        angles = {at + axis for at in own.first for axis in range(3)}
        plain = [column for column in range(own.width) if column not in angles]
        std[plain] = self.features.pose_std[list(own.places(plain))]
        return std


def new_kinematics(recipe: KinematicsRecipe, spec: WorldSpec) -> Kinematics:
    """Build kinematics with fresh weights for a world's poses, actions and latents."""
    pose, action = spec.turned_pose, spec.turned_action
    features = Features(
        pose_dim=pose.size,
        action_dim=action.size,
        tasks=len(spec.tasks),
        place=pose.places(spec.place),
        commanded=pose.places(spec.commanded),
    )
    return Kinematics(
        recipe,
        features,
        latent_size=len(spec.views) * math.prod(spec.latent),
        turned_pose=pose,
        turned_action=action,
    )
