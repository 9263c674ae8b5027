# h5py types every item as a group, a dataset or a datatype.
# pyright: reportArgumentType=false, reportAttributeAccessIssue=false, reportIndexIssue=false, reportReturnType=false
"""Damaged datasets of every format: each ends in an error that names the file and the field, in a
reported skip, or (where the damage touches nothing that is read) in the very same episodes.

Never in a library's own traceback, a hang, or episodes that differ without a word.
"""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.sound_datasets import COUNT, FORMATS, LENGTH, make
from worldeval.data.finding import DataError
from worldeval.data.source import open_source
from worldeval.errors import UserError

Damage = Callable[[Path], None]
PROCESSOR_SECONDS = 20  # a damaged file that takes longer hangs


# --- damages -------------------------------------------------------------------------------------


def damages(kind: str, root: Path) -> Iterator[tuple[str, Damage]]:
    """Every way to spoil a dataset of this kind, each with its name."""
    for file in sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file()):
        if kind != "aloha":  # an episode is one file there, and nothing else says it ever was
            yield f"{file} removed", lambda at, f=file: (at / f).unlink()
        yield f"{file} empty", lambda at, f=file: (at / f).write_bytes(b"")
        yield f"{file} of noise", lambda at, f=file: (at / f).write_bytes(bytes(range(256)) * 8)
        for share in (0.25, 0.5, 0.9):
            yield f"{file} cut at {share}", lambda at, f=file, s=share: cut(at / f, s)
        yield f"{file} a link outside", lambda at, f=file: link_outside(at, at / f)
    yield from SPECIFIC[kind]()


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


def link_outside(root: Path, path: Path) -> None:
    outside = root.with_name(f"{root.name}-outside")
    path.rename(outside)
    path.symlink_to(outside)


ABSURD = (0, -5, 1e9, float("nan"), float("inf"), "ten", None, True, [5])
BAD_TABLES = {
    "a nan": lambda v: np.where(np.arange(v.size).reshape(v.shape) == 1, np.nan, v),
    "an inf": lambda v: np.where(np.arange(v.size).reshape(v.shape) == 1, np.inf, v),
    "texts": lambda v: np.full(v.shape, "x"),
    "a dimension more": lambda v: np.concatenate([v, v[:, :1]], axis=1),
    "no rows": lambda v: v[:0],
    "three axes": lambda v: v[:, None],
}


def of_lerobot(version: str) -> Iterator[tuple[str, Damage]]:
    rows = "data/chunk-000/" + ("file-000" if version == "v3" else "episode_000001") + ".parquet"
    for fps in ABSURD:
        yield f"fps {fps}", lambda at, v=fps: in_json(at / "meta/info.json", {"fps": v})
    for key in ("codebase_version", "features", "data_path", "video_path"):
        for value in (None, 3, "", "{nothing}", "../../{chunk_index}"):
            change = {key: value}
            yield f"{key} {value}", lambda at, c=change: in_json(at / "meta/info.json", c)
    for name in ("action", "observation.state", "timestamp", "episode_index", "next.success"):
        yield f"no column {name}", lambda at, n=name: in_parquet(at / rows, n, None)
    for what, spoil in BAD_TABLES.items():
        yield f"action with {what}", lambda at, s=spoil: in_parquet(at / rows, "action", s)
    yield (
        "another episode's number",
        lambda at: in_parquet(at / rows, "episode_index", lambda v: v + 1),
    )
    for shape in ([], [0], [-1], [3], ["x"], [2, 2], None):
        yield f"action shape {shape}", lambda at, s=shape: in_feature(at, "action", "shape", s)
        key = "observation.images.top"
        yield f"image shape {shape}", lambda at, s=shape, k=key: in_feature(at, k, "shape", s)
    if version == "v3":
        index = "meta/episodes/chunk-000/file-000.parquet"
        for name in ("episode_index", "length", "data/file_index", "dataset_from_index"):
            yield f"index without {name}", lambda at, n=name: in_parquet(at / index, n, None)
        start = "videos/observation.images.top/from_timestamp"
        for name, value in (("length", -1), ("length", 99), ("length", 0), ("data/file_index", 7),
                            ("episode_index", 0), (start, 9.0), (start, -2.0),
                            (start, float("nan"))):  # fmt: skip
            yield (
                f"index {name} {value}",
                lambda at, n=name, x=value: in_parquet(
                    at / index, n, lambda v: np.where(np.arange(len(v)) == 1, x, v)
                ),
            )
    else:
        for line in ('{"episode_index": 1}', "[]", "{", '{"episode_index": "a", "length": 5}',
                     '{"episode_index": 0, "length": 5, "tasks": ["again"]}',
                     '{"episode_index": 1, "length": 0, "tasks": [""]}'):  # fmt: skip
            yield f"line {line}", lambda at, t=line: second_line(at / "meta/episodes.jsonl", t)


def of_hdf5(file: str, action: str, state: str, images: str) -> Iterator[tuple[str, Damage]]:
    for name in (action, state):
        for what, spoil in BAD_TABLES.items():
            yield f"{name} with {what}", lambda at, n=name, s=spoil: in_hdf5(at / file, n, s)
    for name in (action, state, images):
        yield f"no {name}", lambda at, n=name: in_hdf5(at / file, n, None)
        yield (
            f"{name} elsewhere",
            lambda at, n=name: in_hdf5(at / file, n, h5py.ExternalLink("o", n)),
        )
        yield (
            f"{name} dangling",
            lambda at, n=name: in_hdf5(at / file, n, h5py.SoftLink("/nowhere")),
        )
        objects = np.array(["x"] * LENGTH, dtype=object)
        yield f"{name} of objects", lambda at, n=name, o=objects: in_hdf5(at / file, n, lambda v: o)
    for what, spoil in {
        "floats": lambda v: v.astype(np.float32),
        "grey": lambda v: v[..., 0],
        "smaller": lambda v: v[:, ::2],
        "four channels": lambda v: np.concatenate([v, v[..., :1]], axis=-1),
        "no frames": lambda v: v[:0],
    }.items():
        yield f"images {what}", lambda at, s=spoil: in_hdf5(at / file, images, s)


def of_robomimic() -> Iterator[tuple[str, Damage]]:
    yield from of_hdf5(
        "set.hdf5", "data/demo_1/actions", "data/demo_1/obs/pose", "data/demo_1/obs/top_image"
    )
    for text in ("{", "[]", '{"env_kwargs": {"control_freq": -1}}',
                 '{"env_kwargs": {"control_freq": "x"}}'):  # fmt: skip
        yield f"env_args {text}", lambda at, t=text: in_attribute(at, "data", "env_args", t)
    for count in (0, -1, 3, 99):
        yield (
            f"num_samples {count}",
            lambda at, n=count: in_attribute(at, "data/demo_1", "num_samples", n),
        )


def of_shards() -> Iterator[tuple[str, Damage]]:
    file = "00000.h5"
    for name, damage in of_hdf5(file, "actions", "pose", "frames/top"):
        if name != "images smaller":  # of all frames: nothing says that they were ever larger
            yield name, damage
    for fps in (*ABSURD, np.array([5.0, 5.0])):
        yield f"fps {fps}", lambda at, v=fps: in_attribute(at, "/", "fps", v, file=file)
    for names in (["a"], ["a", "b", "c"], 3, np.zeros((2, 2))):
        yield (
            f"names {names}",
            lambda at, v=names: in_attribute(at, "/", "action_names", v, file=file),
        )
    for lengths in ([-5, 15, 5], [0, 10, 5], [5, 5], [5, 5, 4], [5, 5, 6], [5.0, 5.0, 5.0],
                    [2**40, 5, 5], [[5], [5], [5]]):  # fmt: skip
        new = np.array(lengths)
        yield (
            f"lengths {lengths}",
            lambda at, v=new: in_hdf5(at / file, "episodes/length", lambda _: v),
        )
    for name, values in {
        "id": (["e0", "e0", "e2"], [1, 2, 3], ["e0"]),
        "task": ([0.5, 1, 2], ["x"], []),
        "source": ([[1]],),
        "split": ([3, 3, 3], ["val"]),
        "success": ([2, 0, 1], [-7, 0, 1], [0.5, 0, 1], ["yes"] * 3, [1]),
        "seed": ([np.nan, 1, 2], ["a"] * 3),
    }.items():
        for value in values:
            new = np.array(value)
            yield (
                f"{name} {value}",
                lambda at, n=name, v=new: in_hdf5(at / file, f"episodes/{n}", lambda _: v),
            )
    for name in ("frames", "episodes", "flags", "episodes/length", "episodes/id"):
        yield f"no {name}", lambda at, n=name: moved(at / file, n)
    for what in ("a nan", "an inf", "texts", "no rows"):
        spoil = BAD_TABLES[what]
        yield (
            f"flags with {what}",
            lambda at, s=spoil: in_hdf5(
                at / file, "flags", lambda v: s(v.astype(float)[:, None])[:, 0]
            ),
        )
    yield "flags of 7", lambda at: in_hdf5(at / file, "flags", lambda v: v + 7)


def moved(path: Path, name: str) -> None:
    with h5py.File(path, "r+") as file:
        file.move(name, f"once-{name.replace('/', '-')}")


def of_aloha() -> Iterator[tuple[str, Damage]]:
    names = ("action", "observations/qpos", "observations/images/top")
    yield from of_hdf5("episode_1.hdf5", *names)


def of_ctrl_world() -> Iterator[tuple[str, Damage]]:
    file = "annotation/train/1.json"
    states = np.ones((LENGTH, 7))
    for what, spoil in BAD_TABLES.items():
        bad = spoil(states).tolist()
        yield f"states with {what}", lambda at, b=bad: in_json(at / file, {"states": b})
    for key, values in {
        "states": (None, [], {}, "x", [[1, 2], [3]], [[1] * 7]),
        "videos": (None, [], {}, [{}], [{"video_path": 3}], [None], [{"video_path": "x"}] * 4),
        "success": (2, "yes", [1], -1),
        "action.cartesian_position": ([[1] * 5] * 15, [], "x", [[None] * 6] * 15),
        "action.gripper_position": ([0] * 3, None, [[0, 1]] * 15),
    }.items():
        for value in values:
            change = {key: value}
            yield f"{key} {value!r:.30}", lambda at, c=change: in_json(at / file, c)
    for path in ("../x.mp4", "/etc/passwd", "videos/../../x.mp4", "videos", "", "videos/9.mp4"):
        change = {"videos": [{"video_path": path}]}
        yield f"video path {path}", lambda at, c=change: in_json(at / file, c)


def of_zarr() -> Iterator[tuple[str, Damage]]:
    for name in ("action", "state", "img"):
        at_meta = f"data/{name}/.zarray"
        for change in (
            {"dtype": "|O", "filters": [{"id": "pickle"}]},
            {"dtype": "<U3"},
            {"shape": [99, 2]},
            {"shape": [-1]},
            {"compressor": {"id": "unheard-of"}},
            {"zarr_format": 9},
            {"chunks": [0, 1]},
        ):
            yield f"{name} {change}", lambda at, m=at_meta, c=change: in_json(at / m, c)
    for ends in ([5, 4, 15], [5, 10, 99], [-1, 5, 15], [0, 0, 0], [5]):
        yield f"ends {ends}", lambda at, e=ends: in_zarr(at, "meta/episode_ends", np.array(e))
    for name in ("data/action", "data/state"):
        for what in ("a nan", "texts", "three axes", "no rows"):
            spoil = BAD_TABLES[what]
            yield f"{name} {what}", lambda at, n=name, s=spoil: in_zarr(at, n, s)


def of_pairs() -> Iterator[tuple[str, Damage]]:
    for key in ("actions", "pose"):
        for what, spoil in BAD_TABLES.items():
            yield f"{key} {what}", lambda at, k=key, s=spoil: in_npz(at / "1.npz", k, s)
        objects = np.array([{"a": 1}] * LENGTH, object)
        yield f"{key} pickled", lambda at, k=key, o=objects: in_npz(at / "1.npz", k, lambda v: o)
    for value in (3, "yes", np.nan, [0, 1]):
        yield f"success {value}", lambda at, x=value: in_npz(at / "1.npz", "success", lambda v: x)
    for value in (0, -2, 1e9, np.nan, "x"):
        yield f"fps {value}", lambda at, x=value: in_npz(at / "1.npz", "fps", lambda v: x)


SPECIFIC: dict[str, Callable[[], Iterator[tuple[str, Damage]]]] = {
    "lerobot-v3": lambda: of_lerobot("v3"),
    "lerobot-v2": lambda: of_lerobot("v2"),
    "robomimic": of_robomimic,
    "ctrl-world": of_ctrl_world,
    "shards": of_shards,
    "zarr": of_zarr,
    "aloha": of_aloha,
    "mp4-npz": of_pairs,
}


def in_json(path: Path, change: dict) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | change))


def in_feature(root: Path, feature: str, key: str, value: object) -> None:
    info = json.loads((root / "meta/info.json").read_text())
    info["features"][feature][key] = value
    (root / "meta/info.json").write_text(json.dumps(info))


def second_line(path: Path, text: str) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[0], text, *lines[2:]]))


def in_parquet(path: Path, name: str, spoil) -> None:
    table = pq.read_table(path)
    place = table.column_names.index(name)
    if spoil is None:
        table = table.remove_column(place)
    else:
        before = np.array(table[name].to_pylist())
        after = spoil(before)
        short = [after[i].tolist() if i < len(after) else None for i in range(len(before))]
        table = table.set_column(place, name, pa.array(short))
    pq.write_table(table, path)


def in_hdf5(path: Path, name: str, spoil) -> None:
    with h5py.File(path, "r+") as file:
        before = file[name][()]
        del file[name]
        if isinstance(spoil, h5py.ExternalLink | h5py.SoftLink):
            file[name] = spoil
        elif spoil is not None:
            after = spoil(before)
            file[name] = after.astype(h5py.string_dtype()) if after.dtype.kind in "UO" else after


def in_attribute(root: Path, name: str, key: str, value: object, file: str = "set.hdf5") -> None:
    with h5py.File(root / file, "r+") as opened:
        if value is None:
            del opened[name].attrs[key]
        else:
            opened[name].attrs[key] = value


def in_zarr(root: Path, name: str, values) -> None:
    import zarr

    group = zarr.open_group(root, mode="r+")
    after = values(group[name][:]) if callable(values) else values
    del group[name]
    group.create_array(name, data=after, chunks=tuple(max(1, n) for n in after.shape))


def in_npz(path: Path, key: str, spoil) -> None:
    with np.load(path) as kept:
        arrays = dict(kept)
    arrays[key] = spoil(arrays.get(key))
    np.savez(path, **arrays)


# --- the test ------------------------------------------------------------------------------------


def content(root: Path) -> tuple[dict[str, tuple], list[str]]:
    """Everything that reading gives, and the codes of what was reported."""
    source = open_source(root)
    read = {}
    for index, one in enumerate(source):
        head = source.heads[index]
        pixels = tuple(frames.tobytes() for frames in one.frames.values())
        numbers = (one.actions.tobytes(), one.pose.tobytes())
        read[head.id] = (one.task, one.success, one.fps, *numbers, *pixels)
    return read, sorted(finding.code for finding in source.findings)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} processor seconds")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def verdict(root: Path, sound: tuple[dict[str, tuple], list[str]]) -> str | None:
    """What is wrong with how a damaged dataset was met; None where nothing is."""
    try:
        with within(PROCESSOR_SECONDS):
            found, codes = content(root)
    except DataError as error:
        named = error.field and root in (error.file, *error.file.parents)
        return None if named else f"the error names no file of it: {error}"
    except UserError as error:
        return None if str(root) in str(error) else f"the error does not name it: {error}"
    except Exception as error:  # the very thing that must not happen
        return f"{type(error).__name__}: {error!s:.200}"
    if codes != sound[1] or found == sound[0]:
        return None
    return "episodes differ without a word"


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("sound")
    return {kind: make(kind, folder / kind) for kind in FORMATS}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_damage_is_met_in_words(kind: str, sound: dict[str, Path], tmp_path: Path) -> None:
    expected = content(sound[kind])
    assert len(expected[0]) == COUNT
    wrong = {}
    for number, (name, spoil) in enumerate(damages(kind, sound[kind])):
        root = tmp_path / str(number)
        shutil.copytree(sound[kind], root)
        spoil(root)
        problem = verdict(root, expected)
        if problem is not None:
            wrong[name] = problem
        shutil.rmtree(root)
    assert not wrong, "\n".join(f"{name}: {problem}" for name, problem in wrong.items())


def test_there_are_at_least_200(sound: dict[str, Path]) -> None:
    assert sum(len(list(damages(kind, sound[kind]))) for kind in FORMATS) >= 200
