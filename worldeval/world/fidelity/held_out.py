"""Held-out episodes as the world sees them: latents, actions, poses and, with a decoder, frames."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from worldeval.axes import Array, Bool, Float32, Int, UInt8
from worldeval.data.source import Source
from worldeval.data.split import held_out
from worldeval.data.weighted import Weighted, weighted
from worldeval.errors import UserError
from worldeval.record import Episode
from worldeval.world.sources import as_trained
from worldeval.world.walk import walk
from worldeval.world.world import World

BATCH = 32  # episodes, and frames, that are computed together


@dataclass(frozen=True, kw_only=True)
class Held:
    """The first `t` frames of `e` episodes. Shorter ones repeat their last frame."""

    latents: Float32[Array, "e t v d h w"]  # the encoded recording
    frames: Mapping[str, UInt8[Array, "e t y x 3"]] | None  # None: the world has no decoder
    actions: Float32[Array, "e t a"]
    pose: Float32[Array, "e t p"]
    tasks: tuple[str, ...]
    length: Int[Array, " e"]

    def __len__(self) -> int:
        return len(self.tasks)

    def there(self, frame: int) -> Bool[Array, " e"]:
        """Whether each episode has that frame."""
        return self.length > frame

    def take(self, index: Int[Array, " k"]) -> "Held":
        """Select some of the episodes."""
        frames = self.frames
        return replace(
            self,
            latents=self.latents[index],
            frames=frames and {view: images[index] for view, images in frames.items()},
            actions=self.actions[index],
            pose=self.pose[index],
            tasks=tuple(self.tasks[i] for i in index),
            length=self.length[index],
        )


@dataclass(frozen=True, kw_only=True)
class OpenLoop:
    """A world's open-loop prediction for given actions from the first frame of `Held`."""

    latents: Float32[Array, "e t v d h w"]
    pose: Float32[Array, "e t p"]


@dataclass(frozen=True, kw_only=True)
class Shelf:
    """A dataset's episodes, split as in training; frames are read only for selected episodes."""

    source: Source
    held: Int[Array, " h"]
    training: Int[Array, " t"]
    tasks: list[str]  # of every episode
    space: str  # the declared action space (data/space_text.py); "" if there is none
    pose: Callable[[int], Float32[Array, "t p"]]
    read: Callable[[Int[Array, " k"], int], Held]  # episodes, and the number of frames of each


def open_shelf(world: World, data: Path | Weighted, *, share: float, seed: int) -> Shelf:
    """Open the episodes of `data` that `world` can read.

    `share` and `seed` are those of the training, so that the same episodes are held out.
    """
    (part,) = weighted(data)
    source = as_trained(part.open(), world.spec)
    mask = held_out(source, share=share, seed=seed)
    draws = world.tokenizer is not None
    usable = np.array([draws or source.has_latents(index) for index in range(len(source))])
    shelf = Shelf(
        source=source,
        held=np.flatnonzero(mask & usable),
        training=np.flatnonzero(~mask & usable),
        tasks=[head.task for head in source.heads],
        space=source.spec.space,
        pose=lambda index: source.rows(index).pose,
        read=lambda index, frames: (
            _drawn(world, source.episode, index, frames)
            if draws
            else _precomputed(world, source, index, frames)
        ),
    )
    if not len(shelf.held) or not len(shelf.training):
        raise UserError(
            f"Of the episodes that this world can read, {part.path} holds out {len(shelf.held)} "
            f"and leaves {len(shelf.training)} for training. At least one of each is needed."
        )
    return shelf


def imagine_held(
    world: World, held: Held, *, steps: int, actions: Float32[Array, "e t a"] | None = None
) -> OpenLoop:
    """Execute the recorded actions, or the given ones, for `steps` frames."""
    given = held.actions if actions is None else actions
    latents, poses = [], []
    for begin in range(0, len(held), BATCH):
        part = slice(begin, begin + BATCH)
        start = torch.from_numpy(held.latents[part, 0])
        seeds = range(begin, begin + len(start))
        state = world.begin_latents(start, held.pose[part, 0], held.tasks[part], list(seeds))
        walked = walk(world, state, given[part, :steps])
        latents.append(np.concatenate([world.latents(state)[:, None], walked.latents], 1))
        poses.append(np.concatenate([world.pose(state)[:, None], walked.pose], 1))
    return OpenLoop(latents=np.concatenate(latents), pose=np.concatenate(poses))


def by_turns(index: Int[Array, " n"], tasks: list[str], count: int) -> Int[Array, " k"]:
    """Select at most `count` of the episodes, alternating between tasks."""
    queues: dict[str, list[int]] = {}
    for each in index:
        queues.setdefault(tasks[each], []).append(int(each))
    turns = [
        queue[turn]
        for turn in range(max((len(queue) for queue in queues.values()), default=0))
        for queue in queues.values()
        if turn < len(queue)
    ]
    return np.array(turns[:count], np.int64)


def _drawn(
    world: World, read: Callable[[int], Episode], index: Int[Array, " k"], frames: int
) -> Held:
    """Read episodes with frames, encoded by the world's own tokenizer."""
    views, episodes = world.spec.views, [read(int(each)) for each in index]
    rows = [np.minimum(np.arange(frames), len(episode) - 1) for episode in episodes]
    pairs = list(zip(episodes, rows, strict=True))
    pictures = {view: np.stack([each.frames[view][row] for each, row in pairs]) for view in views}
    latents = []
    for number, episode in enumerate(episodes):
        own = {view: images[number] for view, images in pictures.items()}
        latents.append(world.encode(own, [episode.task] * frames).cpu().numpy())
    return Held(
        latents=np.stack(latents),
        frames=pictures,
        actions=np.stack([each.actions[row] for each, row in pairs]).astype(np.float32),
        pose=np.stack([each.pose[row] for each, row in pairs]).astype(np.float32),
        tasks=tuple(episode.task for episode in episodes),
        length=np.array([len(episode) for episode in episodes]),
    )


def _precomputed(world: World, source: Source, index: Int[Array, " k"], frames: int) -> Held:
    """Read episodes with precomputed latents, for a world without a decoder."""
    latents, actions, pose, length = [], [], [], []
    for each in index:
        rows, own = source.rows(int(each)), source.latents(int(each))
        count = min(len(rows.pose), *(len(own[view]) for view in world.spec.views))
        row = np.minimum(np.arange(frames), count - 1)
        latents.append(np.stack([own[view][row] for view in world.spec.views], 1))
        actions.append(rows.actions[row])
        pose.append(rows.pose[row])
        length.append(count)
    return Held(
        latents=np.stack(latents).astype(np.float32),
        frames=None,
        actions=np.stack(actions).astype(np.float32),
        pose=np.stack(pose).astype(np.float32),
        tasks=tuple(source.heads[int(each)].task for each in index),
        length=np.array(length),
    )
