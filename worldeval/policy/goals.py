"""Goals of a policy that needs one: how demonstrations of its tasks ended.

A policy that is conditioned on a goal can be ranked like any other: where nobody gives a goal, each
episode takes the end of the demonstration, of the same task, that began most alike.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from worldeval.policy.demos import Demos
from worldeval.policy.recipe import PolicyRecipe
from worldeval.policy.sizes import Sizes

KEPT = 4  # demonstrations of a task whose ends are kept
THUMBNAIL = 8  # pixels of the side of the pictures that are compared


class Goals(nn.Module):
    """The last frames of some demonstrations, and thumbnails of their first frames."""

    ends: Tensor
    begins: Tensor

    def __init__(self, recipe: PolicyRecipe, sizes: Sizes) -> None:
        super().__init__()
        tasks, views = len(sizes.tasks), len(recipe.views)
        shape = (tasks, KEPT, views, *sizes.image, 3)
        self.register_buffer("ends", torch.zeros(shape, dtype=torch.uint8))
        small = (tasks, KEPT, views * THUMBNAIL**2 * 3)
        self.register_buffer("begins", torch.zeros(small))

    def fit(self, demos: Demos, rng: np.random.Generator) -> None:
        """Keep demonstrations drawn at random; a task with fewer repeats them."""
        first = np.flatnonzero(demos.before == 0)
        for task in range(len(demos.tasks)):
            rows = first[demos.task[first] == task]
            if not len(rows):
                continue
            rows = np.resize(rng.permutation(rows), KEPT)
            self.ends[task] = torch.from_numpy(demos.frames[rows + demos.after[rows]])
            begins = torch.from_numpy(demos.frames[rows]).to(self.begins.device)
            self.begins[task] = thumbnails(begins)

    def choose(
        self, frames: UInt8[Tensor, "b v h w 3"], task: Int[Tensor, " b"]
    ) -> UInt8[Tensor, "b v h w 3"]:
        """The end of the demonstration that began most like each episode's `frames`."""
        apart = (self.begins[task] - thumbnails(frames)[:, None]).square().mean(-1)
        return self.ends[task, apart.argmin(1)]


def thumbnails(frames: UInt8[Tensor, "b v h w 3"]) -> Float[Tensor, "b n"]:
    """Shrink images and flatten them; values from 0 to 1."""
    images = frames.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
    return F.adaptive_avg_pool2d(images, THUMBNAIL).reshape(len(frames), -1)
