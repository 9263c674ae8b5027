# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
"""Files of starts and recordings: what is not finite, damaged or half written is refused."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.small_disk import on_small_disk
from worldeval.errors import UserError
from worldeval.record import Start
from worldeval.rollout.starts import (
    Recording,
    read_recordings,
    read_starts,
    write_recordings,
    write_starts,
)

RNG = np.random.default_rng(0)


def start(number: int, pose: tuple[float, ...] = (0.1, 0.2, 0.3)) -> Start:
    picture = RNG.integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return Start(
        id=f"reach-{number}",
        task="reach",
        seed=number,
        frames={"top": picture, "side": 255 - picture},
        pose=np.array(pose, np.float32),
    )


def recording(number: int) -> Recording:
    return Recording(
        start=start(number),
        actions=np.full((number + 1, 2), number, np.float32),
        pose=np.full((number + 2, 3), number, np.float32),
        success=number == 1,
        near_miss=number == 2,
        source="expert",
    )


def test_starts_and_recordings_come_back_as_they_were(tmp_path: Path) -> None:
    starts, items = [start(i) for i in range(3)], [recording(i) for i in range(3)]
    write_starts(tmp_path / "starts.h5", starts)
    write_recordings(tmp_path / "recordings.h5", items)
    for kept, one in zip(read_starts(tmp_path / "starts.h5"), starts, strict=True):
        assert (kept.id, kept.task, kept.seed) == (one.id, one.task, one.seed)
        assert all((kept.frames[view] == one.frames[view]).all() for view in one.frames)
        assert (kept.pose == one.pose).all()
    back = read_recordings(tmp_path / "recordings.h5")
    assert [len(item.actions) for item in back] == [1, 2, 3]
    assert [item.success for item in back] == [False, True, False]
    assert [item.near_miss for item in back] == [False, False, True]
    assert (back[2].pose == items[2].pose).all()
    with pytest.raises(UserError, match="cannot be replayed"):
        read_recordings(tmp_path / "starts.h5")


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_pose_that_is_not_finite_is_neither_written_nor_read(tmp_path: Path, odd: float) -> None:
    path = tmp_path / "starts.h5"
    with pytest.raises(UserError, match="'reach-1' is not finite"):
        write_starts(path, [start(0), start(1, (0.0, odd, 0.0))])
    assert not path.exists()
    write_starts(path, [start(0), start(1)])
    with h5py.File(path, "r+") as file:
        file["pose"][1, 1] = odd
        for name in list(file["pose"].attrs):
            del file["pose"].attrs[name]
    with pytest.raises(UserError, match=r"pose\[1\]\[1\]: the value is (nan|inf|-inf)"):
        read_starts(path)


def replaced(file: h5py.File, name: str, value) -> None:
    del file[name]
    file[name] = value


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda file: file.__delitem__("pose"), "pose"),
        (lambda file: file.__delitem__("frames"), "frames"),
        (lambda file: replaced(file, "id", [1, 2]), "expected a list of texts"),
        (lambda file: replaced(file, "seed", [0.5, 1.5]), "expected a list of integers"),
        (lambda file: replaced(file, "seed", [1]), "1 entries for 2 starts"),
        (lambda file: replaced(file, "pose", np.zeros((3, 3))), "3 rows for 2 starts"),
        (lambda file: replaced(file, "frames/top", np.zeros((2, 8, 8))), "not frames"),
        (lambda file: replaced(file, "frames/top", "text"), "frames/top"),
        (lambda file: file["pose"].write_direct(np.ones((2, 3), np.float32)), "checksum"),
        (
            lambda file: replaced(file, "frames/top", h5py.ExternalLink("b.h5", "/x")),
            "not followed",
        ),
    ],
)
def test_a_damaged_file_is_one_line(tmp_path: Path, damage, says: str) -> None:
    path = tmp_path / "starts.h5"
    write_starts(path, [start(0), start(1)])
    with h5py.File(path, "r+") as file:
        damage(file)
    with pytest.raises(UserError, match=says) as error:
        read_starts(path)
    assert "\n" not in str(error.value)


def test_lengths_that_do_not_add_up_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "recordings.h5"
    write_recordings(path, [recording(0), recording(1)])
    for lengths in ([1, 3], [-1, 4], [1, 2, 3]):
        with h5py.File(path, "r+") as file:
            replaced(file, "length", np.array(lengths, np.int32))
        with pytest.raises(UserError, match="length"):
            read_recordings(path)


def test_a_flipped_bit_anywhere_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "starts.h5"
    starts = [start(0), start(1)]
    write_starts(path, starts)
    whole, noticed = path.read_bytes(), 0
    for place in RNG.integers(0, len(whole), 60):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            found = read_starts(path)
        except UserError:
            noticed += 1
            continue
        for kept, one in zip(found, starts, strict=True):
            assert (kept.id, kept.task, kept.seed) == (one.id, one.task, one.seed)
            assert all((kept.frames[view] == one.frames[view]).all() for view in one.frames)
            assert (kept.pose == one.pose).all()
    assert noticed > 5


WRITE = """
import sys
from pathlib import Path
from tests.rollout.test_starts import recording, start
from worldeval.rollout.starts import write_recordings, write_starts
try:
    if sys.argv[2] == "starts":
        write_starts(Path(sys.argv[1]), [start(i) for i in range(40)])
    else:
        write_recordings(Path(sys.argv[1]), [recording(i) for i in range(40)])
except OSError as error:
    print(error.strerror)
"""


@pytest.mark.parametrize(
    ("what", "limit"), [("starts", 4_000), ("starts", 16_000), ("recordings", 20_000)]
)
def test_on_a_full_disk_there_is_no_file(tmp_path: Path, what: str, limit: int) -> None:
    done = on_small_disk(WRITE, tmp_path / "a.h5", what, limit=limit)
    assert (done.returncode, done.stdout) == (0, "File too large\n"), done.stderr
    assert os.listdir(tmp_path) == []
