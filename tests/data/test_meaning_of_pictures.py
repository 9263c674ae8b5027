# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false
"""Colours, brightness and depth are read as they are stored, told of where guessed, or refused."""

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from tests.support.marked_frames import clip, read_marks, swapped
from worldeval.data.data_map import DataMap
from worldeval.data.finding import DataError
from worldeval.data.source import open_source

LENGTH = 4
DISTANCES = np.linspace(400, 1900, 24 * 32).reshape(24, 32).astype(np.uint16)  # millimetres


def packed(frame: np.ndarray, *, bgr: bool = False) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(frame[..., ::-1] if bgr else frame)).save(
        stream, "jpeg", quality=95
    )
    return stream.getvalue()


def aloha(path: Path, store) -> Path:
    """One ALOHA episode whose camera `store` writes; pictures are of episode 3, camera 1."""
    with h5py.File(path / "episode_0.hdf5", "w") as file:
        file["action"] = file["observations/qpos"] = np.zeros((LENGTH, 14), np.float32)
        store(file.create_group("observations/images"), clip(3, LENGTH, 1))
    return path


def padded(images: h5py.Group, frames: np.ndarray, *, bgr: bool) -> None:
    content = [packed(frame, bgr=bgr) for frame in frames]
    longest = max(map(len, content)) + 5
    images["top"] = np.stack(
        [np.frombuffer(one.ljust(longest, b"\0"), np.uint8) for one in content]
    )


def variable(images: h5py.Group, frames: np.ndarray) -> None:
    cells = images.create_dataset("top", (LENGTH,), h5py.vlen_dtype(np.uint8))
    for place, frame in enumerate(frames):
        cells[place] = np.frombuffer(packed(frame), np.uint8)


def byte_strings(images: h5py.Group, frames: np.ndarray) -> None:
    images["top"] = np.array([packed(frame) for frame in frames])


def opaque(images: h5py.Group, frames: np.ndarray) -> None:
    content = [packed(frame) for frame in frames]
    images["top"] = np.array([np.void(one.ljust(max(map(len, content)), b"\0")) for one in content])


@pytest.mark.parametrize(
    "store",
    [
        lambda images, frames: padded(images, frames, bgr=True),
        variable,
        byte_strings,
        opaque,
    ],
    ids=["as ALOHA packs", "variable length", "byte strings", "opaque"],
)
def test_packed_pictures_show_their_colours_and_the_order_is_said_to_be_a_guess(
    tmp_path: Path, store
) -> None:
    source = open_source(aloha(tmp_path, store))
    frames = source.frames(0, "top")
    assert [mark.frame for mark in read_marks(frames)] == list(range(LENGTH))
    assert not any(swapped(frame) for frame in frames)
    (finding,) = [one for one in source.findings if one.code == "channels-guessed"]
    assert finding.severity == "warning" and "channels:" in finding.text


def test_a_map_says_that_padded_pictures_are_true_rgb(tmp_path: Path) -> None:
    aloha(tmp_path, lambda images, frames: padded(images, frames, bgr=False))
    assert all(swapped(frame) for frame in open_source(tmp_path).frames(0, "top"))  # and said so
    source = open_source(tmp_path, given=DataMap(channels="rgb"))
    assert not any(swapped(frame) for frame in source.frames(0, "top"))
    assert "channels-guessed" not in [one.code for one in source.findings]


def robomimic(path: Path) -> Path:
    with h5py.File(path / "set.hdf5", "w") as file:
        demo = file.create_group("data/demo_0")
        demo["actions"], demo["obs/pose"] = np.zeros((LENGTH, 7)), np.zeros((LENGTH, 3))
        demo["obs/top_image"] = clip(0, LENGTH)
        demo["obs/top_depth"] = np.repeat(DISTANCES[None, ..., None], LENGTH, 0)
    return path


def zarr_store(path: Path, **arrays: np.ndarray) -> Path:
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(path / "set.zarr", mode="w", zarr_format=2)
    arrays.setdefault("img", clip(0, 6))
    for name, values in {
        "data/action": np.zeros((6, 3), np.float32),
        "data/agent_pos": np.zeros((6, 3), np.float32),
        "meta/episode_ends": np.array([4, 6]),
        **{f"data/{name}": values for name, values in arrays.items()},
    }.items():
        root.create_array(name, data=values, chunks=(2, *values.shape[1:]))
    return path / "set.zarr"


def depth_of(path: Path, kind: str) -> tuple[Path, str]:
    if kind == "robomimic":
        return robomimic(path), "top_depth"
    if kind == "zarr":
        return zarr_store(path, depth=np.repeat(DISTANCES[None], 6, 0)), "depth"
    return (
        aloha(
            path,
            lambda images, frames: images.update(
                {"top": frames, "range": np.repeat(DISTANCES[None], LENGTH, 0)}
            ),
        ),
        "observations/images/range",
    )


@pytest.mark.parametrize("kind", ["robomimic", "zarr", "aloha"])
def test_depth_is_left_out_with_a_finding_and_shown_in_grey_where_a_map_gives_its_range(
    tmp_path: Path, kind: str
) -> None:
    path, key = depth_of(tmp_path, kind)
    source = open_source(path)
    assert len(source.spec.views) == 1
    (finding,) = [one for one in source.findings if one.code == "depth-left-out"]
    assert key in finding.field and "NEAR" in finding.text
    shown = open_source(path, given=DataMap(depth={key: (400, 1900)}, views={"far": key}))
    frames = shown.frames(0, "far", np.array([1, 0]))
    assert frames.shape == (2, 24, 32, 3) and (frames[..., 0] == frames[..., 2]).all()
    assert frames[0, 0, 0, 0] == 0 and frames[0, -1, -1, 0] == 255
    assert abs(int(frames[0, 12, 0, 0]) - 128) <= 1  # half way between near and far


@pytest.mark.parametrize(
    ("first", "others", "dtype", "white"),
    [
        (0.6, 200.0, np.float32, 255),  # a dark first picture of a store from 0 to 255
        (0.5, 1.0, np.float32, 1),
        (3.0, 240.0, np.uint16, 255),  # whole numbers of two bytes
    ],
)
def test_the_scale_of_pictures_is_not_taken_from_the_first_alone(
    tmp_path: Path, first, others, dtype, white
) -> None:
    frames = np.full((6, 16, 16, 3), others, dtype)
    frames[0] = first
    source = open_source(zarr_store(tmp_path, img=frames))
    seen = source.frames(0, "img")
    assert seen[0, 0, 0, 0] == round(float(dtype(first)) * 255 / white)
    assert seen[1, 0, 0, 0] == round(others * 255 / white)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((-1.0, 1.0), "contain -1 to 1; expected 0 to 1 or 0 to 255"),
        ((0.0, 4000.0), "contain 0 to 4000; expected 0 to 1"),
    ],
)
def test_pictures_of_no_known_scale_are_refused(tmp_path: Path, values, says: str) -> None:
    frames = np.full((6, 16, 16, 3), values[0], np.float32)
    frames[3] = values[1]
    with pytest.raises(DataError, match=says):
        open_source(zarr_store(tmp_path, img=frames))


def test_a_picture_off_the_scale_of_all_that_were_looked_at_is_refused(tmp_path: Path) -> None:
    frames = np.full((6, 16, 16, 3), 0.5, np.float32)
    frames[2] = 90.0  # neither first nor last of an episode
    source = open_source(zarr_store(tmp_path, img=frames))
    with pytest.raises(DataError, match="the value of white is unknown"):
        source.frames(0, "img")
