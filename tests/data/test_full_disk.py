# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportCallIssue=false, reportOptionalMemberAccess=false, reportOptionalSubscript=false
"""Datasets on a full disk are absent until they are whole; bits that flip in them are noticed."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.small_disk import on_small_disk
from tests.support.sound_datasets import COUNT, frames_of, make
from worldeval.data.formats.shards.layout import TEXT
from worldeval.data.source import open_source
from worldeval.errors import UserError

MAKE = """
import sys
from pathlib import Path
from tests.support.sound_datasets import make
from worldeval.errors import UserError
try:
    make(sys.argv[2], Path(sys.argv[1]))
except (OSError, UserError) as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("kind", "limit"), [("shards", 9_000), ("robomimic", 9_000), ("lerobot-v3", 1_500)]
)
def test_no_dataset_on_a_full_disk_and_a_whole_one_with_room(
    tmp_path: Path, kind: str, limit: int
) -> None:
    out = tmp_path / "set"
    done = on_small_disk(MAKE, out, kind, limit=limit)
    assert done.returncode == 0, done.stderr
    assert "File too large" in done.stdout, done.stdout
    assert [path for path in out.glob("*") if not path.name.startswith(".")] == []
    whole = on_small_disk(MAKE, out, kind, limit=10_000_000)
    assert (whole.returncode, whole.stdout) == (0, ""), whole.stderr
    source = open_source(out)
    assert len(source) == COUNT
    for index in range(COUNT):
        difference = source.frames(index, "top").astype(int) - frames_of(index)
        assert np.abs(difference).max() < (30 if kind == "lerobot-v3" else 1)


@pytest.mark.parametrize("kind", ["shards", "robomimic"])
def test_a_flipped_bit_in_any_frame_is_noticed(tmp_path: Path, kind: str) -> None:
    """Every byte of every frame as it was, or one line."""
    out = make(kind, tmp_path / "set")
    file = next(out.glob("*.h*5"))
    whole, rng, refused = file.read_bytes(), np.random.default_rng(0), 0
    for place in rng.integers(2_000, len(whole), 50):
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        try:
            source = open_source(out)
            found = [source.frames(index, "top") for index in range(len(source))]
        except UserError as error:
            refused += 1
            assert "\n" not in str(error)
            continue
        # An episode that cannot be read is left out, and said so.
        wanted = [frames_of(index) for index in range(COUNT)]
        assert all(any(np.array_equal(one, other) for other in wanted) for one in found)
    assert refused > 3


@pytest.mark.parametrize(
    ("kind", "where", "name", "value"),
    [
        ("robomimic", "data/demo_0", "num_samples", [5, 5]),
        ("robomimic", "data/demo_0", "num_samples", "five"),
        ("robomimic", "data/demo_0", "id", ["a", "b"]),
        ("robomimic", "data", "env_args", "[" * 50_000),
        ("shards", "/", "fps", [5.0, 6.0]),
        ("shards", "/", "fps", "fast"),
        ("aloha", "/", "fps", [5.0, 6.0]),
        ("aloha", "/", "success", [1, 0, 1]),
    ],
)
def test_attributes_of_an_odd_shape_are_one_line(
    tmp_path: Path, kind: str, where: str, name: str, value: object
) -> None:
    out = make(kind, tmp_path / "set")
    with h5py.File(sorted(out.glob("*.h*5"))[0], "r+") as file:
        file[where].attrs.create(name, value, dtype=TEXT if isinstance(value, str) else None)
    try:
        source = open_source(out)
    except UserError as error:
        assert name in str(error)
        assert "\n" not in str(error)
    else:  # the episode is left out, and said so
        assert any(name in finding.text for finding in source.findings)
