# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
"""HDF5 files are whole, with checksums, or absent: on a full disk, and when a bit flips."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.small_disk import on_small_disk
from worldeval.errors import UserError
from worldeval.sealed_hdf5 import CRC, Seal, seal, sealed_hdf5, verify_hdf5, whole_hdf5

WRITE = """
import sys
from pathlib import Path
import numpy as np
from worldeval.sealed_hdf5 import whole_hdf5
try:
    with whole_hdf5(Path(sys.argv[1])) as file:
        noise = np.random.default_rng(0).integers(0, 256, (40, 50, 50, 3), dtype=np.uint8)
        file.create_dataset("packed", data=noise, chunks=(40, 50, 50, 3), compression="gzip")
        file["plain"] = noise
        file["names"] = ["a", "b"]
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize("limit", [1_000, 60_000, 310_000, 590_000])
def test_a_full_disk_is_an_error_of_the_disk_and_leaves_nothing(tmp_path: Path, limit: int) -> None:
    done = on_small_disk(WRITE, tmp_path / "a.h5", limit=limit)
    assert (done.returncode, done.stdout) == (0, "File too large\n"), done.stderr
    assert done.stderr == ""
    assert os.listdir(tmp_path) == []


def test_with_room_for_it_the_same_file_is_whole(tmp_path: Path) -> None:
    done = on_small_disk(WRITE, tmp_path / "a.h5", limit=2_000_000)
    assert (done.returncode, done.stdout) == (0, "")
    verify_hdf5(tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        assert (file["packed"][:] == file["plain"][:]).all()
        assert list(file["names"].asstr()) == ["a", "b"]
        assert file["plain"].id.get_offset() is not None  # can be mapped into memory


def written(path: Path) -> Path:
    with whole_hdf5(path) as file:
        file["rows"] = np.arange(3 * 2**18, dtype=np.float64).reshape(-1, 4)  # in six blocks
        file["names"] = ["a", "b"]
        file["number"] = 7
    return path


@pytest.mark.parametrize(
    ("name", "change"),
    [("rows", lambda rows: rows * (np.arange(len(rows))[:, None] != 9)), ("number", lambda _: 8)],
)
def test_another_value_is_noticed(tmp_path: Path, name: str, change) -> None:
    path = written(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file[name][...] = change(file[name][()])
    with pytest.raises(UserError, match="was not written correctly"):
        verify_hdf5(path)
    with h5py.File(path) as file, pytest.raises(ValueError, match="do not match their checksum"):
        Seal(file[name]).compare(file[name][()])


def test_another_name_is_noticed(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["names"][1] = "c"
    with pytest.raises(UserError, match="names"):
        verify_hdf5(path)


def test_only_the_blocks_that_are_read_are_compared(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["rows"][9] = 0
        rows, sealed = file["rows"][()], Seal(file["rows"])
    sealed.compare(rows, np.array([len(rows) - 1, 40_000]))
    with pytest.raises(ValueError, match="checksum"):
        sealed.compare(rows, np.array([100]))


@pytest.mark.parametrize("odd", ["text", np.zeros(3, np.uint32), np.float32(1)])
def test_checksums_of_an_odd_shape_are_refused(tmp_path: Path, odd) -> None:
    path = written(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        file["rows"].attrs[CRC] = odd
        with pytest.raises(ValueError, match="checksums"):
            Seal(file["rows"])


def test_a_file_without_checksums_is_read_as_it_is(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file["rows"] = np.arange(3)
        Seal(file["rows"]).compare(np.arange(3))


def test_what_is_added_later_has_its_checksum(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5")
    with sealed_hdf5(path, "r+") as file:
        file["card"] = "text"
    with h5py.File(path) as file:
        assert CRC in file["card"].attrs


def test_a_dataset_of_no_rows_has_one(tmp_path: Path) -> None:
    with whole_hdf5(tmp_path / "a.h5") as file:
        file["none"] = np.zeros((0, 3))
    verify_hdf5(tmp_path / "a.h5")


def test_an_error_of_the_writer_itself_is_its_own(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="mine"), whole_hdf5(tmp_path / "a.h5") as file:
        file["a"] = 1
        raise RuntimeError("mine")
    assert os.listdir(tmp_path) == []


def test_sealing_twice_changes_nothing(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5")
    with h5py.File(path, "r+") as file:
        before = file["rows"].attrs[CRC].tolist()
        seal(file)
        assert file["rows"].attrs[CRC].tolist() == before
