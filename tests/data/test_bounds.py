# h5py and zarr type every item as a group, a dataset or an array.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
"""Files that claim more than they can hold, or that are no files, are refused unread."""

import json
import os
import resource
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.sound_datasets import COUNT, LENGTH, make
from worldeval.data.finding import DataError
from worldeval.data.source import Source, open_source

MEMORY = 1 << 30  # bytes that a refusal may take beyond what is taken now


@contextmanager
def little_memory() -> Iterator[None]:
    """Where reading what is claimed would take all memory, it fails instead."""
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def assert_skipped(source: Source, words: str) -> None:
    """One episode is left out in words, the others are read."""
    skips = [f.text for f in source.findings if f.code == "episode-skipped"]
    assert len(source) == COUNT - 1
    assert len(skips) == 1
    assert words in skips[0]
    for index in range(len(source)):
        source.episode(index)


def in_json(path: Path, **change: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


@pytest.mark.parametrize(
    "change",
    [
        {"data/action": {"shape": [10**9, 2]}, "data/state": {"shape": [10**9, 3]},
         "data/img": {"shape": [10**9, 16, 32, 3]}},
        {"data/img": {"chunks": [10**8, 16, 32, 3]}},
        {"meta/episode_ends": {"shape": [10**9]}},
    ],
)  # fmt: skip
def test_a_zarr_that_claims_a_billion_rows(change: dict, tmp_path: Path) -> None:
    root = make("zarr", tmp_path / "set")
    for name, fields in change.items():
        in_json(root / name / ".zarray", **fields)
    with little_memory(), pytest.raises(DataError, match=r"it states [\d,]+ MiB, but 0.0 MiB are"):
        open_source(root)


def test_a_zipped_zarr_that_expands(tmp_path: Path) -> None:
    root, bomb = make("zarr", tmp_path / "set"), tmp_path / "bomb.zarr.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_BZIP2) as kept:
        for file in root.rglob("*"):
            if file.is_file():
                kept.write(file, file.relative_to(root))
        kept.writestr("data/img/9.0.0.0", bytes(100 << 20))
    with little_memory(), pytest.raises(DataError, match=r"bomb\.zarr\.zip: store: it states 100"):
        open_source(bomb)


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("name", ["actions", "pose"])
def test_an_npz_that_expands(method: int, name: str, tmp_path: Path) -> None:
    root = make("mp4-npz", tmp_path / "set")
    with np.load(root / "1.npz") as kept:
        arrays = dict(kept)
    with zipfile.ZipFile(root / "1.npz", "w", method) as kept:
        for key, values in arrays.items():
            large = np.zeros((8 << 20, values.shape[-1]), np.float32) if key == name else values
            with kept.open(f"{key}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, np.asarray(large))
    with little_memory():
        assert_skipped(open_source(root), "MiB are stored")


def test_an_npz_whose_array_claims_more_than_is_there(tmp_path: Path) -> None:
    root = make("mp4-npz", tmp_path / "set")
    with np.load(root / "1.npz") as kept:
        arrays = dict(kept)
    head = {"descr": "<f4", "fortran_order": False, "shape": (10**12, 2)}
    with zipfile.ZipFile(root / "1.npz", "w") as kept:
        for key, values in arrays.items():
            with kept.open(f"{key}.npy", "w") as entry:
                if key == "actions":
                    np.lib.format.write_array_header_1_0(entry, head)
                else:
                    np.lib.format.write_array(entry, np.asarray(values))
    with little_memory():
        assert_skipped(open_source(root), "npz: it cannot be read")


@pytest.mark.parametrize(("kind", "suffix"), [("mp4-npz", ".npz"), ("mp4-npz", ".mp4"),
                                              ("aloha", ".hdf5"), ("ctrl-world", ".json"),
                                              ("ctrl-world", ".mp4")])  # fmt: skip
def test_a_pipe_is_no_file(kind: str, suffix: str, tmp_path: Path) -> None:
    root = make(kind, tmp_path / "set")
    file = sorted(root.rglob(f"*1{suffix}"))[0]
    file.unlink()
    os.mkfifo(file)
    assert_skipped(open_source(root), "not a regular file")


def test_a_pipe_beside_a_dataset_does_not_hang_detection(tmp_path: Path) -> None:
    for name in ("x.npz", "x.hdf5", "x.mp4"):
        os.mkfifo(tmp_path / name)
    with pytest.raises(Exception, match=r"not in a supported format|no episode can be read"):
        open_source(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        "data/{episode_index:0999999999d}.parquet",
        "data/{episode_index:{episode_index}d}.parquet",
        "data/{episode_index:>100000000}.parquet",
        "data/{episode_index.__class__}.parquet",
        "data/{video_key[0]}.parquet",
    ],
)
@pytest.mark.parametrize("key", ["data_path", "video_path"])
def test_absurd_templates_are_refused(key: str, path: str, tmp_path: Path) -> None:
    root = make("lerobot-v2", tmp_path / "set")
    in_json(root / "meta/info.json", **{key: path})
    with (
        little_memory(),
        pytest.raises(DataError, match=r"info\.json: path: .*"),
    ):
        open_source(root)


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [
        ("robomimic", "set.hdf5", "data/demo_1/actions"),
        ("robomimic", "set.hdf5", "data/demo_1/obs/pose"),
        ("aloha", "episode_1.hdf5", "action"),
        ("aloha", "episode_1.hdf5", "observations/qpos"),
    ],
)
@pytest.mark.parametrize("compression", [None, "gzip"])
def test_an_hdf5_table_that_claims_more_than_is_stored(
    kind: str, name: str, field: str, compression: str | None, tmp_path: Path
) -> None:
    root = make(kind, tmp_path / "set")
    with h5py.File(root / name, "a") as file:
        values = file[field][()]
        del file[field]
        shape = (9_000_000, values.shape[1])
        large = file.create_dataset(
            field, shape, "f4", chunks=(LENGTH, values.shape[1]), compression=compression
        )
        large[:LENGTH] = values  # the rest is stored nowhere and reads as zeros
    with little_memory():
        assert_skipped(open_source(root), "MiB are stored")


@pytest.mark.parametrize("rows", [10**5, 10**6, 4 * 10**6])
def test_hdf5_chunks_that_claim_more_than_the_file(rows: int, tmp_path: Path) -> None:
    root = make("aloha", tmp_path / "set")
    with h5py.File(root / "episode_1.hdf5", "a") as file:
        values = file["observations/images/top"][()]
        del file["observations/images/top"]
        large = (max(1, rows // 512), 16, 32, 3)
        cut = file.create_dataset(
            "observations/images/top", (LENGTH, 16, 32, 3), "u1", chunks=large,
            maxshape=(None, 16, 32, 3), compression="gzip",
        )  # fmt: skip
        cut[:] = values
    source = open_source(root)
    with little_memory():
        frames = source.frames(1, "top") if rows < 10**6 else None
        if frames is None and rows * 3 > 64 << 20:
            with pytest.raises(DataError, match="MiB are stored"):
                source.frames(1, "top")
    assert len(source) == COUNT
