"""What reaches the simulator is what the policy commands, in the simulator's own units."""

import numpy as np

from worldeval.envs.protocol import EnvFrame
from worldeval.policy.protocol import PolicySpec
from worldeval.rollout.simulate import TruthJob, _record_one


class Plane:
    """A point that goes wherever it is told, in pixels."""

    views, action_dim, steps_per_frame, fps = ("top",), 2, 1, 10.0

    def reset(self, seed: int) -> EnvFrame:
        return self._seen(np.zeros(2, np.float32))

    def step(self, action: np.ndarray, *, look: bool = True) -> EnvFrame:
        return self._seen(action)

    def close(self) -> None: ...

    def _seen(self, place: np.ndarray) -> EnvFrame:
        picture = np.zeros((8, 8, 3), np.uint8)
        return EnvFrame(frames={"top": picture}, pose=place.copy(), success=bool(place[0] > 400))


class Far:
    """A policy whose target is far outside [-1, 1]."""

    spec = PolicySpec(name="far", lineage="far", step=0, views=("top",), action_dim=2, chunk=1)

    def reset(self, tasks, seeds) -> None: ...

    def act(self, observation) -> np.ndarray:
        return np.tile(np.array([412.0, np.nan], np.float32), (len(observation), 1, 1))


def test_actions_are_not_bounded_before_they_reach_the_simulator() -> None:
    job = TruthJob(task="push", episodes=(("far", 0),), load=lambda *_: Far())
    episode, flags = _record_one(job, Plane(), "far", 0, 3, 1, 0)
    assert episode.pose.tolist() == [[0.0, 0.0], *[[412.0, 0.0]] * 3]  # not a number: 0
    assert episode.success and flags.tolist() == [0, 1, 1, 1]
