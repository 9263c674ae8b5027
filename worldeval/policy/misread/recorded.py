"""Recorded observations for a policy, with what the demonstrators did then.

A policy is led along short segments of recorded episodes, asked as often as in a roll-out, so that
policies with a state or a history are asked as they expect.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Bool, Float32, Int, UInt8
from worldeval.data.source import Source
from worldeval.errors import UserError
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

EPISODES = 24  # the most
SEGMENTS = 64  # about so many in total
SETTLED = 1  # calls at the beginning of a segment that are not compared: a state fills there
COMPARED = 8  # the most world frames of a chunk
MEGABYTES = 300  # of frames in memory
LEAST = 5  # episodes
MEASURED = 200  # episodes whose numbers give means, deviations and ranges


@dataclass(frozen=True, kw_only=True)
class Segments:
    """Segments of recorded episodes; row r is asked for actions at its frames `at[r]`."""

    episode: Int[Array, " r"]  # the cluster of the statistics
    tasks: tuple[str, ...]  # one per row
    seeds: tuple[int, ...]
    at: Int[Array, "r l"]  # frame of the episode at each call
    frames: Mapping[str, UInt8[Array, "n h w 3"]]
    place: Int[Array, "r l m"]  # of each call's frames, oldest first, in `frames`
    actions: tuple[Float32[Array, "_t a"], ...]  # of every row's episode, without the last row
    pose: tuple[Float32[Array, "_t p"], ...]

    @property
    def calls(self) -> int:
        """Calls of the policy in a segment."""
        return self.at.shape[1]

    @property
    def settled(self) -> int:
        """The first call that is compared."""
        return min(SETTLED, self.calls - 1)

    def observation(self, call: int) -> Observation:
        """Return what the policy is shown at a call, for all rows."""
        moments = []
        for back in range(self.place.shape[2]):
            index = self.place[:, call, back]
            frame = np.maximum(self.at[:, call] - (self.place.shape[2] - 1 - back), 0)
            pose = [rows[min(t, len(rows) - 1)] for rows, t in zip(self.pose, frame, strict=True)]
            moments.append(
                Observation(
                    frames={view: images[index] for view, images in self.frames.items()},
                    pose=np.stack(pose),
                    tasks=self.tasks,
                )
            )
        *past, now = moments
        return Observation(frames=now.frames, pose=now.pose, tasks=now.tasks, past=tuple(past))

    def demonstrated(
        self, frames: int, shift: int
    ) -> tuple[Float32[Array, "r l k a"], Bool[Array, "r l k"]]:
        """Return the recorded actions of `frames` world frames from each call, and where there are
        any; from `shift` frames later than the call."""
        wanted = self._ahead(frames) + shift
        known = np.stack([(t >= 0) & (t < len(a)) for a, t in zip(self.actions, wanted,
                                                                  strict=True)])  # fmt: skip
        found = [a[np.clip(t, 0, len(a) - 1)] for a, t in zip(self.actions, wanted, strict=True)]
        return np.stack(found), known

    def poses(self, frames: int) -> Float32[Array, "r l k p"]:
        """Return the recorded poses at `frames` world frames from each call."""
        wanted = self._ahead(frames)
        return np.stack(
            [p[np.clip(t, 0, len(p) - 1)] for p, t in zip(self.pose, wanted, strict=True)]
        )

    def first(self, calls: int) -> "Segments":
        """Return the same segments with fewer calls."""
        return Segments(**{**vars(self), "at": self.at[:, :calls], "place": self.place[:, :calls]})

    def _ahead(self, frames: int) -> Int[Array, "r l k"]:
        return self.at[:, :, None] + np.arange(frames)


def segments(
    source: Source,
    spec: PolicySpec,
    *,
    rng: np.random.Generator,
    calls: int = 3,
    episodes: int = EPISODES,
) -> Segments:
    """Draw segments from a dataset: successful episodes where success is known, evenly over tasks.

    Raises:
        UserError: the dataset has too few episodes, or none of the policy's cameras.
    """
    chosen = _chosen(source, episodes, rng)
    stride = spec.replans(COMPARED)
    # No action is applied at the last frame of an episode.
    typical = int(np.median([source.heads[index].length - 1 for index in chosen]))
    calls = min(calls, 1 + (typical - 1) // stride)
    views = source.choose(None)
    each = max(1, round(SEGMENTS / len(chosen)))
    bytes_per_frame = sum(3 * h * w for h, w in (source.spec.views[view] for view in views))
    rows_at_most = MEGABYTES * 2**20 // max(bytes_per_frame * calls * spec.history, 1)
    each = max(1, min(each, rows_at_most // len(chosen)))
    episode, tasks, seeds, at, place = [], [], [], [], []
    actions, poses = [], []
    frames: dict[str, list[Array]] = {view: [] for view in views}
    begin = 0
    for index in chosen:
        rows, head = source.rows(index), source.heads[index]
        usable = head.length - 1
        first = np.linspace(0, max(usable - 1 - stride * (calls - 1), 0), each + 1)
        begins = rng.uniform(first[:-1], first[1:]).round().astype(np.int64)
        own = begins[:, None] + stride * np.arange(calls)
        own = np.minimum(own, usable - 1)
        back = np.arange(spec.history - 1, -1, -1)
        shown = np.maximum(own[:, :, None] - back, 0)
        unique, inverse = np.unique(shown, return_inverse=True)
        for view in views:
            frames[view].append(source.frames(index, view, unique))
        place.append(begin + inverse.reshape(shown.shape))
        begin += len(unique)
        episode += [index] * each
        tasks += [head.task] * each
        at.append(own)
        actions += [rows.actions[:usable]] * each
        poses += [rows.pose] * each
    seeds = rng.integers(2**31, size=len(episode)).tolist()
    return Segments(
        episode=np.array(episode),
        tasks=tuple(tasks),
        seeds=tuple(seeds),
        at=np.concatenate(at),
        frames={view: np.concatenate(parts) for view, parts in frames.items()},
        place=np.concatenate(place),
        actions=tuple(actions),
        pose=tuple(poses),
    )


def recorded_numbers(
    source: Source, rng: np.random.Generator
) -> tuple[Float32[Array, "t a"], Float32[Array, "n p"]]:
    """Read the actions and poses of many episodes, as the statistics of a policy are made."""
    chosen = rng.permutation(len(source))[:MEASURED]
    rows = [source.rows(int(index)) for index in sorted(chosen)]
    actions = np.concatenate([each.actions[:-1] for each in rows])
    return actions, np.concatenate([each.pose for each in rows])


def _chosen(source: Source, most: int, rng: np.random.Generator) -> list[int]:
    """Draw episodes that can be used, in turn over the tasks."""
    usable = [i for i, h in enumerate(source.heads) if h.success is not False and h.length >= 2]
    if len(usable) < LEAST:
        raise UserError(
            f"{source.spec.path} has {len(usable)} usable episodes (not failed, two frames or "
            f"more), and comparing a policy with its demonstrators needs {LEAST}. Give more "
            "recordings."
        )
    by_task: dict[str, list[int]] = {}
    for index in rng.permutation(usable).tolist():
        by_task.setdefault(source.heads[index].task, []).append(index)
    turns = max(map(len, by_task.values()))
    order = [own[turn] for turn in range(turns) for own in by_task.values() if turn < len(own)]
    return sorted(order[:most])
