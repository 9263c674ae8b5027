"""Gates on a world and a judge with known answers."""

from dataclasses import dataclass

import numpy as np
import pytest

from worldeval.evaluate.gates import mean, run_gates
from worldeval.record import Start, Verdict
from worldeval.rollout.starts import Recording
from worldeval.world.protocol import WorldSpec


@dataclass
class Sum:
    """A world whose pose is the sum of all actions."""

    spec: WorldSpec = WorldSpec(  # noqa: RUF009  (frozen)
        views=("side",),
        size=(2, 2),
        latent=(1, 1, 1),
        action_dim=1,
        pose_dim=1,
        tasks=("go",),
        fps=1.0,
    )

    def begin(self, frames, pose, tasks, seeds):
        return pose

    def step(self, state, actions):
        return state + actions

    def latents(self, state):
        return np.zeros((len(state), 1, 1, 1, 1), np.float32)

    def pose(self, state):
        return state.astype(np.float32)

    def render(self, latents, tasks):
        return {"side": np.zeros((len(latents), 2, 2, 3), np.uint8)}


def judge(rollouts):
    """Certain of success where the hand got beyond 2, whatever really happened."""
    return [
        Verdict(probability=float(rollout.pose[-1, 0] > 2), step=1, judge="rule")
        for rollout in rollouts
    ]


def recording(action: float, *, success: bool, near: bool = False) -> Recording:
    start = Start(
        id=f"go-{action}-{success}-{near}",
        task="go",
        seed=0,
        frames={"side": np.zeros((2, 2, 3), np.uint8)},
        pose=np.zeros(1, np.float32),
    )
    return Recording(
        start=start,
        actions=np.full((3, 1), action, np.float32),
        pose=np.zeros((4, 1), np.float32),
        success=success,
        near_miss=near,
        source="x",
    )


def test_known_gates() -> None:
    recordings = [
        recording(1.0, success=True),
        recording(0.9, success=True),
        recording(0.0, success=False),
        recording(0.1, success=False),
        recording(0.8, success=False, near=True),  # fools world and judge
        recording(0.2, success=False, near=True),
    ]
    gates = run_gates(Sum(), judge, recordings, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert gates.false_success.value == pytest.approx(1 / 4)
    assert gates.near_miss_false_success.value == pytest.approx(1 / 2)
    assert gates.true_success.value == 1.0
    # The sum does not care about order, so shuffling changes nothing in this world.
    assert gates.action_effect.value == 0.0


def test_recordings_that_all_failed_leave_the_other_gates_unknown() -> None:
    recordings = [recording(action, success=False) for action in (0.1, 0.2, 1.0)]
    gates = run_gates(Sum(), judge, recordings, rng=np.random.default_rng(0))  # type: ignore[arg-type]
    assert gates.false_success.value == pytest.approx(1 / 3)
    assert gates.true_success.value is gates.action_effect.value is None
    assert gates.informativeness.value is None


def test_the_interval_of_a_mean_stays_between_0_and_1() -> None:
    estimate = mean(np.array([0.0, 0.0, 0.1, 0.0]))
    assert estimate.low == 0.0
    assert estimate.value == pytest.approx(0.025)
    assert mean(np.array([0.4])).low is None
    assert mean(np.array([])).value is None
