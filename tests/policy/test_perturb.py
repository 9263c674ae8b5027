from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from worldeval.axes import Array, Float32
from worldeval.errors import UserError
from worldeval.policy.builtin import Zero
from worldeval.policy.perturb import Perturbation, Perturbed, Switched
from worldeval.policy.protocol import PolicySpec
from worldeval.record import Observation

CALM = Perturbation(bias_share=0, scale_share=0, noise_share=0, pose_share=0)


class Constant:
    """Commands one number, and remembers the poses that it saw."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.saw: list[Array] = []

    @property
    def spec(self) -> PolicySpec:
        return PolicySpec(
            name="constant", lineage="constant", step=0, views=("side",), action_dim=8, chunk=2
        )

    def reset(self, tasks: Sequence[str], seeds: Sequence[int]) -> None:
        self.saw = []

    def act(self, observation: Observation) -> Float32[Array, "b k a"]:
        self.saw.append(observation.pose)
        return np.full((len(observation), 2, 8), self.value, np.float32)


def run(how: Perturbation, count: int = 400) -> tuple[Float32[Array, "b k a"], Array]:
    inner = Constant(0.4)
    policy = Perturbed(inner, how)
    policy.reset(("a",) * count, range(count))
    acted = policy.act(observation(count))
    return acted, inner.saw[0]


def observation(count: int) -> Observation:
    frames = {"side": np.zeros((count, 8, 8, 3), np.uint8)}
    return Observation(frames=frames, pose=np.ones((count, 4), np.float32), tasks=("a",) * count)


def test_nothing_asked_changes_nothing() -> None:
    acted, saw = run(CALM)
    np.testing.assert_allclose(acted, 0.4, atol=1e-7)
    np.testing.assert_array_equal(saw, 1)


def test_bias_pushes_its_share_of_episodes_by_a_constant() -> None:
    acted, _ = run(Perturbation(**{**vars(CALM), "bias_share": 0.25, "bias_std": 0.1}))
    push = acted - 0.4
    hit = np.abs(push).max((1, 2)) > 1e-6
    assert 0.18 < hit.mean() < 0.32
    np.testing.assert_allclose(push[..., 3::4], 0, atol=1e-6)  # never the gripper
    np.testing.assert_allclose(push[:, 0, :4], push[:, 1, 4:], atol=1e-6)
    assert 0.08 < push[hit][:, 0, :3].std() < 0.12


def test_scale_and_slowness_differ_in_the_gripper() -> None:
    scaled, _ = run(Perturbation(**{**vars(CALM), "scale_share": 1.0}))
    np.testing.assert_allclose(scaled[:, 0, 0], scaled[:, 0, 3], rtol=1e-6)
    assert scaled.min() >= 0.4 * 0.4 - 1e-6
    slow, _ = run(Perturbation(**{**vars(CALM), "slow_share": 1.0}))
    np.testing.assert_allclose(slow[..., 3::4], 0.4, rtol=1e-6)
    assert slow[..., :3].max() <= 0.4 * 0.9 + 1e-6


def test_proprioception_is_offset_in_the_hand_alone_and_the_given_pose_is_kept() -> None:
    _, saw = run(Perturbation(**{**vars(CALM), "pose_share": 1.0, "pose_std": 0.02}))
    np.testing.assert_array_equal(saw[:, 3], 1)
    assert 0.018 < (saw[:, :3] - 1).std() < 0.022


def test_an_episode_suffers_the_same_in_every_batch() -> None:
    how = Perturbation(noise_share=0.5)
    policy = Perturbed(Constant(0.2), how)
    policy.reset(("a",) * 5, (1, 2, 3, 4, 5))
    together = policy.act(observation(5))
    policy.reset(("a",), (4,))
    np.testing.assert_array_equal(policy.act(observation(1))[0], together[3])


def test_a_switch_changes_over_once_within_its_bounds() -> None:
    policy = Switched(Zero(action_dim=8, chunk=4), Constant(1.0), between=(3, 6))
    policy.reset(("a",) * 50, range(50))
    assert policy.spec.chunk == 2
    assert policy.spec.views == ("side", "top")
    acted = np.stack([policy.act(observation(50))[:, 0, 0] for _ in range(9)], axis=1)
    first = acted.argmax(axis=1)
    assert set(first) == {3, 4, 5, 6}
    assert (np.diff(acted, axis=1) >= 0).all()


def test_a_robot_without_a_hand_is_refused() -> None:
    with pytest.raises(UserError, match=r"2 numbers per action.*perturbed=0"):
        Perturbed(Zero(action_dim=2), CALM)
    planar = Perturbed(Zero(action_dim=4), Perturbation())
    planar.reset(("a",), [0])
    flat = Observation(frames={}, pose=np.zeros((1, 2), np.float32), tasks=("a",))
    with pytest.raises(UserError, match="pose of 2 numbers has no x, y and z"):
        planar.act(flat)


def test_actions_far_outside_the_bounds_are_refused() -> None:
    policy = Perturbed(Constant(300.0), CALM)
    policy.reset(("a",), (0,))
    with pytest.raises(UserError, match="far outside"):
        policy.act(observation(1))


def test_a_planar_robot_can_be_perturbed() -> None:
    how = Perturbation(bias_share=1, noise_share=1, pose_share=0)
    policy = Perturbed(Constant(0.1), how, step_dim=2)
    policy.reset(("a",) * 3, range(3))
    seen = observation(3)
    acted = policy.act(replace(seen, pose=seen.pose[:, :2]))
    assert acted.shape == (3, 2, 8) and np.ptp(acted) > 0
