"""Files that other libraries wrote: what is cut short, or lacks a part, is refused."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.support.small_disk import on_small_disk
from worldeval.errors import UserError
from worldeval.written import check_parquet, check_safetensors, check_video


def parquet(path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": np.random.default_rng(0).random(5000)}), path)


def video(path: Path) -> None:
    from worldeval.data.video import VideoWriter

    with VideoWriter(path, fps=10, size=(32, 32)) as file:
        file.append(np.random.default_rng(0).integers(0, 256, (12, 32, 32, 3), dtype=np.uint8))


def weights(path: Path) -> None:
    import torch

    from worldeval.checked_weights import save_checked

    save_checked(path, {"a": torch.arange(5000.0), "b": torch.zeros(0)})


CHECKS = {
    "a.parquet": (parquet, lambda path: check_parquet(path, 5000)),
    "a.mp4": (video, lambda path: check_video(path, 12)),
    "a.safetensors": (weights, check_safetensors),
}


@pytest.mark.parametrize("name", CHECKS)
def test_a_whole_file_passes_and_a_shorter_one_does_not(tmp_path: Path, name: str) -> None:
    write, check = CHECKS[name]
    path = tmp_path / name
    write(path)
    check(path)
    whole = path.read_bytes()
    for end in (0, 5, len(whole) // 2, len(whole) - 100):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match="was not written completely") as error:
            check(path)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("write", "check"),
    [
        (parquet, lambda path: check_parquet(path, 5001)),
        (video, lambda path: check_video(path, 13)),
        (
            weights,
            lambda path: (path.write_bytes(path.read_bytes() + b"\0"), check_safetensors(path)),
        ),
    ],
)
def test_another_count_is_refused(
    tmp_path: Path, write: Callable[[Path], None], check: Callable[[Path], object]
) -> None:
    path = tmp_path / ("a.mp4" if write is video else "a.bin")
    write(path)
    with pytest.raises(UserError, match=r"of 5001|of 13|of .* bytes"):
        check(path)


WRITE = """
import sys
from pathlib import Path
from tests import test_written
try:
    test_written.CHECKS[Path(sys.argv[1]).name][0](Path(sys.argv[1]))
except Exception as error:
    print(type(error).__name__, error)
else:
    print("written")
"""


@pytest.mark.parametrize("name", CHECKS)
def test_on_a_full_disk_the_writing_fails(tmp_path: Path, name: str) -> None:
    done = on_small_disk(WRITE, tmp_path / name, limit=6_000)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("OSError [Errno 27]", "UserError")), done.stdout
    assert "Traceback" not in done.stderr
    if name == "a.safetensors":
        assert os.listdir(tmp_path) == []
