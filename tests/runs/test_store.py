"""The run store and files of starts: what goes in comes out, and finished batches are known."""

from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.record import Rollout, Start, Verdict
from worldeval.rollout.starts import (
    Recording,
    read_recordings,
    read_starts,
    write_recordings,
    write_starts,
)
from worldeval.runs.store import RolloutStore


def rollout(start: str) -> Rollout:
    return Rollout(
        start=start,
        task="go",
        policy="bc/step-5",
        seed=3,
        actions=np.ones((2, 4), np.float32),
        pose=np.zeros((3, 4), np.float32),
        latents=np.full((3, 1, 2, 2, 2), 0.5, np.float16),
        trust={"mended_actions": 0.25},
    )


def verdict(probability: float) -> Verdict:
    return Verdict(probability=probability, step=2, judge="j", votes=(0.1, 0.9))


def test_a_batch_comes_back_whole(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    assert not store.has("bc/step-5-0")
    store.save("bc/step-5-0", [rollout("a"), rollout("b")], [verdict(0.2), verdict(0.8)])
    assert store.has("bc/step-5-0")
    found, said = store.find(policy="bc/step-5", start="b")
    assert said == verdict(0.8)
    assert found.trust == {"mended_actions": 0.25}
    np.testing.assert_array_equal(np.asarray(found.latents), np.asarray(rollout("b").latents))
    assert [fact.start for fact, _ in store.verdicts()] == ["a", "b"]


def test_an_unfinished_file_is_no_batch(tmp_path: Path) -> None:
    (tmp_path / ".x.1.part.npz").write_bytes(b"half")
    assert list(RolloutStore(tmp_path).rollouts()) == []
    with pytest.raises(UserError, match="no roll-out of bc from a"):
        RolloutStore(tmp_path).find(policy="bc", start="a")


def a_start(name: str) -> Start:
    frames = {"side": np.full((4, 4, 3), 7, np.uint8), "top": np.zeros((4, 4, 3), np.uint8)}
    return Start(id=name, task="go", seed=11, frames=frames, pose=np.arange(4, dtype=np.float32))


def test_starts_come_back(tmp_path: Path) -> None:
    write_starts(tmp_path / "s.h5", [a_start("a"), a_start("b")])
    again = read_starts(tmp_path / "s.h5")
    assert [start.id for start in again] == ["a", "b"]
    assert again[0].seed == 11
    np.testing.assert_array_equal(again[1].frames["side"], a_start("b").frames["side"])
    with pytest.raises(UserError, match="without recorded actions"):
        read_recordings(tmp_path / "s.h5")


def test_recordings_of_different_lengths_come_back(tmp_path: Path) -> None:
    items = [
        Recording(
            start=a_start(f"r{length}"),
            actions=np.full((length, 2), length, np.float32),
            pose=np.full((length + 1, 4), length, np.float32),
            success=length > 3,
            near_miss=length == 3,
            source="expert-near-miss",
        )
        for length in (3, 5)
    ]
    write_recordings(tmp_path / "r.h5", items)
    again = read_recordings(tmp_path / "r.h5")
    assert [len(item.actions) for item in again] == [3, 5]
    assert [len(item.pose) for item in again] == [4, 6]
    assert [(item.success, item.near_miss) for item in again] == [(False, True), (True, False)]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no file of starts"):
        read_starts(tmp_path / "missing.h5")


def test_a_file_cut_short_is_set_aside_and_the_rest_counts(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    store.save("one", [rollout("a")], [verdict(0.2)])
    store.save("two", [rollout("b")], [verdict(0.8)])
    path = tmp_path / "one.npz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match=r"one\.npz is damaged"):
        list(store.verdicts())
    assert store.mend() == [tmp_path / "damaged/one.npz"]
    assert [fact.start for fact, _ in store.verdicts()] == ["b"]
    assert store.mend() == []


def test_an_episode_in_two_files_counts_once(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    store.save("one", [rollout("a"), rollout("b")], [verdict(0.2), verdict(0.8)])
    store.save("two", [rollout("b"), rollout("c")], [verdict(0.8), verdict(0.4)])
    assert [found.start for found, _ in store.rollouts()] == ["a", "b", "c"]
    assert store.done() == {
        ("bc/step-5", name, 3): p for name, p in zip("abc", (0.2, 0.8, 0.4), strict=True)
    }


def test_a_policy_can_be_left_out(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    store.save("one", [rollout("a"), rollout("b")], [verdict(0.2), verdict(0.8)])
    assert (store.leave_out("other", "replaced"), len(store.done())) == (0, 2)
    assert (store.leave_out("bc/step-5", "replaced"), store.done()) == (2, {})
    assert (tmp_path / "replaced/one.npz").is_file()
