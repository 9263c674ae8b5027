"""Hand-overs by branching are the episodes that each would be on its own."""

from typing import Any

import numpy as np
import pytest

from tests.support.parting import CHUNK, HORIZON, Driver, TrackWorld, track_starts
from worldeval.errors import UserError
from worldeval.policy.handover import HandOver
from worldeval.rollout.handover import MOMENTS, hand_over, moments_of
from worldeval.rollout.loop import imagine

GIVEN: dict[str, Any] = {"horizon": HORIZON, "replan_every": CHUNK, "seeds": [5, 6, 7]}
ONE: dict[str, Any] = GIVEN | {"seeds": [0]}


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Driver("a"), Driver("b", stops=(4, 5))),
        (Driver("a", history=3), Driver("b", stops=(1, 6), history=2)),
        (Driver("a", chunk=3, replan=3), Driver("b", stops=range(5), chunk=4, replan=2)),
        (Driver("a", chunk=1), Driver("b", stops=(3,), chunk=6, replan=5)),
    ],
)
@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_branches_equal_episodes_of_a_policy_that_hands_over(
    first: Driver, second: Driver, noise: float
) -> None:
    starts, world = track_starts(3), TrackWorld(noise=noise)
    found = hand_over(world, first, second, starts, **GIVEN)
    assert len(found.rollouts) == 3
    for place, moment in enumerate(found.moments):
        alone = imagine(
            world, HandOver(first, second, at=moment, replan_every=CHUNK), starts, **GIVEN
        )
        for mine, theirs in zip([each[place] for each in found.rollouts], alone, strict=True):
            np.testing.assert_array_equal(mine.actions, theirs.actions)
            np.testing.assert_allclose(mine.pose, theirs.pose, atol=1e-6)
            assert (mine.start, mine.seed) == (theirs.start, theirs.seed)


def test_the_ends_are_the_policies_own_episodes() -> None:
    world, starts = TrackWorld(noise=0.1), track_starts(2)
    one, two = Driver("a"), Driver("b", stops=(4, 5))
    given: dict[str, Any] = GIVEN | {"seeds": [0, 1]}
    found = hand_over(world, one, two, starts, **given)
    for place, policy in ((0, two), (-1, one)):
        alone = imagine(world, policy, starts, **given)
        for each, own in zip(found.rollouts, alone, strict=True):
            np.testing.assert_array_equal(each[place].pose, own.pose)


def test_the_second_policy_has_watched_the_first() -> None:
    """At every moment it has seen as many frames as it would have had alone, and the real ones."""
    one, two = Driver("a"), Driver("b", stops=range(HORIZON), history=3)
    found = hand_over(TrackWorld(), one, two, track_starts(1), **ONE)
    assert len(two.windows) == HORIZON // CHUNK
    last = two.windows[-1][:, :, 0]  # moment x window, at frame 10
    for row, moment in enumerate(found.moments[:-1]):
        x = np.minimum(np.arange(HORIZON + 1), moment) * 0.1
        np.testing.assert_allclose(last[row], x[8:11], atol=1e-6)


def test_what_lies_before_a_moment_is_imagined_once() -> None:
    world = TrackWorld()
    hand_over(world, Driver("a"), Driver("b"), track_starts(1), **ONE)
    copies = sum(HORIZON - moment for moment in range(0, HORIZON, CHUNK))
    assert world.steps == HORIZON + copies


def test_moments_are_those_at_which_the_second_policy_would_be_asked() -> None:
    ask = {"horizon": 30, "replan_every": 4}
    assert moments_of(Driver("a", chunk=8), **ask) == (0, 4, 8, 12, 16, 20, 24, 28, 30)
    assert moments_of(Driver("a", chunk=8, replan=7), **ask) == (0, 7, 14, 21, 28, 30)
    many = moments_of(Driver("a", chunk=1), horizon=300, replan_every=4)
    assert len(many) <= MOMENTS + 1 and set(np.diff(many)) == {10}


def test_a_world_that_cannot_branch_is_refused() -> None:
    kept = ("spec", "begin", "step", "latents", "pose", "render")
    plain: Any = type("Plain", (), {name: vars(TrackWorld)[name] for name in kept})
    with pytest.raises(UserError, match="A Plain cannot branch"):
        hand_over(plain(), Driver("a"), Driver("b"), track_starts(3), **GIVEN)
