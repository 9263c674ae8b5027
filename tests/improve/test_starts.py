from dataclasses import replace

import numpy as np
import pytest

from tests.improve.conftest import start
from worldeval.data.table import RecordedEpisodes
from worldeval.errors import UserError
from worldeval.improve.starts import divide, recorded_starts


def test_a_recorded_start_is_a_frame_of_its_episode(shards: RecordedEpisodes) -> None:
    found = recorded_starts(shards, ["left"], np.random.default_rng(0), begin_at=(1, 3))
    assert len(found) == 24
    for one in found:
        name, frame = one.id.split("@")
        (index,) = np.flatnonzero(shards.episodes["id"] == name)
        row = shards.rows(int(index)).start + int(frame)
        assert 0 <= int(frame) <= 3
        np.testing.assert_array_equal(one.pose, shards.pose[row])
        np.testing.assert_array_equal(one.frames["side"], shards.frames("side", np.array([row]))[0])
        assert not shards.flags[row]
    assert len({one.id.split("@")[1] for one in found}) > 1


def test_the_three_sets_share_no_recording() -> None:
    every = [start(task, number) for task in ("left", "right") for number in range(20)]
    sets = divide(every, check=4, held_out=6, tasks=("left", "right"))
    names = [{one.id for one in part} for part in (sets.training, sets.check, sets.held_out)]
    assert [len(part) for part in names] == [20, 8, 12]
    assert not names[0] & names[1] and not names[0] & names[2] and not names[1] & names[2]
    again = divide(every[::-1], check=4, held_out=6, tasks=("left", "right"))
    assert {one.id for one in again.held_out} == names[2]


def test_other_frames_of_a_recording_stay_in_its_set() -> None:
    first = [start("left", number) for number in range(10)]
    later = [replace(one, id=f"{one.id}@5") for one in first]
    one, two = (divide(part, check=2, held_out=3, tasks=("left",)) for part in (first, later))
    assert {s.id for s in one.held_out} == {s.id.split("@")[0] for s in two.held_out}


def test_draws_go_round_before_they_repeat() -> None:
    every = [start("left", number) for number in range(9)]
    sets = divide(every, check=2, held_out=3, tasks=("left",))
    drawn = sets.draw(6, np.random.default_rng(0))
    counts = [sum(one.id == other.id for other in drawn) for one in sets.training]
    assert sorted(counts) == [1, 1, 2, 2]


def test_too_few_starts_are_refused() -> None:
    with pytest.raises(UserError, match=r"There are 3 starts of 'left'.*none is left"):
        divide([start("left", n) for n in range(3)], check=1, held_out=2, tasks=("left",))
