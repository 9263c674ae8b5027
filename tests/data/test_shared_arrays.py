"""What a reader returns is the caller's own: changes do not come back, buffers may be reused."""

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from tests.support.sound_datasets import FORMATS, LENGTH, make
from worldeval.data.source import Source, open_source
from worldeval.data.table import RecordedEpisodes

REUSING = """
import numpy as np
from worldeval.data.source import Head, Rows, Source, SourceSpec

class Reader(Source):
    '''Fills the same arrays for every episode.'''

    def __init__(self, path):
        self.spec = SourceSpec(
            format="reusing", path=path, fps=5.0, views={"top": (4, 4)},
            action_names=("a",), pose_names=("x",),
        )
        self.heads = [Head(id=str(i), length=3, task="push", success=True) for i in range(2)]
        self.findings = []
        self.numbers = np.zeros((3, 1), np.float32)
        self.pictures = np.zeros((3, 4, 4, 3), np.uint8)

    def rows(self, index):
        self.numbers[:] = index
        return Rows(actions=self.numbers, pose=self.numbers)

    def frames(self, index, view, rows=None):
        self.pictures[:] = index
        return self.pictures if rows is None else self.pictures[: len(rows)]
"""


def values(source: Source) -> list[np.ndarray]:
    """Every array of the first episode."""
    rows = source.rows(0)
    found = [getattr(rows, field.name) for field in fields(rows)]
    found += [source.frames(0, view) for view in source.spec.views]
    found += [source.frames(0, view, np.arange(LENGTH)) for view in source.spec.views]
    return [array for array in found if array is not None]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_caller_may_change_what_it_was_given(kind: str, tmp_path: Path) -> None:
    source = open_source(make(kind, tmp_path / kind))
    before = [array.copy() for array in values(source)]
    for array in values(source):
        array[:] = 7
    for array, kept in zip(values(source), before, strict=True):
        np.testing.assert_array_equal(array, kept)


def test_a_reader_of_ones_own_may_reuse_its_arrays(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(REUSING)
    source = open_source(tmp_path, f"{tmp_path}/mine.py:Reader")
    assert [episode.actions[0, 0] for episode in list(source)] == [0, 1]
    assert [episode.frames["top"].max() for episode in list(source)] == [0, 1]
    table = RecordedEpisodes([source])
    assert table.actions[:, 0].tolist() == table.pose[:, 0].tolist() == [0, 0, 0, 1, 1, 1]
    assert table.frames("top", np.arange(6)).max((1, 2, 3)).tolist() == [0, 0, 0, 1, 1, 1]
