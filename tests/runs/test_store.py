"""The run store and files of starts: what goes in comes out, and finished batches are known."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldeval.errors import UserError
from worldeval.record import Rollout, Start, Verdict
from worldeval.report.trace import read_trace
from worldeval.rollout.starts import (
    Recording,
    read_recordings,
    read_starts,
    write_recordings,
    write_starts,
)
from worldeval.runs.store import RolloutStore, pack


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


def test_progress_is_kept_where_it_was_measured(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    by_frame = np.array([[0, 0.25, 0.75]])
    said = replace(verdict(0.2), progress=0.75)
    store.add("with", pack([rollout("a")], [said], progress=by_frame))
    store.save("without", [rollout("b")], [verdict(0.8)])
    assert [found.progress for _, found in store.verdicts()] == [0.75, None]
    trace = read_trace(tmp_path, "with.npz", 0)
    np.testing.assert_array_equal(trace.signals["progress"], by_frame[0])
    assert "progress" not in read_trace(tmp_path, "without.npz", 0).signals


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


def same(one: Rollout, other: Rollout) -> bool:
    named = ("start", "task", "policy", "seed", "trust")
    arrays = ((one.actions, other.actions), (one.pose, other.pose), (one.latents, other.latents))
    return (
        all(getattr(one, name) == getattr(other, name) for name in named)
        and all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in arrays)
        and one.trust_by_step.keys() == other.trust_by_step.keys()
    )


def harm(content: bytes, rng: np.random.Generator) -> bytes:
    """One bit turned, the end cut off, or a stretch of zeros."""
    place = int(rng.integers(len(content)))
    kind = rng.integers(4)
    if kind == 0:
        return content[:place]
    if kind == 1:
        return content[:place] + bytes(min(64, len(content) - place)) + content[place + 64 :]
    bit = bytes([content[place] ^ (1 << int(rng.integers(8)))])
    return content[:place] + bit + content[place + 1 :]


@pytest.mark.parametrize("seed", range(8))
def test_no_damage_is_read_as_an_episode(tmp_path: Path, seed: int) -> None:
    """A file is as it was, or it is set aside; every reader names it in one line until then."""
    store, rng = RolloutStore(tmp_path), np.random.default_rng(seed)
    made = replace(rollout("a"), trust_by_step={"inverse": np.ones(2, np.float32)})
    store.save("one", [made, rollout_like(made, "b")], [verdict(0.2), verdict(0.8)])
    path, whole = tmp_path / "one.npz", (tmp_path / "one.npz").read_bytes()
    noticed = 0
    for _ in range(60):
        path.write_bytes(harm(whole, rng))
        try:
            found = list(store.rollouts())
            store.arrays("one.npz", 0, largest=1 << 20)
        except UserError as error:
            noticed += 1
            assert "one.npz" in str(error) and "\n" not in str(error)
        else:
            assert len(found) == 2 and same(found[0][0], made) and found[1][1] == verdict(0.8)
        if store.mend():
            noticed += 1
            assert list(store.rollouts()) == []
        else:
            again = list(store.rollouts())
            assert same(again[0][0], made)
    assert noticed > 60


def rollout_like(one: Rollout, start: str) -> Rollout:
    return replace(one, start=start)


def test_a_flipped_bit_in_the_list_of_contents_is_no_traceback(tmp_path: Path) -> None:
    store = RolloutStore(tmp_path)
    store.save("one", [rollout("a")], [verdict(0.2)])
    path = tmp_path / "one.npz"
    content = bytearray(path.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] ^= 0x40  # an unknown way of compression
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"one\.npz is damaged"):
        store.done()
    assert store.mend() == [tmp_path / "damaged/one.npz"]


def test_a_compressed_batch_is_not_unpacked(tmp_path: Path) -> None:
    zeros = np.zeros((1, 3, 1, 2000, 500), np.float16)
    np.savez_compressed(tmp_path / "bomb.npz", latents=zeros, actions=zeros, pose=zeros, facts="[]")
    with pytest.raises(UserError, match="compressed"):
        RolloutStore(tmp_path).done()
