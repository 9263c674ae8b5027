"""Damaged heaps of texts in HDF5 files: one error line, where HDF5 alone would loop for ever."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.sound_datasets import make
from worldeval.data.source import open_source
from worldeval.errors import UserError
from worldeval.hdf5_heaps import HEAP, open_hdf5
from worldeval.record import Start
from worldeval.rollout.starts import read_starts, write_starts


def damaged(whole: bytes) -> Iterator[bytes]:
    """The file with every byte of its first heap's headers changed in three ways."""
    heap = whole.index(HEAP)
    for place in range(heap, heap + 80):
        for value in {0, 255, whole[place] ^ 1} - {whole[place]}:
            yield whole[:place] + bytes([value]) + whole[place + 1 :]


def ends(path: Path, read: Callable[[], object]) -> tuple[int, int]:
    """How many damaged files are read and how many refused, counted by a process that may hang."""
    whole, (here, there) = path.read_bytes(), os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends the process, also inside of C
        well = refused = 0
        try:
            for content in damaged(whole):
                path.write_bytes(content)
                try:
                    read()
                    well += 1
                except UserError:
                    refused += 1
            os.write(there, f"{well} {refused}".encode())
        finally:
            os._exit(0)
    os.close(there)
    with os.fdopen(here) as told:
        counts = told.read().split()
    os.waitpid(child, 0)
    assert counts, "the process was ended, or an error was no line"
    return int(counts[0]), int(counts[1])


def test_starts_with_damaged_texts_never_hang(tmp_path: Path) -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    starts = [
        Start(
            id=f"reach-{i}",
            task="reach",
            seed=i,
            frames={"top": picture},
            pose=np.zeros(2, np.float32),
        )
        for i in range(3)
    ]
    write_starts(tmp_path / "starts.h5", starts)
    well, refused = ends(tmp_path / "starts.h5", lambda: read_starts(tmp_path / "starts.h5"))
    assert refused > 50
    assert well + refused > 150


@pytest.mark.parametrize("kind", ["shards", "robomimic"])
def test_datasets_with_damaged_texts_never_hang(kind: str, tmp_path: Path) -> None:
    folder = make(kind, tmp_path / kind)
    well, refused = ends(next(folder.glob("*.h*5")), lambda: open_source(folder).rows(0))
    assert refused > 50
    assert well + refused > 150


def test_sound_heaps_of_every_size_are_read(tmp_path: Path) -> None:
    texts = ["", "a", "b" * 4000, "c" * 70_000, *map(str, range(2000))]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["texts"] = texts
        file.attrs["said"] = "d" * 5000
        del file["texts"]  # leaves free space in the heaps
        file["again"] = texts[::-1]
    with open_hdf5(tmp_path / "a.h5") as file:
        assert file["again"].asstr()[:].tolist() == texts[::-1]  # type: ignore[union-attr]
        assert file.attrs["said"] == "d" * 5000
