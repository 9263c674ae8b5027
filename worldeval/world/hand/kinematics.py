"""Kinematics: predict the next pose, which policies read and the dynamics are conditioned on."""

import itertools
import math

import torch
from torch import Tensor, nn

from worldeval.axes import Float
from worldeval.world.features import Features, Motion, features_of
from worldeval.world.protocol import WorldSpec
from worldeval.world.recipe import KinematicsRecipe


class Kinematics(nn.Module):
    """An MLP that predicts the pose change from motion and, to detect contact, the latents."""

    def __init__(self, recipe: KinematicsRecipe, features: Features, *, latent_size: int) -> None:
        super().__init__()
        self.features = features
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


def new_kinematics(recipe: KinematicsRecipe, spec: WorldSpec) -> Kinematics:
    """Build kinematics with fresh weights for a world's poses, actions and latents."""
    features = features_of(spec)
    return Kinematics(recipe, features, latent_size=len(spec.views) * math.prod(spec.latent))
