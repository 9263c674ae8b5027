"""The networks of the learned judge: an episode's frames to a success logit at each frame."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from worldeval.axes import Float, Int
from worldeval.judge.recipe import JudgeRecipe
from worldeval.world.turned import Turned

TOLD = 32  # numbers that an instruction's embedding is reduced to


class Reading(NamedTuple):
    """What a network reads from a batch of episodes."""

    logits: Float[Tensor, "b t"]  # that the episode has succeeded by this frame
    progress: Float[Tensor, "b t"] | None = None  # 0 to 1 (progress.py); None: not learned


class JudgeNet(nn.Module):
    """Read every frame together with the first, to see what changed rather than what is there.

    The task is a number, or, if `words` is not 0, an embedding of that many numbers. A roll, pitch,
    yaw that begins at a pose column in `angles` is read in a form that does not jump.
    """

    pose_mean: Tensor
    pose_std: Tensor

    def __init__(
        self,
        recipe: JudgeRecipe,
        *,
        latent: tuple[int, ...],
        pose_dim: int,
        tasks: int,
        words: int = 0,
        angles: tuple[int, ...] = (),
    ) -> None:
        super().__init__()
        self.turned = Turned(width=pose_dim, first=angles)
        pose_dim = self.turned.size
        views, depth, height, width = latent
        self.tasks = tasks
        self.look = nn.Sequential(
            nn.Conv2d(2 * views * depth, recipe.channels, 3, stride=2, padding=1),
            nn.SiLU(),
            nn.Flatten(),
            nn.Dropout(recipe.dropout),
            nn.Linear(recipe.channels * -(-height // 2) * -(-width // 2), recipe.hidden),
            nn.SiLU(),
        )
        self.read = nn.Sequential(
            nn.Linear(recipe.hidden + 2 * pose_dim + (TOLD if words else tasks), recipe.hidden),
            nn.SiLU(),
            nn.Dropout(recipe.dropout),
        )
        recurrent = recipe.recurrent if recipe.network == "frames" else 0
        self.memory = nn.GRU(recipe.hidden, recurrent, batch_first=True) if recurrent else None
        self.say = nn.Linear(recipe.hidden + recurrent, 1)
        # Scales differ between encoders, so embeddings are standardised first.
        self.told = nn.Sequential(nn.LayerNorm(words), nn.Linear(words, TOLD)) if words else None
        self.register_buffer("pose_mean", torch.zeros(pose_dim))
        self.register_buffer("pose_std", torch.ones(pose_dim))

    def forward(
        self,
        latents: Float[Tensor, "b t v d h w"],
        pose: Float[Tensor, "b t p"],
        task: Int[Tensor, " b"] | Float[Tensor, "b c"],
    ) -> Reading:
        """Return, at every frame, the logit that the episode has succeeded by then."""
        x = self.each_frame(latents, pose, task)
        if self.memory is not None:
            x = torch.cat([x, self.memory(x)[0]], 2)
        return Reading(self.say(x)[..., 0].float())

    def each_frame(
        self,
        latents: Float[Tensor, "b t v d h w"],
        pose: Float[Tensor, "b t p"],
        task: Int[Tensor, " b"] | Float[Tensor, "b c"],
    ) -> Float[Tensor, "b t n"]:
        """Read every frame, its difference from the first and the task; no other frame."""
        first = latents[:, :1]
        seen = torch.cat([latents, latents - first], 3).flatten(2, 3)
        looked = self.look(seen.flatten(0, 1)).unflatten(0, seen.shape[:2])
        pose = self.turned.forth(pose)
        unit = (pose - self.pose_mean) / self.pose_std
        moved = (pose - pose[:, :1]) / self.pose_std
        known = F.one_hot(task, self.tasks).float() if self.told is None else self.told(task)
        which = known[:, None].expand(-1, pose.shape[1], -1)
        return self.read(torch.cat([looked, unit, moved, which], 2))


def episode_logit(logits: Float[Tensor, "b t"]) -> Float[Tensor, " b"]:
    """The episode's logit: the maximum over its frames, except the observed first frame."""
    return logits[:, 1:].amax(1)
