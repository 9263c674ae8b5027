# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false
"""No reader leaves the dataset's folder: a canary outside of it appears nowhere."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.support.sound_datasets import COUNT, FORMATS, LENGTH, SIZE, make
from worldeval.data.source import open_source
from worldeval.data.summary import summarise
from worldeval.data.video import VideoWriter
from worldeval.errors import UserError

CANARY = 73.5  # every number outside
GREEN = 213  # every picture outside
WORDS = "canary-of-the-outside"


def everything(root: Path) -> str:
    """All that reading tells: numbers, pictures, texts, findings, errors."""
    told = []
    try:
        source = open_source(root)
    except UserError as error:
        return str(error)
    told.append(repr(summarise(source)))
    for index, head in enumerate(source.heads):
        told.append(repr(head))
        try:
            episode = source.episode(index)
        except UserError as error:
            told.append(str(error))
            continue
        seen = [abs(frames[..., 1].astype(int) - GREEN).max() < 12 for frames in
                episode.frames.values()]  # fmt: skip
        told += [f"pictures {WORDS}"] * any(seen)
        told += [f"numbers {CANARY}"] * bool((episode.actions == CANARY).any())
        told += [f"numbers {CANARY}"] * bool((episode.pose == CANARY).any())
    return "\n".join(told)


def assert_unseen(root: Path) -> str:
    told = everything(root)
    assert str(CANARY) not in told
    assert WORDS not in told.replace(f"{WORDS}.h5", "")
    return told


# --- HDF5 -----------------------------------------------------------------------------------------

HDF5 = {
    "robomimic": ("set.hdf5", "data/demo_1/actions", "data/demo_1/obs/top_image"),
    "aloha": ("episode_1.hdf5", "action", "observations/images/top"),
}


def outside(folder: Path) -> Path:
    folder.mkdir()
    path = folder / f"{WORDS}.h5"
    with h5py.File(path, "w") as file:
        file["numbers"] = np.full((LENGTH, 2), CANARY, np.float32)
        file["pictures"] = np.full((LENGTH, *SIZE, 3), GREEN, np.uint8)
        file["task"] = WORDS
    np.full((LENGTH, 2), CANARY, np.float32).tofile(folder / "numbers.raw")
    np.full((LENGTH, *SIZE, 3), GREEN, np.uint8).tofile(folder / "pictures.raw")
    return path


def external_link(file: h5py.File, name: str, kind: str, where: Path) -> None:
    file[name] = h5py.ExternalLink(str(where), f"/{kind}")


def soft_link_through_one(file: h5py.File, name: str, kind: str, where: Path) -> None:
    file["elsewhere"] = h5py.ExternalLink(str(where), "/")
    file[name] = h5py.SoftLink(f"/elsewhere/{kind}")


def parent_elsewhere(file: h5py.File, name: str, kind: str, where: Path) -> None:
    with h5py.File(where, "a") as other:
        for key, values in (("actions", "numbers"), ("action", "numbers"), ("top", "pictures"),
                            ("top_image", "pictures"), ("pose", "numbers")):  # fmt: skip
            other[f"group/{key}"] = other[values][()]
    parent = name.rsplit("/", 1)[0] if "/" in name else "observations"
    del file[parent]
    file[parent] = h5py.ExternalLink(str(where), "/group")


def external_storage(file: h5py.File, name: str, kind: str, where: Path) -> None:
    raw = where.with_name(f"{kind}.raw")
    shape, dtype = ((LENGTH, 2), "f4") if kind == "numbers" else ((LENGTH, *SIZE, 3), "u1")
    file.create_dataset(name, shape, dtype, external=[(str(raw), 0, raw.stat().st_size)])


def virtual(file: h5py.File, name: str, kind: str, where: Path) -> None:
    with h5py.File(where) as other:
        shape, dtype = other[kind].shape, other[kind].dtype
    layout = h5py.VirtualLayout(shape, dtype)
    layout[:] = h5py.VirtualSource(str(where), kind, shape)
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    "leave", [external_link, soft_link_through_one, parent_elsewhere, external_storage, virtual]
)
@pytest.mark.parametrize("kind", ["numbers", "pictures"])
@pytest.mark.parametrize("format_", HDF5)
def test_hdf5_leads_nowhere(format_: str, kind: str, leave, tmp_path: Path) -> None:
    root = make(format_, tmp_path / "set")
    name, actions, pictures = HDF5[format_]
    where = outside(tmp_path / "outside")
    with h5py.File(root / name, "a") as file:
        field = actions if kind == "numbers" else pictures
        del file[field]
        leave(file, field, kind, where)
    told = assert_unseen(root)
    assert name in told  # it is said which file leads out


def test_links_within_an_hdf5_file_are_followed(tmp_path: Path) -> None:
    root = make("robomimic", tmp_path / "set")
    with h5py.File(root / "set.hdf5", "a") as file:
        values = file["data/demo_1/actions"][()]
        file.move("data/demo_1/actions", "kept")
        file["data/demo_1/actions"] = h5py.SoftLink("/kept")
    source = open_source(root)
    assert len(source) == COUNT
    assert np.array_equal(source.rows(1).actions, values)


# --- links and paths ------------------------------------------------------------------------------


def files_of(root: Path) -> Iterator[Path]:
    yield from sorted(path for path in root.rglob("*") if path.is_file())


def put_canary(path: Path, original: Path) -> None:
    """A sound file of the same kind, in which everything is the canary."""
    if path.suffix == ".mp4":
        with VideoWriter(path, fps=5, size=SIZE) as writer:
            writer.append(np.full((LENGTH, *SIZE, 3), GREEN, np.uint8))
    elif path.suffix == ".npz":
        values = np.full((LENGTH, 3), CANARY, np.float32)
        np.savez(path, actions=values[:, :2], pose=values, success=1)
    elif path.suffix == ".json" and "annotation" in str(original):
        note = json.loads(original.read_text()) | {"texts": [WORDS]}
        note["states"] = np.full((LENGTH, 7), CANARY).tolist()
        path.write_text(json.dumps(note))
    elif path.suffix in (".h5", ".hdf5"):
        shutil.copy(original, path)
        with h5py.File(path, "a") as file:
            file.visititems(lambda _, item: _overwrite(item))
    else:
        text = original.read_bytes()
        path.write_bytes(text.replace(b"task", b"canary-of-the-outside task"[:4]))


def _overwrite(item: object) -> None:
    if isinstance(item, h5py.Dataset) and item.dtype.kind in "fu":
        item[...] = GREEN if item.dtype == np.uint8 else CANARY


@pytest.mark.parametrize("kind", FORMATS)
def test_links_out_of_the_folder_are_not_followed(kind: str, tmp_path: Path) -> None:
    sound = make(kind, tmp_path / "sound")
    read = [file for file in files_of(sound) if file.name != "stats.json"]
    for number, file in enumerate(read):
        root = tmp_path / f"set-{number}"
        shutil.copytree(sound, root)
        outside = tmp_path / f"outside-{number}{file.suffix}"
        put_canary(outside, file)
        inside = root / file.relative_to(sound)
        inside.unlink()
        inside.symlink_to(outside)
        told = assert_unseen(root)
        assert "points outside the dataset folder" in told, file
        shutil.rmtree(root)


@pytest.mark.parametrize("kind", FORMATS)
def test_links_within_the_folder_are_followed(kind: str, tmp_path: Path) -> None:
    expected = everything(make(kind, tmp_path / "set"))
    root = tmp_path / "set"
    for number, file in enumerate(files_of(root)):
        if kind == "robomimic":
            continue  # a second HDF5 file in the folder would be another dataset
        kept = root / "kept" / f"{number}.kept"
        kept.parent.mkdir(exist_ok=True)
        file.rename(kept)
        file.symlink_to(kept)
    assert everything(root) == expected


ESCAPES: dict[str, Callable[[Path, Path], None]] = {
    "ctrl-world": lambda root, out: _in_json(
        root / "annotation/train/1.json", {"videos": [{"video_path": f"../{out.name}"}]}
    ),
    "lerobot-v2": lambda root, out: _in_json(
        root / "meta/info.json", {"video_path": f"../{out.name}"}
    ),
    "lerobot-v3": lambda root, out: _in_json(root / "meta/info.json", {"video_path": str(out)}),
}


@pytest.mark.parametrize("kind", ESCAPES)
def test_paths_that_leave_the_folder_are_refused(kind: str, tmp_path: Path) -> None:
    root = make(kind, tmp_path / "set")
    out = tmp_path / "outside.mp4"
    put_canary(out, out)
    ESCAPES[kind](root, out)
    assert "points outside the dataset folder" in assert_unseen(root)


@pytest.mark.parametrize("path", ["a\0b.mp4", "x" * 5000, "\udcff.mp4", "videos/\ud800"])
def test_paths_that_name_no_file_are_refused(path: str, tmp_path: Path) -> None:
    root = make("ctrl-world", tmp_path / "set")
    _in_json(root / "annotation/train/1.json", {"videos": [{"video_path": path}]})
    source = open_source(root)
    assert len(source) == COUNT - 1
    assert source.findings[0].code == "episode-skipped"


def _in_json(path: Path, change: dict) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


# --- the hub's cache ------------------------------------------------------------------------------


def in_hub_cache(root: Path, hub: Path) -> Path:
    """The dataset as a snapshot of the hub's cache: every file a link into `blobs`."""
    repo = hub / "datasets--lab--set"
    snapshot, blobs = repo / "snapshots/0123abcd", repo / "blobs"
    blobs.mkdir(parents=True)
    for number, file in enumerate(files_of(root)):
        link = snapshot / file.relative_to(root)
        link.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, blobs / f"{number:040x}")
        depth = len(link.relative_to(repo).parts) - 1
        link.symlink_to(Path(*[".."] * depth) / "blobs" / f"{number:040x}")
    return snapshot


@pytest.mark.parametrize("kind", FORMATS)
def test_a_snapshot_of_the_hub_is_read(kind: str, tmp_path: Path) -> None:
    root = make(kind, tmp_path / "set")
    snapshot = in_hub_cache(root, tmp_path / "hub")
    assert everything(snapshot) == everything(root).replace(str(root), str(snapshot))


@pytest.mark.parametrize("place", ["", "..", "../../datasets--other--set/blobs"])
def test_a_snapshot_leads_to_its_own_blobs_alone(place: str, tmp_path: Path) -> None:
    snapshot = in_hub_cache(make("mp4-npz", tmp_path / "set"), tmp_path / "hub")
    file = snapshot / "1.npz"
    elsewhere = (snapshot.parent.parent / place).resolve()
    elsewhere.mkdir(parents=True, exist_ok=True)
    put_canary(elsewhere / "outside.npz", file)
    file.unlink()
    file.symlink_to(elsewhere / "outside.npz")
    assert "points outside the dataset folder" in assert_unseen(snapshot)
