"""`worldeval serve-world`: serve a world model as an environment for other machines.

server: the `WorldDescription` as a map, with {"worldeval-world": 1, "numbered": true}
client: {"begin": {"starts": [numbers], "seeds": [numbers]}}
server: {"frames": {view: uint8 (b h w 3)}, "pose", "probability", "mended", "step"}
client: {"step": float32 (b a)}  ->  the same, until the horizon
"""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from worldeval.policy.remote.connection import NUMBERED
from worldeval.policy.remote.wire import WireError
from worldeval.rollout.starts import read_starts
from worldeval.serve.description import MARK, VERSION, StepObservation
from worldeval.serve.episodes import ServedEpisodes, Setting


def load_setting(
    world: Path, *, starts: Path, judge: Path | None = None, horizon: int = 30
) -> Setting:
    """Load the world model in the folder `world`, with recorded starts and optionally a judge."""
    from worldeval.judge.load import load_judge
    from worldeval.world.load import load_world

    model = load_world(world)
    known = [start for start in read_starts(starts) if model.spec.knows(start.task)]
    return Setting(
        world=model,
        starts=known,
        horizon=horizon,
        judge=None if judge is None else load_judge(judge),
    )


class WorldService:
    """One world model for many clients; every session has its own episodes."""

    def __init__(self, setting: Setting, *, episodes: int = 64, seed: int = 0) -> None:
        """`seed` is part of every episode's seed, so that two servers can differ."""
        self._setting, self._episodes, self._seed = setting, episodes, seed
        self._place = ServedEpisodes(setting, episodes=episodes).place

    @property
    def metadata(self) -> Mapping[str, Any]:
        place = asdict(self._place)
        place["start_tasks"] = [int(task) for task in self._place.start_tasks][:4096]
        return {MARK: VERSION, NUMBERED: True, **place}

    def session(self) -> "WorldSession":
        return WorldSession(ServedEpisodes(self._setting, episodes=self._episodes), self._seed)


class WorldSession:
    """One client's episodes."""

    def __init__(self, episodes: ServedEpisodes, seed: int) -> None:
        self._episodes, self._seed = episodes, seed

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer `begin` or `step`."""
        if "begin" in request:
            asked = request["begin"]
            if not isinstance(asked, dict):
                raise WireError("'begin' must be a map with starts and seeds")
            seeds = [self._seed + seed for seed in _numbers(asked, "seeds")]
            return told(self._episodes.begin(_numbers(asked, "starts"), seeds))
        actions = request.get("step")
        if not isinstance(actions, np.ndarray) or actions.dtype.kind != "f" or actions.ndim != 2:
            raise WireError(
                "a request must contain 'begin', or 'step' with a float array of actions (b a)"
            )
        return told(self._episodes.step(actions.astype(np.float32)))


def told(seen: StepObservation) -> dict[str, Any]:
    """Convert observations to a message."""
    return {
        "frames": dict(seen.frames),
        "pose": seen.pose,
        "probability": seen.probability,
        "mended": np.asarray(seen.mended, np.int64),
        "step": seen.step,
    }


def _numbers(asked: Mapping[str, Any], key: str) -> list[int]:
    values = asked.get(key)
    if not isinstance(values, list) or not all(
        type(value) is int and 0 <= value < 2**32 for value in values
    ):
        raise WireError(f"'{key}' must be a list of non-negative integers")
    return values
