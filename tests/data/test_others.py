# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportOperatorIssue=false
"""Formats that are read only: Diffusion Policy Zarr, ALOHA HDF5, mp4 with npz."""

import io
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from worldeval.data.check.check import check
from worldeval.data.data_map import DataMap, NumbersMap
from worldeval.data.finding import DataError
from worldeval.data.source import open_source
from worldeval.data.video import VideoWriter
from worldeval.errors import UserError

ENDS = (5, 12, 20)


def codes(source) -> list[str]:
    return [finding.code for finding in source.findings]


@pytest.fixture(params=[2, 3])
def store(request, tmp_path: Path) -> Path:
    zarr = pytest.importorskip("zarr")
    rng = np.random.default_rng(0)
    root = zarr.open_group(tmp_path / "push.zarr", mode="w", zarr_format=request.param)
    for name, values in {
        "data/action": rng.uniform(0, 512, (20, 2)).astype(np.float32),
        "data/state": rng.uniform(0, 512, (20, 5)).astype(np.float32),
        "data/keypoint": rng.uniform(0, 512, (20, 9, 2)).astype(np.float32),
        "data/img": rng.integers(0, 256, (20, 24, 24, 3)).astype(np.float32),
        "meta/episode_ends": np.array(ENDS),
    }.items():
        root.create_array(name, data=values, chunks=(7, *values.shape[1:]))
    return tmp_path / "push.zarr"


def test_zarr(store: Path) -> None:
    import zarr

    source, kept = open_source(store), zarr.open_group(store, mode="r")
    assert source.spec.format in ("diffusion-policy-zarr-v2", "diffusion-policy-zarr-v3")
    assert dict(source.spec.views) == {"img": (24, 24)}
    assert [head.length for head in source.heads] == [5, 7, 8]
    assert codes(source) == ["fps-guessed", "no-success", "object-state", "scale-guessed"]
    episode = source.episode(1)
    assert np.array_equal(episode.actions, kept["data/action"][5:12])
    assert np.array_equal(episode.pose, kept["data/state"][5:12, :2])
    assert np.array_equal(episode.frames["img"], kept["data/img"][5:12].astype(np.uint8))
    assert episode.success is None
    rows = np.array([6, 0, 1, 6])
    assert np.array_equal(source.frames(1, "img", rows), episode.frames["img"][rows])


def test_zarr_of_frames_between_0_and_1(store: Path) -> None:
    import zarr

    frames = zarr.open_group(store, mode="r+")["data/img"]
    before = frames[:]
    frames[:] = before / 255
    assert np.array_equal(open_source(store).frames(0, "img"), before[:5].astype(np.uint8))


def test_zipped_zarr(store: Path, tmp_path: Path) -> None:
    import shutil

    zipped = shutil.make_archive(str(tmp_path / "push.zarr"), "zip", store)
    one, other = open_source(store).episode(2), open_source(zipped).episode(2)
    assert np.array_equal(one.frames["img"], other.frames["img"])


@pytest.mark.parametrize("ends", [(5, 4, 20), (5, 12, 21), (0, 12, 20), (-3, 12, 20)])
def test_zarr_with_a_wrong_end_skips_that_episode(store: Path, ends) -> None:
    import zarr

    zarr.open_group(store, mode="r+")["meta/episode_ends"][:] = np.array(ends)
    source = open_source(store)
    assert codes(source).count("episode-skipped") == 1
    assert len(source) == 2
    assert "meta/episode_ends" in source.findings[0].text


def test_zarr_with_a_link_that_leads_outside(store: Path, tmp_path_factory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret"
    outside.write_bytes(b"0")
    (store / "data/link").symlink_to(outside)
    with pytest.raises(DataError, match="points outside the dataset folder"):
        open_source(store)


def test_zarr_without_actions(store: Path) -> None:
    import shutil

    shutil.rmtree(store / "data/action")
    with pytest.raises(DataError, match="data/action: it is missing"):
        open_source(store)


@pytest.fixture
def aloha(tmp_path: Path, made) -> Path:
    for index in (0, 2, 10):
        episode = made(index, length=6)
        with h5py.File(tmp_path / f"episode_{index}.hdf5", "w") as file:
            file["action"] = np.full((6, 14), index, np.float32)
            file["observations/qpos"] = np.full((6, 14), -index, np.float32)
            file["observations/images/top"] = episode.frames["top"]
            packed = [jpeg(frame) for frame in episode.frames["wrist"]]
            longest = max(map(len, packed))
            file["observations/images/wrist"] = np.stack(
                [np.pad(one, (0, longest - len(one))) for one in packed]
            )
    return tmp_path


def jpeg(frame: np.ndarray) -> np.ndarray:
    """As OpenCV packs an RGB array: it takes it for BGR."""
    stream = io.BytesIO()
    Image.fromarray(frame[..., ::-1]).save(stream, "jpeg", quality=95)
    return np.frombuffer(stream.getvalue(), np.uint8)


def test_aloha(aloha: Path, made, quality) -> None:
    source = open_source(aloha)
    assert source.spec.format == "aloha"
    assert [head.id for head in source.heads] == ["episode_0", "episode_2", "episode_10"]
    assert source.spec.fps == 50
    assert source.spec.action_names[:2] == ("left_waist", "left_shoulder")
    assert codes(source) == ["channels-guessed", "fps-guessed", "no-success"]
    episode = source.episode(2)
    assert (episode.actions == 10).all() and (episode.pose == -10).all()
    assert np.array_equal(episode.frames["top"], made(10, length=6).frames["top"])
    assert quality(episode.frames["wrist"], made(10, length=6).frames["wrist"]) > 30


def test_aloha_with_an_own_rate_a_driver_and_a_short_camera(aloha: Path) -> None:
    for file in aloha.iterdir():
        with h5py.File(file, "r+") as opened:
            opened.attrs["fps"] = 30
            opened.attrs["source"] = "careless"
            if file.stem == "episode_2":
                frames = opened["observations/images/top"][:4]
                del opened["observations/images/top"]
                opened["observations/images/top"] = frames
    source = open_source(aloha)
    assert source.spec.fps == 30
    assert [head.length for head in source.heads] == [6, 4, 6]
    assert {head.source for head in source.heads} == {"careless"}
    assert codes(source) == ["channels-guessed", "frame-count", "no-success"]


def test_aloha_of_another_shape_is_skipped(aloha: Path) -> None:
    with h5py.File(aloha / "episode_2.hdf5", "r+") as opened:
        del opened["action"]
        opened["action"] = np.zeros((6, 7), np.float32)
    source = open_source(aloha)
    assert [head.id for head in source.heads] == ["episode_0", "episode_10"]
    assert "episode-skipped" in codes(source)


@pytest.fixture
def pairs(tmp_path: Path, made) -> Path:
    for index in (1, 2):
        episode = made(index, length=6)
        for view, frames in episode.frames.items():
            size = frames.shape[1:3]
            with VideoWriter(tmp_path / f"ep_{index}_{view}.mp4", fps=10, size=size) as writer:
                writer.append(frames)
        np.savez(
            tmp_path / f"ep_{index}.npz",
            actions=episode.actions,
            pose=episode.pose,
            task="push",
            success=index - 1,
        )
    return tmp_path


def test_mp4_with_npz(pairs: Path, made, quality) -> None:
    source = open_source(pairs)
    assert source.spec.format == "mp4-npz"
    assert (source.spec.fps, list(source.spec.views)) == (10, ["top", "wrist"])
    assert [head.success for head in source.heads] == [False, True]
    read, episode = source.episode(1), made(2, length=6)
    assert read.task == "push"
    assert np.array_equal(read.actions, episode.actions)
    assert np.array_equal(read.pose, episode.pose)
    assert quality(read.frames["wrist"], episode.frames["wrist"]) > 38
    assert not source.findings


def test_mp4_whose_rate_is_not_that_of_the_npz(pairs: Path) -> None:
    with np.load(pairs / "ep_2.npz") as kept:
        arrays = dict(kept)
    np.savez(pairs / "ep_1.npz", **arrays, fps=5)
    np.savez(pairs / "ep_2.npz", **arrays, fps=5)
    source = open_source(pairs)
    assert source.spec.fps == 5
    assert codes(source) == ["fps-tag", "fps-tag"]


def lone(folder: Path, made) -> tuple[Path, np.ndarray]:
    """An episode as the public Bridge samples have it: a video and one array without a name."""
    with VideoWriter(folder / "7.mp4", fps=5, size=(48, 64)) as writer:
        writer.append(made(0, length=6).frames["top"])
    values = np.random.default_rng(0).normal(size=(6, 10)).astype(np.float32)
    np.savez(folder / "7.npz", values)
    return folder, values


def test_a_lone_array_is_refused_until_a_map_says_what_it_is(tmp_path: Path, made) -> None:
    path, _ = lone(tmp_path, made)
    with pytest.raises(DataError, match=r"no name tells which.*action: \{keys: \[arr_0\]\}"):
        open_source(path)


def test_a_lone_array_that_a_map_calls_the_action_is_the_action_of_the_same_row(
    tmp_path: Path, made
) -> None:
    path, values = lone(tmp_path, made)
    source = open_source(path, given=DataMap(action=NumbersMap(keys=("arr_0",))))
    assert np.array_equal(source.rows(0).actions, values)
    assert source.rows(0).pose.shape == (6, 0)
    assert codes(source) == ["no-pose"]
    assert all(finding.severity != "error" for finding in check(source))


def test_a_lone_array_that_a_map_calls_the_pose_makes_actions_up_and_says_so(
    tmp_path: Path, made
) -> None:
    path, values = lone(tmp_path, made)
    given = DataMap(pose=NumbersMap(keys=("arr_0",)), action=NumbersMap(next_pose=True))
    rows = open_source(path, given=given).rows(0)
    assert np.array_equal(rows.pose, values)
    assert np.array_equal(rows.actions, np.concatenate([values[1:], values[-1:]]))
    assert codes(open_source(path, given=given)) == ["actions-made-up"]


def test_npz_with_pickled_objects_is_never_unpacked(pairs: Path) -> None:
    np.savez(pairs / "ep_1.npz", pose=np.array([{"a": 1}, None], object))
    source = open_source(pairs)
    assert [head.id for head in source.heads] == ["ep_2"]
    assert "ep_1.npz: npz: it cannot be read (Object arrays cannot be loaded" in (
        source.findings[0].text
    )


def test_nothing_that_is_known(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no dataset")
    with pytest.raises(UserError, match="not in a supported format"):
        open_source(tmp_path)
    with pytest.raises(UserError, match="the path does not exist"):
        open_source(tmp_path / "nowhere")
