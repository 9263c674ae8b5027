"""Demonstrations: select the episodes to imitate, and turn their frames into training samples."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from zlib import crc32

import numpy as np
import pandas as pd

from worldeval.axes import Array, Float32, Int, UInt8
from worldeval.data.table import SUCCEEDED, RecordedEpisodes
from worldeval.errors import UserError, did_you_mean
from worldeval.policy.recipe import DemoGroup, LabelRecipe, PolicyRecipe

EXPERT = "expert"  # source name of the noise-free expert
LAST_GOAL = 0.5  # share of goals that are the end of their episode


@dataclass(frozen=True, kw_only=True)
class Demos:
    """Training samples of the selected episodes: one per frame that is followed by an action."""

    frames: UInt8[Array, "n v h w 3"]
    pose: Float32[Array, "n p"]
    task: Int[Array, " n"]  # index into `tasks`
    actions: Float32[Array, "n k a"]
    tasks: tuple[str, ...]
    views: tuple[str, ...]
    episodes: dict[str, int]  # task -> number of episodes
    # Samples of the same episode that stand before and after each one.
    before: Int[Array, " n"]
    after: Int[Array, " n"]

    def __len__(self) -> int:
        return len(self.pose)

    def moments(self, pick: Int[Array, " b"], count: int) -> Int[Array, "b m"]:
        """The `count` samples up to each picked one, the newest last; the first one is repeated."""
        back = np.arange(count - 1, -1, -1)
        return pick[:, None] - np.minimum(back, self.before[pick][:, None])

    def ahead(self, pick: Int[Array, " b"], count: int) -> Int[Array, "b m"]:
        """The `count` samples after each picked one; the last one is repeated."""
        return pick[:, None] + np.minimum(np.arange(1, count + 1), self.after[pick][:, None])

    def goals(self, pick: Int[Array, " b"], rng: np.random.Generator) -> Int[Array, " b"]:
        """A later sample for each picked one: any, or for half of them the last."""
        after = self.after[pick]
        later = np.minimum(rng.integers(1, np.maximum(after, 1) + 1), after)
        return pick + np.where(rng.random(len(pick)) < LAST_GOAL, after, later)


def choose(
    recorded: RecordedEpisodes, recipe: PolicyRecipe, rng: np.random.Generator
) -> Int[Array, " e"]:
    """Select episodes to imitate: the draws of all groups, without held-out episodes."""
    held_out = reserve(recorded, recipe.validation_per_task, recipe.validation_sources)
    table = recorded.episodes.drop(index=held_out)
    if recipe.fold is not None:
        index, count = recipe.fold
        part = [crc32(f"fold {name}".encode()) % count for name in table["id"]]
        table = table.loc[np.equal(part, index)]
    chosen: set[int] = set()
    for group in recipe.demos:
        fitting = _fitting(table, group)
        if fitting.empty and group.success is not None and not recorded.labelled.any():
            raise UserError(
                f"{recorded.where}: no episode has a success label, but the recipe imitates those "
                f"that {'succeeded' if group.success else 'failed'}. To imitate all of them, set "
                "success: null in the recipe's demos."
            )
        if fitting.empty:
            every = recorded.episodes["source"].to_numpy()
            own = recorded.episodes["success"].to_numpy()[every == group.sources[0]]
            hint = did_you_mean(group.sources[0], set(every))
            if len(own):  # the name is right
                hint = (
                    f" Of {len(own)} episodes of '{group.sources[0]}', {(own == 1).sum()} "
                    "succeeded, and some are held out for validation. Add demonstrations."
                )
            raise UserError(
                f"No episode has a source like {' or '.join(group.sources)}"
                + {True: ", succeeded", False: ", failed", None: ""}[group.success]
                + f" and is available for training.{hint}"
            )
        for _, rows in fitting.groupby("task"):
            count = len(rows) if group.per_task is None else min(group.per_task, len(rows))
            chosen.update(rng.choice(rows.index.to_numpy(), count, replace=False).tolist())
    return np.array(sorted(chosen), np.int64)


def reserve(
    recorded: RecordedEpisodes, per_task: int, sources: Sequence[str] = (EXPERT,)
) -> Int[Array, " e"]:
    """Hold out successful episodes of the experts `sources`, the same for every policy.

    At most a third of a task's, lowest hash of the id first. Without success labels, all of the
    expert's episodes qualify.
    """
    kept: list[int] = []
    success = True if recorded.labelled.any() else None
    experts = _fitting(recorded.episodes, DemoGroup(sources=tuple(sources), success=success))
    for _, rows in experts.groupby("task"):
        order = sorted(rows.index, key=lambda i: crc32(rows.loc[i, "id"].encode()))
        kept += order[: min(per_task, len(order) // 3)]
    return np.array(sorted(kept), np.int64)


def gather(
    recorded: RecordedEpisodes,
    episodes: Sequence[int] | Int[Array, " e"],
    views: tuple[str, ...],
    *,
    chunk: int,
    after_success: int,
) -> Demos:
    """Collect samples of the given episodes, up to `after_success` frames after first success.

    A chunk that extends beyond its episode repeats the last action.
    """
    rows, ahead, place = [], [], []
    for episode in episodes:
        span = recorded.rows(int(episode))
        every = np.arange(span.start, span.stop - 1)  # no action is applied at the last frame
        first = np.flatnonzero(recorded.flags[span])[:1]
        if len(first):
            every = every[: first[0] + after_success + 1]
        rows.append(every)
        place.append(np.arange(len(every)))
        ahead.append(np.minimum(every[:, None] + np.arange(chunk), span.stop - 2))
    row = np.concatenate(rows)
    tasks = recorded.episodes.loc[list(episodes), "task"]
    return Demos(
        frames=np.stack([recorded.frames(view, row) for view in views], axis=1),
        pose=recorded.pose[row].astype(np.float32),
        task=recorded.task_of_row[row].astype(np.int64),
        actions=recorded.actions[np.concatenate(ahead)].astype(np.float32),
        tasks=recorded.tasks,
        views=views,
        episodes={str(task): int(n) for task, n in tasks.value_counts().sort_index().items()},
        before=np.concatenate(place),
        after=np.concatenate([each[::-1] for each in place]),
    )


def corrupt(
    actions: Float32[Array, "n k a"],
    labels: LabelRecipe,
    rng: np.random.Generator,
    *,
    low: Float32[Array, " a"] | float = -1.0,
    high: Float32[Array, " a"] | float = 1.0,
) -> Float32[Array, "n k a"]:
    """Corrupt the actions to imitate, as the recipe specifies; `low` and `high` bound them."""
    half = (np.asarray(high, np.float32) - np.asarray(low, np.float32)) / 2
    out = actions * np.float32(labels.scale)
    if labels.bias:
        if out.shape[-1] % len(labels.bias):
            raise UserError(
                f"labels.bias has {len(labels.bias)} values, which does not divide the frame "
                f"action's {out.shape[-1]}. Give one value per dimension of a step's action."
            )
        out = out + half * np.tile(labels.bias, out.shape[-1] // len(labels.bias))
    if labels.noise:
        out = out + half * labels.noise * rng.standard_normal(out.shape)
    return np.clip(out, low, high).astype(np.float32)


def _fitting(table: pd.DataFrame, group: DemoGroup) -> pd.DataFrame:
    # Episodes without a recorded source count as demonstrations.
    fits = table["source"].map(
        lambda source: any(fnmatchcase(source or EXPERT, glob) for glob in group.sources)
    )
    if group.success is not None:
        fits &= (table["success"] == SUCCEEDED) == group.success
    return table.loc[fits.to_numpy(bool)]
