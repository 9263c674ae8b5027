"""Recordings read from their ends."""

from pathlib import Path

import numpy as np

from tests.support.toy import toy_shards
from worldeval.api.data import convert_dataset
from worldeval.data.backwards import Backwards
from worldeval.data.source import open_source


def test_episodes_run_from_their_ends_to_their_beginnings(tmp_path: Path) -> None:
    source = open_source(toy_shards(tmp_path / "data", episodes=2))
    back = Backwards(source)
    before, after = source.rows(0), back.rows(0)
    assert np.array_equal(after.pose, before.pose[::-1])
    # On the way from the last frame to the one before, what led to the last frame is undone.
    last = len(before.pose) - 1
    assert np.array_equal(after.actions[0], before.actions[last - 1])
    assert np.array_equal(after.actions[last - 1], before.actions[0])
    assert after.flags is None and back.heads[0].success is None
    shown = source.frames(0, "side")
    assert np.array_equal(back.frames(0, "side"), shown[::-1])
    assert np.array_equal(back.frames(0, "side", np.array([0, 2])), shown[[last, last - 2]])
    twice = Backwards(back)
    assert np.array_equal(twice.frames(1, "top"), source.frames(1, "top"))
    assert np.array_equal(twice.rows(1).pose, source.rows(1).pose)


def test_a_dataset_is_converted_backwards(tmp_path: Path) -> None:
    data = toy_shards(tmp_path / "data", episodes=2)
    convert_dataset(data, tmp_path / "back", to="shards", backwards=True)
    forth, back = open_source(data), open_source(tmp_path / "back")
    names = {head.id: index for index, head in enumerate(back.heads)}
    for index, head in enumerate(forth.heads):
        assert np.allclose(back.rows(names[head.id]).pose, forth.rows(index).pose[::-1])
