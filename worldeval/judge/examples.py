"""Labelled episodes for the judge: recorded actions replayed in worlds that never saw them."""

from dataclasses import dataclass

import numpy as np

from worldeval.axes import Array, Bool, Float, Float32, Int
from worldeval.data.latents import LatentEpisodes
from worldeval.world.walk import walk
from worldeval.world.world import World


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Episodes of equal length with the simulator's word on every frame."""

    imagined: Float[Array, "e t v d h w"]  # float16; what a world model made of the real actions
    recorded: Float[Array, "e t v d h w"]  # float16; what the cameras saw
    imagined_pose: Float32[Array, "e t p"]
    recorded_pose: Float32[Array, "e t p"]
    achieved: Bool[Array, "e t"]  # success at this frame or before
    task: Int[Array, " e"]
    family: Array  # who drove, as text: what is left out together

    def __len__(self) -> int:
        return len(self.task)

    @property
    def success(self) -> Bool[Array, " e"]:
        """Whether the episode succeeded within its length."""
        return self.achieved[:, -1]

    def take(self, index: Int[Array, " k"] | Bool[Array, " e"]) -> "Examples":
        """Some of the episodes."""
        return Examples(**{name: getattr(self, name)[index] for name in self.__dataclass_fields__})


def replayed(
    world: World,
    data: LatentEpisodes,
    episodes: Int[Array, " e"],
    *,
    flags: Array,
    family: Array,
    horizon: int,
    batch: int = 100,
) -> Examples:
    """Imagine `episodes` from their first frames with their recorded actions.

    `flags` is the success flag of every row of `data`, `family` who drove each episode of it. An
    episode shorter than `horizon` stands still at its last frame.
    """
    begin, last = data.begin[episodes], data.begin[episodes] + data.length[episodes] - 1
    rows = np.minimum(begin[:, None] + np.arange(horizon + 1), last[:, None])
    latents, poses = [], []
    for cut in range(0, len(episodes), batch):
        part = slice(cut, cut + batch)
        tasks = world.tasks_of(data, episodes[part])
        state = world.begin_latents(
            data.gather(begin[part]), data.pose[begin[part]], tasks, episodes[part].tolist()
        )
        walked = walk(world, state, data.actions[rows[part, :horizon]])
        seen = np.concatenate([world.latents(state)[:, None], walked.latents], 1)
        latents.append(seen.astype(np.float16))
        poses.append(np.concatenate([world.pose(state)[:, None], walked.pose], 1))
    flat = rows.reshape(-1)
    shape = (len(episodes), horizon + 1)
    achieved = np.maximum.accumulate(flags[flat].reshape(shape), 1).astype(bool)
    return Examples(
        imagined=np.concatenate(latents),
        recorded=np.asarray(data.latents[flat]).reshape(*shape, *data.latents.shape[1:]),
        imagined_pose=np.concatenate(poses),
        recorded_pose=data.pose[flat].reshape(*shape, -1),
        achieved=achieved,
        task=data.task[episodes],
        family=family[episodes],
    )


def gathered(*parts: Examples) -> Examples:
    """Several sets as one."""
    names = Examples.__dataclass_fields__
    return Examples(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    )
