"""The pixels of objects, found by a rule, and whether a drawn frame shows them.

The mean frame at the robot's pose (pose_only.py) is a background without any particular object.
Where a recorded frame differs clearly from it, it shows an object in its place: these are the
frame's own pixels. A frame that was decoded from latents has kept the object as far as its own
pixels differ from the background in the same way.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from worldeval.axes import Array, Bool, Float, Float32, Int, UInt8
from worldeval.data.table import RecordedEpisodes
from worldeval.world.fidelity.mean import mean_of
from worldeval.world.pose_only import PoseOnly
from worldeval.world.tokenizer.frame_tokenizer import FrameTokenizer
from worldeval.world.tokenizer.frames import TokenizerFrames

CONTRAST = 0.12  # difference from the background, of one colour from 0 to 1, at an own pixel
TOGETHER = 4  # own pixels among a pixel and its eight neighbours: specks are no object
FEWEST = 4  # own pixels of all views; with fewer, a frame shows no object apart
MEASURED = 60  # start frames per task
MOST = 6_000  # recorded frames that the background is fitted to, of all tasks together
BLOCK = 200  # frames in memory at a time

Frames = Mapping[str, UInt8[Array, "n h w 3"]]


@dataclass(frozen=True, kw_only=True)
class Own:
    """What belongs to objects in `n` recorded frames of one view."""

    background: Float32[Array, "n h w 3"]  # 0-1: the mean frame at the pose
    contrast: Float32[Array, "n h w 3"]  # of the recorded frame, 0 except at own pixels

    @property
    def pixels(self) -> Int[Array, " n"]:
        """Number of own pixels of each frame."""
        return self.contrast.any(3).sum((1, 2))


class Background:
    """The mean frame of every view at a pose, fitted to the frames of recorded episodes."""

    def __init__(
        self,
        recorded: RecordedEpisodes,
        rows: Int[Array, " n"],
        task: Int[Array, " n"],
        *,
        tasks: int,
    ) -> None:
        """
        Args:
            recorded: the dataset.
            rows: frames that may be used; at most `MOST` of them are, evenly spread.
            task: of each of these frames.
            tasks: number of tasks.
        """
        kept = slice(None, None, max(1, len(rows) // MOST))
        rows, of = rows[kept], torch.from_numpy(task[kept])
        pose = torch.from_numpy(recorded.pose[rows])
        self._views = {
            view: PoseOnly(pose, of, _blocks(recorded, view, rows), tasks=tasks)
            for view in recorded.views
        }

    def own(
        self, frames: Frames, pose: Float32[Array, "n p"], task: Int[Array, " n"]
    ) -> dict[str, Own]:
        """Find the own pixels of recorded frames, view by view."""
        out = {}
        for view, images in frames.items():
            found = self._views[view](torch.from_numpy(pose), torch.from_numpy(task))
            background = found.numpy().reshape(images.shape).clip(0, 1)
            contrast = images.astype(np.float32) / 255 - background
            apart = np.abs(contrast).max(3) > CONTRAST
            count = ndimage.uniform_filter(
                apart.astype(np.float32), size=3, axes=(1, 2), mode="constant"
            )
            clear: Bool[Array, "n h w"] = apart & (9 * count > TOGETHER - 0.5)
            out[view] = Own(background=background, contrast=contrast * clear[..., None])
        return out


def kept(own: Mapping[str, Own], drawn: Frames) -> Float[Array, " n"]:
    """Return the share of the objects' contrast that drawn frames have kept.

    It is the projection <drawn - background, recorded - background> / |recorded - background|^2
    over the own pixels of all views: 1 for the recorded frame itself, 0 for the background, NaN
    where a frame has fewer than `FEWEST` own pixels.
    """
    count = sum(each.pixels for each in own.values())
    shared = whole = np.zeros(())
    for view, each in own.items():
        images = drawn[view].astype(np.float32) / 255
        shared = shared + np.einsum("nhwc,nhwc->n", images - each.background, each.contrast)
        whole = whole + np.square(each.contrast).sum((1, 2, 3))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count >= FEWEST, shared / whole, np.nan)


@torch.no_grad()
def objects_of(
    tokenizer: FrameTokenizer, frames: TokenizerFrames, held: Int[Array, " h"]
) -> dict[str, dict[str, Any]]:
    """Return task -> how well a tokenizer shows its objects, in start frames held out of training.

    `kept`: mean share of their contrast (`kept`), with its interval; None if no start frame shows
    an object apart. `pixels`: median number of own pixels of all views. At the start nothing hides
    the objects, and they lie elsewhere in every episode.
    """
    recorded, device = frames.recorded, next(tokenizer.parameters()).device
    first = recorded.episodes["begin"].to_numpy()
    training = np.setdiff1d(np.arange(len(recorded)), held)
    background = Background(
        recorded, first[training], frames.task[training], tasks=len(frames.tasks)
    )
    out = {}
    for index, name in enumerate(frames.tasks):
        rows = first[held[frames.task[held] == index]][:MEASURED]
        if not len(rows) or not (frames.task[training] == index).any():
            continue
        images = {view: recorded.frames(view, rows) for view in recorded.views}
        task = np.full(len(rows), index)
        own = background.own(images, recorded.pose[rows], task)
        unit, of, view = (each.to(device) for each in frames.read(rows))
        again = tokenizer.decode(tokenizer.encode(unit, of, view), of, view)
        rgb = (again.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        drawn = dict(zip(recorded.views, np.split(rgb, len(recorded.views)), strict=True))
        share = kept(own, drawn)
        found = mean_of(share[np.isfinite(share)])
        count = np.sum([each.pixels for each in own.values()], axis=0)
        out[name] = {"kept": found and asdict(found), "pixels": float(np.median(count))}
    return out


def _blocks(
    recorded: RecordedEpisodes, view: str, rows: Int[Array, " n"]
) -> Iterator[tuple[slice, Float[Tensor, "m k"]]]:
    for begin in range(0, len(rows), BLOCK):
        part = slice(begin, min(begin + BLOCK, len(rows)))
        frames = recorded.frames(view, rows[part]).astype(np.float32) / 255
        yield part, torch.from_numpy(frames).flatten(1)
