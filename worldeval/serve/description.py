"""The description and observations of a served world model. Needs only NumPy."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from worldeval.axes import Array, Bool, Float32, Int, UInt8
from worldeval.errors import UserError

SUCCESS = 0.5  # predicted success probability from which an episode counts as a success
MARK, VERSION = "worldeval-world", 1  # identify a server of world models


@dataclass(frozen=True, kw_only=True)
class WorldDescription:
    """What a user of an environment has to know about it."""

    views: tuple[str, ...]
    size: tuple[int, int]  # height, width of a view in pixels
    action_dim: int
    pose_dim: int
    tasks: tuple[str, ...]
    fps: float
    horizon: int
    start_tasks: Int[Array, " s"]  # index into `tasks` of every start's task
    episodes: int  # maximum number that advance together
    space: str = ""  # of actions, as data/space_text.py writes it; "" is the world's own
    action_low: tuple[float, ...] = (-1.0,)  # of every number of an action, or one for all
    action_high: tuple[float, ...] = (1.0,)

    @property
    def starts(self) -> int:
        return len(self.start_tasks)


@dataclass(frozen=True, kw_only=True)
class StepObservation:
    """The observations of all episodes of a batch at one step."""

    frames: Mapping[str, UInt8[Array, "b h w 3"]]
    pose: Float32[Array, "b p"]
    probability: Float32[Array, " b"]  # of success so far, by the judge; NaN without a judge
    mended: Int[Array, " b"]  # numbers of the last action that were not finite or out of range
    step: int  # world frames since the start

    @property
    def success(self) -> Bool[Array, " b"]:
        return self.probability > SUCCESS


@runtime_checkable
class Backend(Protocol):
    """Where episodes advance: here (`ServedEpisodes`) or on a server (`client.RemoteEpisodes`)."""

    @property
    def place(self) -> WorldDescription: ...

    def begin(self, starts: Sequence[int], seeds: Sequence[int]) -> StepObservation: ...

    def step(self, actions: Float32[Array, "b a"]) -> StepObservation: ...


def read_description(said: Mapping[Any, Any], where: str) -> WorldDescription:
    """Parse the description of the world model on the server at `where`.

    Raises:
        UserError: it serves none, or its description is invalid.
    """
    mark = said.get(MARK)
    if type(mark) is not int or mark != VERSION:
        known = ", ".join(str(key)[:30] for key in said) or "nothing"
        raise UserError(f"{where} does not serve a world model (its metadata has: {known}).")
    try:
        height, width = (_whole(side) for side in said["size"])
        tasks = tuple(_text(task) for task in said["tasks"])
        start_tasks = np.array([_whole(task, least=0) for task in said["start_tasks"]], np.int64)
        if not tasks or not len(start_tasks) or start_tasks.max() >= len(tasks):
            raise ValueError("a start has an unknown task")
        return WorldDescription(
            views=tuple(_text(view) for view in said["views"]),
            size=(height, width),
            action_dim=_whole(said["action_dim"]),
            pose_dim=_whole(said["pose_dim"]),
            tasks=tasks,
            fps=float(said["fps"]),
            horizon=_whole(said["horizon"]),
            start_tasks=start_tasks,
            episodes=_whole(said["episodes"]),
            space=_text(said["space"]),
            action_low=tuple(float(bound) for bound in said["action_low"]),
            action_high=tuple(float(bound) for bound in said["action_high"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{where} sent an invalid description of its world model: {error}."
        ) from error


def _whole(value: Any, *, least: int = 1) -> int:
    if type(value) is not int or value < least:
        raise ValueError(f"{str(value)[:30]} is not an integer of at least {least}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:30]} is not a text")
    return value
