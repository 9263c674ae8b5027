"""Episodes that bring their latents: what a world is trained on where pictures need no encoding."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from worldeval.axes import Array, Float16, Int
from worldeval.data.adapt import without_jumps
from worldeval.data.latents import LatentEpisodes, join
from worldeval.data.source import Source, SourceSpec
from worldeval.data.split import held_out
from worldeval.data.weighted import Weighted
from worldeval.errors import UserError
from worldeval.world.bounds import action_bounds
from worldeval.world.protocol import ANY_TASK, WorldSpec
from worldeval.world.recipe import WorldRecipe
from worldeval.world.tokenizer.cached import Cached


@dataclass(frozen=True, kw_only=True)
class Brought:
    """One dataset's episodes with latents, and which of them are held out."""

    source: Source
    episodes: LatentEpisodes
    held: Int[Array, " h"]

    @property
    def spec(self) -> SourceSpec:
        """What all of its episodes share."""
        return self.source.spec


def read_brought(
    part: Weighted, recipe: WorldRecipe, *, seed: int, cached: Cached | None = None
) -> Brought:
    """The episodes of a dataset that bring latents, with rotations as the recipe wants them.

    With `cached` all of them, with the latents of one of these caches.

    Raises:
        UserError: the dataset brings no latents.
    """
    path, source = part.path, part.open()
    if recipe.turned:
        source = without_jumps(source)
    latents_of, known = _latents(source, path, cached), () if cached is None else cached.tasks
    usable = [
        index for index in range(len(source)) if cached is not None or source.has_latents(index)
    ]
    if not usable:
        raise UserError(
            f"{path} ({source.spec.format}) brings no latents; world models train on data that "
            "does, or on shards, which any data can become: worldeval data convert --to shards."
        )
    latents, actions, pose = [], [], []
    for index in usable:
        rows, own = source.rows(index), latents_of(index)
        frames = min(len(rows.pose), len(own))
        latents.append(own[:frames])
        actions.append(rows.actions[:frames])
        pose.append(rows.pose[:frames])
    length = np.array([len(part) for part in pose])
    episodes = LatentEpisodes(
        latents=np.concatenate(latents),
        actions=np.concatenate(actions),
        pose=np.concatenate(pose),
        # A robot's free-text tasks are one to the dynamics, unless a tokenizer tells them apart.
        task=np.array([_place(known, source.heads[index].task) for index in usable], np.int64),
        told=tuple("" if part.video else source.heads[index].task for index in usable),
        video=np.full(len(usable), part.video),
        begin=np.cumsum(length) - length,
        length=length,
    )
    held = np.flatnonzero(held_out(source, share=recipe.held_out, seed=seed)[usable])
    if part.video:  # without actions there is nothing to follow, so nothing to measure
        held = held[:0]
    return Brought(source=source, episodes=episodes, held=held)


def _latents(
    source: Source, path: Path, cached: Cached | None
) -> Callable[[int], Float16[Array, "t v d h w"]]:
    """What gives an episode's latents: the dataset itself, or the cache of it."""
    views = tuple(source.spec.views)
    if cached is not None:
        heads = source.heads
        return cached.find(
            [head.id for head in heads], [head.length for head in heads], views, path
        ).latents

    def brought(index: int) -> Float16[Array, "t v d h w"]:
        own = source.latents(index)
        frames = min(len(own[view]) for view in views)
        return np.stack([own[view][:frames] for view in views], 1).astype(np.float16)

    return brought


def _place(tasks: tuple[str, ...], task: str) -> int:
    return tasks.index(task) if task in tasks else 0


def mixed(parts: Sequence[Weighted], sets: Sequence[Brought]) -> tuple[LatentEpisodes, Array]:
    """The datasets as one with their weights, and the held-out episodes of all.

    Raises:
        UserError: they do not describe the same robot: names what differs.
    """
    for one, other in zip(parts[1:], sets[1:], strict=True):
        for what, first, this in (
            ("views", sets[0].spec.views, other.spec.views),
            ("frames a second", sets[0].spec.fps, other.spec.fps),
            ("an action of", sets[0].spec.action_names, other.spec.action_names),
            ("a pose of", sets[0].spec.pose_names, other.spec.pose_names),
            ("latents of", _grid(sets[0]), _grid(other)),
        ):
            if first != this:
                raise UserError(
                    f"{one.path} has {what} {this}, and {parts[0].path} {first}. One world model "
                    "learns from data that agree; convert one of them (worldeval data convert)."
                )
    if len(sets) == 1:
        return sets[0].episodes, sets[0].held
    counts = [len(each.episodes) for each in sets]
    begins = np.cumsum([0, *counts[:-1]])
    episodes = join(*(each.episodes for each in sets)).blended(
        np.repeat(np.arange(len(sets)), counts), tuple(part.weight for part in parts)
    )
    held = [each.held + begin for each, begin in zip(sets, begins, strict=True)]
    return episodes, np.concatenate(held)


def world_spec(
    source: SourceSpec, episodes: LatentEpisodes, *, instructions: bool = False
) -> WorldSpec:
    """The spec of a world that is trained on such episodes.

    With `instructions` it keeps what they were told, each of the words once.
    """
    return WorldSpec(
        views=tuple(source.views),
        size=next(iter(source.views.values())),
        latent=_cells(episodes),
        action_dim=episodes.actions.shape[1],
        pose_dim=episodes.pose.shape[1],
        tasks=(ANY_TASK,),
        instructions=tuple(sorted(set(episodes.told or ()))) if instructions else (),
        fps=source.fps,
        space=source.space,
        **action_bounds(episodes.actions, source.space),
    )


def as_trained(source: Source, world: WorldSpec) -> Source:
    """The data as `world` was trained on it: worlds of angles are read with angles."""
    turned = without_jumps(source)
    return turned if len(turned.spec.pose_names) == world.pose_dim else source


def _grid(one: Brought) -> tuple[int, ...]:
    return _cells(one.episodes)


def _cells(episodes: LatentEpisodes) -> tuple[int, int, int]:
    channels, height, width = episodes.latents.shape[2:]
    return channels, height, width
