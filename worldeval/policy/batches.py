"""Training batches: random demonstration samples with shifted, dimmed, noisy, blurred images."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from worldeval.axes import Array, UInt8
from worldeval.policy.demos import Demos
from worldeval.policy.recipe import AugmentRecipe, Sight

NEWEST = Sight()  # the newest frame alone


@dataclass(frozen=True, kw_only=True)
class Batch:
    """The training samples of one step.

    With a history, its moments follow each other along the axes of views and of poses, the newest
    last; the views of a goal come after them.
    """

    images: Float[Tensor, "b v c h w"]  # [-1, 1]
    pose: Float[Tensor, "b p"]
    task: Int[Tensor, " b"]
    actions: Float[Tensor, "b k a"]
    ahead: Float[Tensor, "b m v c h w"] | None = None  # later moments, in training only


def batches(
    demos: Demos,
    recipe: AugmentRecipe,
    size: int,
    rng: np.random.Generator,
    *,
    weight: Float[Array, " n"] | None = None,
    sight: Sight = NEWEST,
) -> Iterator[Batch]:
    """Yield endless batches, drawn with replacement, in proportion to `weight` if given.

    `sight` says what a policy reads of an episode beside the newest frame.
    """
    drawn = None if weight is None else np.cumsum(weight) / np.sum(weight)
    pad = recipe.shift
    borders = ((0, 0), (0, 0), (pad, pad), (pad, pad), (0, 0))
    padded = np.pad(demos.frames, borders, mode="edge") if pad else demos.frames
    pose, task, actions = (torch.from_numpy(x) for x in (demos.pose, demos.task, demos.actions))
    while True:
        if drawn is None:
            pick = rng.integers(len(demos), size=size)
        else:
            # Rounding may leave the last cumulative sum below the draw.
            pick = np.searchsorted(drawn, rng.random(size), side="right").clip(max=len(demos) - 1)
        index = torch.from_numpy(pick)
        shown, count = demos.moments(pick, sight.moments), sight.moments
        if sight.goal:
            shown = np.concatenate([shown, demos.goals(pick, rng)[:, None]], 1)
        if sight.ahead:
            shown = np.concatenate([shown, demos.ahead(pick, sight.ahead)], 1)
        images = to_images(torch.from_numpy(_crop(padded, shown, pad, rng)))
        images = _vary(images, recipe, rng)
        now, later = images.tensor_split([images.shape[1] - sight.ahead * len(demos.views)], 1)
        yield Batch(
            images=now,
            pose=pose[torch.from_numpy(shown[:, :count])].flatten(1),
            task=task[index],
            actions=actions[index],
            ahead=later.unflatten(1, (sight.ahead, -1)) if sight.ahead else None,
        )


def to_images(frames: UInt8[Tensor, "b v h w 3"]) -> Float[Tensor, "b v 3 h w"]:
    """Convert frames to network inputs in [-1, 1]; channels stay last in memory."""
    return frames.permute(0, 1, 4, 2, 3).float().div_(127.5).sub_(1.0)


def _crop(
    padded: UInt8[Array, "n v hp wp 3"],
    shown: Int[Array, "b m"],
    pad: int,
    rng: np.random.Generator,
) -> UInt8[Array, "b mv h w 3"]:
    """Crop the samples shown, each view of a row shifted by its own number of whole pixels."""
    views, height, width = padded.shape[1], padded.shape[2] - 2 * pad, padded.shape[3] - 2 * pad
    rows, moments = shown.shape
    out = np.empty((rows, moments, views, height, width, 3), np.uint8)
    corner = rng.integers(2 * pad + 1, size=(rows, views, 2))
    for row, samples in enumerate(shown):
        for view in range(views):
            y, x = corner[row, view]
            out[row, :, view] = padded[samples, view, y : y + height, x : x + width]
    return out.reshape(rows, moments * views, height, width, 3)


def _vary(
    images: Float[Tensor, "b v c h w"], recipe: AugmentRecipe, rng: np.random.Generator
) -> Float[Tensor, "b v c h w"]:
    if recipe.blur:
        rows = torch.from_numpy(np.flatnonzero(rng.random(len(images)) < recipe.blur))
        if len(rows):
            soft = F.avg_pool2d(images[rows].flatten(0, 1), 3, 1, 1, count_include_pad=False)
            images[rows] = soft.unflatten(0, (len(rows), -1))
    if recipe.brightness:
        gain = 1 + recipe.brightness * rng.uniform(-1, 1, (len(images), 1, 1, 1, 1))
        images = images * torch.from_numpy(gain.astype(np.float32))
    if recipe.noise:
        # One noise image per step: fresh noise for every sample would cost more than the network.
        noise = recipe.noise * rng.standard_normal(images.shape[1:], np.float32)
        images = images + torch.from_numpy(noise)
    return images
