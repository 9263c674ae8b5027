"""Phases of episodes in which it is known when something besides the hand moves."""

import numpy as np
import pytest

from worldeval.record import Rollout
from worldeval.rollout.phases import Contact, contact_of, phase_of, third_of

FRAMES = 30


def episode(*, moves: tuple[int, int] | None, hand: float = 0.02, rest: int = FRAMES) -> Rollout:
    """A hand whose cells change with its travel; an object that moves with it in these frames."""
    steps = np.where(np.arange(FRAMES) < rest, hand, 0.0)
    x = np.append(0.0, np.cumsum(steps))
    begin, end = moves or (0, 0)
    carried = np.where((np.arange(FRAMES) >= begin) & (np.arange(FRAMES) < end), steps, 0.0)
    object_at = np.append(0.0, np.cumsum(carried))
    latents = np.zeros((FRAMES + 1, 1, 2, 1, 1), np.float16)
    latents[:, 0, 0, 0, 0], latents[:, 0, 1, 0, 0] = 10 * x, 10 * object_at
    pose = np.stack([x, 0 * x, 0 * x, 0 * x + 0.5], 1).astype(np.float32)
    return Rollout(
        start="s", task="t", policy="p", seed=0, actions=np.zeros((FRAMES, 4), np.float32),
        pose=pose, latents=latents,
    )  # fmt: skip


@pytest.mark.parametrize("moves", [(10, 16), (6, 29), (20, 24)])
@pytest.mark.parametrize("hand", [0.02, 0.2])  # metres or anything else
def test_contact_is_when_something_moves_that_the_hand_does_not_explain(
    moves: tuple[int, int], hand: float
) -> None:
    found = contact_of(episode(moves=moves, hand=hand), (0, 1, 2))
    assert found == Contact(first=moves[0] + 1, last=moves[1])


def test_a_hand_that_moves_alone_or_stops_has_no_contact() -> None:
    assert contact_of(episode(moves=None), (0, 1, 2)) is None
    assert contact_of(episode(moves=None, rest=12), (0, 1, 2)) is None
    assert contact_of(episode(moves=None, rest=0), (0, 1, 2)) is None


def test_without_a_position_nothing_is_known() -> None:
    assert contact_of(episode(moves=(10, 16)), ()) is None
    assert contact_of(episode(moves=(10, 16)), (7,)) is None


def test_chunks_have_the_phase_in_which_they_lie() -> None:
    contact = Contact(first=11, last=16)
    given = [(0, 2), (9, 11), (10, 12), (16, 18), (17, 19)]
    phases = [phase_of(*chunk, contact) for chunk in given]
    assert phases == ["approach", "approach", "contact", "contact", "after"]
    assert phase_of(28, 30, None) == "approach"
    assert [third_of(begin, 30) for begin in (0, 9, 10, 28)] == [
        "first third", "first third", "middle third", "last third",
    ]  # fmt: skip
