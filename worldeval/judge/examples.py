"""Labelled episodes for the judge: recorded actions replayed in worlds that never saw them."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from worldeval.axes import Array, Bool, Float, Float32, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.world.walk import walk
from worldeval.world.world import World


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Episodes of equal length with a success label at every frame."""

    imagined: Float[Array, "e t v d h w"]  # float16; a world model's prediction of the actions
    recorded: Float[Array, "e t v d h w"]  # float16; what the cameras saw
    imagined_pose: Float32[Array, "e t p"]
    recorded_pose: Float32[Array, "e t p"]
    achieved: Bool[Array, "e t"]  # success at this frame or before
    task: Int[Array, " e"]
    family: Array  # names of the policy families, which are held out together
    # True if success is known frame by frame, not only for the whole episode. None: for all.
    timed: Bool[Array, " e"] | None = None
    # Last frame of each recording, which later ones repeat. None: the last of all.
    last: Int[Array, " e"] | None = None

    def __len__(self) -> int:
        return len(self.task)

    @property
    def success(self) -> Bool[Array, " e"]:
        """Whether the episode succeeded within its length."""
        return self.achieved[:, -1]

    def take(self, index: Int[Array, " k"] | Bool[Array, " e"]) -> "Examples":
        """Select some of the episodes."""
        chosen: dict[str, Any] = {
            name: None if (own := getattr(self, name)) is None else own[index]
            for name in self.__dataclass_fields__
        }
        return Examples(**chosen)

    def ends(
        self, chosen: Int[Array, " k"] | slice = slice(None)
    ) -> tuple[Bool[Array, " k"], Int[Array, " k"]]:
        """Return whether success is known frame by frame, and the last frame of the recording."""
        count, frames = self.achieved[chosen].shape
        timed = np.ones(count, bool) if self.timed is None else self.timed[chosen]
        last = np.full(count, frames - 1) if self.last is None else self.last[chosen]
        return timed, last


def replayed(
    world: World,
    data: LatentEpisodes,
    episodes: Int[Array, " k"],
    *,
    flags: Array,
    family: Array,
    horizon: int,
    timed: Bool[Array, " e"] | None = None,
    shuffled: Int[Array, " k"] | None = None,
    batch: int = 100,
) -> Examples:
    """Imagine `episodes` from their first frames with their recorded actions.

    `flags` holds the success flag of every row of `data`, `family` the policy family of each of its
    episodes. An episode shorter than `horizon` stays at its last frame. With `shuffled`, actions
    come from those other episodes, and the outcome counts as a failure.
    """
    begin, last = data.begin[episodes], data.begin[episodes] + data.length[episodes] - 1
    rows = np.minimum(begin[:, None] + np.arange(horizon + 1), last[:, None])
    given = rows[:, :horizon]
    if shuffled is not None:
        end = data.begin[shuffled] + data.length[shuffled] - 1
        given = np.minimum(data.begin[shuffled][:, None] + np.arange(horizon), end[:, None])
    latents, poses = [], []
    for cut in range(0, len(episodes), batch):
        part = slice(cut, cut + batch)
        tasks = world.tasks_of(data, episodes[part])
        state = world.begin_latents(
            data.gather(begin[part]), data.pose[begin[part]], tasks, episodes[part].tolist()
        )
        walked = walk(world, state, data.actions[given[part]])
        seen = np.concatenate([world.latents(state)[:, None], walked.latents], 1)
        latents.append(seen.astype(np.float16))
        poses.append(np.concatenate([world.pose(state)[:, None], walked.pose], 1))
    flat = rows.reshape(-1)
    shape = (len(episodes), horizon + 1)
    achieved = np.maximum.accumulate(flags[flat].reshape(shape), 1).astype(bool)
    if shuffled is not None:
        achieved[:] = False
    return Examples(
        imagined=np.concatenate(latents),
        recorded=np.asarray(data.latents[flat]).reshape(*shape, *data.latents.shape[1:]),
        imagined_pose=np.concatenate(poses),
        recorded_pose=data.pose[flat].reshape(*shape, -1),
        achieved=achieved,
        task=data.task[episodes],
        family=family[episodes],
        timed=None if timed is None or shuffled is not None else timed[episodes],
        last=np.minimum(data.length[episodes] - 1, horizon),
    )


def gathered(*parts: Examples) -> Examples:
    """Concatenate several sets of examples."""
    ends = [part.ends() for part in parts]
    optional = {
        "timed": np.concatenate([timed for timed, _ in ends]),
        "last": np.concatenate([last for _, last in ends]),
    }
    names = [name for name in Examples.__dataclass_fields__ if name not in optional]
    known = any(part.timed is not None for part in parts)
    return Examples(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names},
        timed=optional["timed"] if known else None,
        last=optional["last"],
    )
