"""Exploration: each setting reaches the share of attempts that it is meant for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from worldeval.axes import Array
from worldeval.improve.explore import exploring
from worldeval.improve.recipe import ExploreRecipe
from worldeval.policy.builtin import Zero
from worldeval.record import Observation
from worldeval.world.protocol import WorldSpec

COUNT = 200
SPEC = WorldSpec(
    views=("side", "top"),
    size=(8, 8),
    latent=(2, 2, 2),
    action_dim=4,
    pose_dim=4,
    tasks=("a",),
    fps=10.0,
)
CALM = {"noisy": 0.0, "pushed": 0.0, "scaled": 0.0, "misled": 0.0}


class Follows(Zero):
    """Commands the pose that it reads, so that an error of the pose is seen in the action."""

    def act(self, observation: Observation) -> Array:
        return np.repeat(observation.pose[:, None], 1, axis=1).astype(np.float32)


def acted(bound: float = 1.0, **settings: Any) -> Array:
    """The actions of many attempts whose true pose is 0.5 everywhere."""
    recipe = ExploreRecipe(**{**CALM, **settings})
    spec = replace(SPEC, action_low=(-bound,), action_high=(bound,))
    policy = exploring(Follows(action_dim=4), recipe, spec)
    policy.reset(("a",) * COUNT, range(COUNT))
    frames = {view: np.zeros((COUNT, 8, 8, 3), np.uint8) for view in ("side", "top")}
    pose = np.full((COUNT, 4), 0.5, np.float32)
    return policy.act(Observation(frames=frames, pose=pose, tasks=("a",) * COUNT))[:, 0]


def test_without_exploration_every_attempt_is_alike() -> None:
    np.testing.assert_allclose(acted(), 0.5, atol=1e-6)


@pytest.mark.parametrize(
    ("share", "size"), [("pushed", "push"), ("noisy", "noise"), ("misled", "offset")]
)
def test_a_share_of_the_attempts_is_disturbed_by_the_given_size(share: str, size: str) -> None:
    hit = np.abs(acted(**{share: 0.3, size: 0.05})[:, 0] - 0.5) > 1e-6
    assert 0.2 < hit.mean() < 0.4
    everyone = acted(**{share: 1.0, size: 0.05})[:, 0] - 0.5
    assert 0.04 < everyone.std() < 0.06


def test_scaled_attempts_lie_within_the_given_range() -> None:
    scaled = acted(scaled=1.0, scale=(0.6, 0.8))
    assert scaled.min() >= 0.3 - 1e-6 and scaled.max() <= 0.4 + 1e-6
    assert scaled.std() > 0.01


def test_sizes_are_in_half_ranges_of_the_actions_of_the_world() -> None:
    wide = acted(bound=512.0, pushed=1.0, push=0.05) - 0.5
    narrow = acted(pushed=1.0, push=0.05) - 0.5
    np.testing.assert_allclose(wide, 512 * narrow, rtol=1e-3, atol=0.01)
