"""Pictures that move with the actions of their row, or of another one."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.data.check.alignment import LAGS, alignment, alignment_findings
from worldeval.data.check.check import check
from worldeval.data.columns import ColumnGroup, ColumnMeanings
from worldeval.data.source import Rows, open_source

STEPS = ColumnMeanings(
    action=(
        ColumnGroup(names=("x", "y", "z"), means="position", motion="delta"),
        ColumnGroup(names=("grip",), means="gripper"),
    )
)


def recorded(shift: int, *, noise: float = 0.3, episodes: int = 8, length: int = 60, seed: int = 0):
    """Pictures that move `shift` frames after their action, and how the robot went."""
    rng = np.random.default_rng(seed)
    motions, parts = [], []
    for _ in range(episodes):
        rough = rng.normal(size=(length + 20, 3))
        smooth = (rough[:-1] + rough[1:]) * np.exp(rng.normal(size=length + 19))[:, None]
        moved = np.linalg.norm(smooth, axis=1)
        moved = moved * np.exp(noise * rng.normal(size=len(moved)))
        rows = slice(10, 10 + length)
        actions = np.concatenate([smooth[rows], rng.normal(size=(length, 1))], axis=1)
        place = np.cumsum(smooth[rows], axis=0) - smooth[rows]
        pose = np.concatenate([place, np.zeros((length, 1))], axis=1)
        motions.append(moved[10 - shift : 10 - shift + length - 1])
        parts.append(Rows(actions=actions.astype(np.float32), pose=pose.astype(np.float32)))
    return motions, parts


@pytest.mark.parametrize("shift", [-3, -1, 0, 1, 2])
def test_the_lag_is_found_with_confidence(shift: int) -> None:
    found = alignment(*recorded(shift), STEPS)
    assert found is not None and found.sure
    assert (found.lag, LAGS[int(np.argmax(found.correlations))]) == (shift, shift)


@pytest.mark.parametrize("shift", [-1, 0, 2])
def test_absolute_actions_and_those_of_unknown_meaning(shift: int) -> None:
    motions, parts = recorded(shift)
    absolute = [Rows(actions=one.actions + one.pose, pose=one.pose) for one in parts]
    for given in (parts, absolute):
        found = alignment(motions, given)  # nobody says whether places or steps
        assert found is not None and (found.lag, found.sure) == (shift, True)


@pytest.mark.parametrize("motion", ["absolute", "delta"])
def test_stacked_steps_count_as_one_action(motion) -> None:
    motions, parts = recorded(1)
    columns = (ColumnGroup(names=("x", "y", "z", "w"), means="other", motion=motion),)
    meaning = ColumnMeanings(action=columns, pose=columns)
    stacked = []
    for one in parts:
        if motion == "absolute":  # the last of two targets is where the robot goes
            steps = [one.actions / 2 + one.pose, one.actions + one.pose]
        else:
            steps = [one.actions / 4, one.actions * 3 / 4]
        stacked.append(Rows(actions=np.concatenate(steps, axis=1), pose=one.pose))
    found = alignment(motions, stacked, meaning)
    assert found is not None and (found.lag, found.sure) == (1, True)


@pytest.mark.parametrize(
    ("shift", "severity", "says"),
    [
        (0, "note", "is correct"),
        (-1, "warning", "move 1 frame before the action of their row"),
        (2, "warning", "move 2 frames after the action of their row"),
    ],
)
def test_the_finding_says_the_lag_and_refuses_nothing(shift, severity, says) -> None:
    (finding,) = alignment_findings(*recorded(shift), STEPS)
    assert finding.severity == severity and says in finding.text
    assert "confidence" in finding.text and "correlation by lag: -3:" in finding.text


def test_weak_evidence_is_a_note(seed: int = 5) -> None:
    motions, parts = recorded(2, noise=30.0)  # the pictures move as they like
    (finding,) = alignment_findings(motions, parts, STEPS)
    assert (finding.severity, "cannot be determined" in finding.text) == ("note", True)


@pytest.mark.parametrize(
    "made",
    [
        recorded(0, episodes=1, length=30),  # too little
        ([np.zeros(59)] * 8, recorded(0)[1]),  # nothing moves in the pictures
        (recorded(0)[0], [Rows(actions=np.ones((60, 4), np.float32),
                               pose=np.zeros((60, 4), np.float32))] * 8),
    ],
)  # fmt: skip
def test_where_nothing_can_be_said_nothing_is(made) -> None:
    motions, parts = made
    assert alignment(motions, parts, STEPS) is None


def test_real_droid_episodes_are_aligned(droid: Path) -> None:
    (finding,) = [one for one in check(open_source(droid)) if one.code == "action-alignment"]
    assert finding.severity == "note" and "is correct" in finding.text
