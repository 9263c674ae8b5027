"""Rows in several files, read as one array, and damage that is noticed when it is read."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

from worldeval.data import row_files
from worldeval.data.finding import DataError
from worldeval.data.row_files import RowFiles, open_rows, write_rows

WHOLE = np.arange(60, dtype=np.float16).reshape(20, 3)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{number}.safetensors" for number in range(3)]
    for path, rows in zip(paths, (WHOLE[:7], WHOLE[7:8], WHOLE[8:]), strict=True):
        write_rows(path, "values", rows, more=np.arange(2))
    return paths


def opened(files: list[Path]) -> RowFiles:
    return RowFiles([open_rows(path, "values", np.float16) for path in files])


@pytest.mark.parametrize(
    "rows",
    [
        3,
        -1,
        slice(5, 12),
        slice(None, None, 4),
        np.array([6, 7, 8]),
        np.array([19, 0, 7, 7, -20]),
        np.array([[1, 9], [18, 2]]),
        np.empty(0, np.int64),
    ],
)
def test_rows_are_those_of_one_array(files: list[Path], rows: object) -> None:
    joined = opened(files)
    assert np.array_equal(joined[rows], WHOLE[rows])  # pyright: ignore
    assert joined.shape == (20, 3) and np.array_equal(np.asarray(joined), WHOLE)


@pytest.mark.parametrize("rows", [20, -21, np.array([0, 25])])
def test_a_row_that_is_not_there(files: list[Path], rows: object) -> None:
    with pytest.raises(IndexError, match="20 rows"):
        opened(files)[rows]  # pyright: ignore


def test_rows_of_two_shapes_are_no_array(files: list[Path], tmp_path: Path) -> None:
    write_rows(tmp_path / "wide.safetensors", "values", np.zeros((2, 4), np.float16))
    with pytest.raises(ValueError, match="rows of"):
        opened([*files, tmp_path / "wide.safetensors"])


def test_a_bit_that_fell_over_is_noticed(files: list[Path]) -> None:
    file = open_rows(files[2], "values", np.float16)
    content = bytearray(files[2].read_bytes())
    content[file.begin + 4 * file.row_bytes + 1] ^= 1  # in row 12 of all
    files[2].write_bytes(content)
    joined = opened(files)
    assert np.array_equal(joined[8:12], WHOLE[8:12])
    for _ in range(2):  # not only the first time
        with pytest.raises(DataError, match="row 4 does not match its checksum"):
            joined[10:14]


def test_a_file_that_was_cut_off(files: list[Path]) -> None:
    joined = opened(files)
    files[0].write_bytes(files[0].read_bytes()[:-8])
    with pytest.raises(DataError, match="not a complete file"):
        opened(files)
    with pytest.raises(DataError, match="not a complete file"):
        joined[:]


def test_few_files_are_open_at_a_time(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "OPEN", 1)
    before, joined = len(os.listdir("/dev/fd")), opened(files)
    assert np.array_equal(joined[::-1], WHOLE[::-1])
    assert len(os.listdir("/dev/fd")) == before + 1


def test_another_process_opens_files_of_its_own(files: list[Path]) -> None:
    joined = opened(files)
    assert np.array_equal(joined[2:9], WHOLE[2:9])
    sent = pickle.loads(pickle.dumps(joined))
    assert np.array_equal(sent[2:9], WHOLE[2:9])


def test_numbers_beside_the_rows(files: list[Path]) -> None:
    file = open_rows(files[1], "values", np.float16)
    assert file.vector("more", np.int64).tolist() == [0, 1]
    with pytest.raises(DataError, match="none: it is not a complete file"):
        file.vector("none", np.int64)
