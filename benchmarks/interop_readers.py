# robomimic lives in an environment of its own; h5py and zarr type every item as anything.
# pyright: reportMissingImports=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportOperatorIssue=false, reportCallIssue=false
"""robomimic files and Diffusion Policy stores that are odd: their reference readers and ours.

    python benchmarks/interop_readers.py OUT.json PYTHON

PYTHON is that of an environment with robomimic and termcolor; torch and h5py are taken from ours.
robomimic's `SequenceDataset` reads each file, with each filter key that the file has. Diffusion
Policy's replay buffer is read by `replay_buffer` below, straight from the files of a Zarr v2 store:
https://diffusion-policy.cs.columbia.edu and https://zarr-specs.readthedocs.io/en/latest/v2/v2.0.html.
Both are compared with our readers in windows of one earlier and three further frames that repeat an
episode's first and last frame, so that every episode's edges are read. Pictures carry their
episode, frame and camera. The result is put into OUT.json under "readers".
"""

import json
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
EARLIER, LATER = 1, 3  # frames of a window
CAMERAS = {"agentview_image": (32, 64), "robot0_eye_in_hand_image": (16, 32)}  # height, width
SENSED = {"robot0_eef_pos": 3, "robot0_eef_quat": 4, "robot0_gripper_qpos": 2}  # and widths
WRITTEN = "pose"  # all of it, where worldeval wrote the file
UNEQUAL = {"demo_10": 3, "demo_2": 9, "demo_0": 1, "demo_1": 6, "demo_11": 2, "demo_9": 4}
MASKS = {"train": ["demo_11", "demo_0", "demo_2"], "valid": ["demo_9", "demo_10", "demo_1"]}
DEMO_FILES: dict[str, dict[str, Any]] = {
    "unequal lengths, numbers out of order": {},
    "every episode of one frame": {"lengths": dict.fromkeys(UNEQUAL, 1)},
    "masks train and valid, listed out of order": {"masks": MASKS},
    "masks by other names": {"masks": {"better": ["demo_9", "demo_2"], "worse": ["demo_0"]}},
    "a demo in neither mask": {"masks": {**MASKS, "valid": ["demo_9"]}},
    "a mask train, none of valid": {"masks": {"train": MASKS["train"]}},
    "fewer samples claimed than rows": {"claimed": -1, "lengths": {"demo_10": 5, "demo_0": 8}},
    "chunks of four frames, packed": {"packing": {"chunks": 4, "compression": "gzip"}},
    "float pictures": {"floats": tuple(CAMERAS)},
    "float pictures of one camera": {"floats": ("robot0_eye_in_hand_image",)},
}
ENDS = (5, 6, 13, 27, 28)  # of episodes; two have one frame
STORES: dict[str, dict[str, Any]] = {
    "chunks across episodes": {"chunks": 7},
    "a chunk for each frame": {"chunks": 1},
    "one chunk for all": {"chunks": 64},
    "chunks across episodes, blosc": {"chunks": 4, "blosc": True},
    "column-major, nested chunk names": {"chunks": 5, "order": "F", "separator": "/"},
    "big-endian numbers": {"chunks": 5, "numbers": ">f4"},
    "zipped": {"chunks": 7, "zipped": True},
    "float pictures up to 255": {"chunks": 7, "pictures": np.float32},
    "float pictures up to 1": {"chunks": 7, "pictures": np.float32, "white": 1},
    "float16 pictures up to 1": {"chunks": 3, "pictures": np.float16, "white": 1},
    "float pictures, dark at every cut": {"chunks": 7, "pictures": np.float32, "dark": True},
    "every episode of one frame": {"chunks": 4, "ends": (1, 2, 3, 4, 5, 6)},
    "rows after the last episode": {"chunks": 7, "spare": 3},
}


def main(out: Path, python: str) -> None:
    """Make the datasets, read them there and here, and compare."""
    sys.path[:0] = [str(ROOT)]
    from worldeval.data.convert import convert
    from worldeval.data.source import open_source
    from worldeval.files import read_json, write_json

    with tempfile.TemporaryDirectory() as work:
        files = {case: Path(work, f"{at}.hdf5") for at, case in enumerate(DEMO_FILES)}
        for case, file in files.items():
            write_demos(file, **DEMO_FILES[case])
        written = "written by worldeval data convert"
        files[written] = Path(work, "written.hdf5")
        convert(open_source(files[next(iter(DEMO_FILES))]), files[written], to="robomimic")
        ours = sysconfig.get_paths()["purelib"]
        subprocess.run(
            [python, __file__, "read", *map(str, files.values())],
            check=True,
            env={"PYTHONPATH": ours},
            stdout=subprocess.DEVNULL,
        )
        stores = {case: Path(work, f"{at}.zarr") for at, case in enumerate(STORES)}
        found = {
            "command": "benchmarks/interop_readers.py",
            "window": [EARLIER, LATER],
            "robomimic": json.loads(files[written].with_suffix(".json").read_text())["version"],
            "SequenceDataset": {case: demos_compared(file) for case, file in files.items()},
            "zarr": version("zarr"),
            "replay buffer": {
                case: stores_compared(write_store(stores[case], **STORES[case])) for case in STORES
            },
        }
    write_json(out, {**(read_json(out) if out.is_file() else {}), "readers": found})
    print(json.dumps(found, indent=1))


def read(file: Path) -> None:
    """In robomimic's environment: every window of a file, for each filter key and for none."""
    import h5py
    import robomimic
    from robomimic.utils.dataset import SequenceDataset

    with h5py.File(file) as opened:
        masks = sorted(opened.get("mask", ()))
        ids = {name: str(demo.attrs.get("id", name)) for name, demo in opened["data"].items()}
        sensed = [key for key in SENSED if key in opened["data/demo_0/obs"]] or [WRITTEN]
    arrays, listed = {}, {}
    for mask in (None, *masks):
        data = SequenceDataset(
            str(file),
            obs_keys=(*CAMERAS, *sensed),
            dataset_keys=("actions",),
            frame_stack=EARLIER + 1,
            seq_length=LATER,
            hdf5_cache_mode=None,
            filter_by_attribute=mask,
            load_next_obs=False,
        )
        listed[mask or ""] = [ids[name] for name in data.demos]
        if mask is None:
            windows = [data[at] for at in range(len(data))]
            arrays = {key: np.stack([one["obs"][key] for one in windows]) for key in data.obs_keys}
            arrays["actions"] = np.stack([one["actions"] for one in windows])
    np.savez(file.with_suffix(".npz"), **arrays)
    told = {"version": robomimic.__version__, "demos": listed}
    file.with_suffix(".json").write_text(json.dumps(told))


def replay_buffer(path: Path) -> Iterator[dict[str, Any]]:
    """The arrays of each episode of a Diffusion Policy store, without the zarr package."""
    import numcodecs

    content = _content(path)

    def array(name: str):
        about = json.loads(content(f"{name}/.zarray") or b"")
        if about["filters"]:
            raise ValueError(f"{name} has filters: {about['filters']}")
        shape, chunks, packed_by = about["shape"], about["chunks"], about["compressor"]
        whole = np.full(shape, about["fill_value"] or 0, np.dtype(about["dtype"]))
        counts = (-(-size // chunk) for size, chunk in zip(shape, chunks, strict=True))
        for place in np.ndindex(*counts):
            stored = content(
                f"{name}/{about.get('dimension_separator', '.').join(map(str, place))}"
            )
            if stored is None:  # all of it is the fill value
                continue
            plain = numcodecs.get_codec(packed_by).decode(stored) if packed_by else stored
            chunk = np.frombuffer(plain, whole.dtype).reshape(chunks, order=about["order"])
            corner = tuple(slice(at * n, at * n + n) for at, n in zip(place, chunks, strict=True))
            part = whole[corner]
            part[...] = chunk[tuple(slice(0, size) for size in part.shape)]
        return whole

    data = {key: array(f"data/{key}") for key in (*CAMERAS, "state", "action")}
    begin = 0
    for end in array("meta/episode_ends").tolist():
        yield {key: values[begin:end] for key, values in data.items()}
        begin = end


def demos_compared(file: Path) -> dict[str, Any]:
    """What our reader of robomimic files gives beside `SequenceDataset`."""
    from worldeval.data.source import open_source
    from worldeval.errors import UserError

    there = json.loads(file.with_suffix(".json").read_text())["demos"]
    with np.load(file.with_suffix(".npz")) as kept:
        theirs = {name: kept[name] for name in kept.files}
    told: dict[str, Any] = {"episodes": len(there[""]), "windows": len(theirs["actions"])}
    try:
        source = open_source(file)
        split = {"": source.heads}
        for mask, name in (("train", "train"), ("valid", "val")):
            split[mask] = [head for head in source.heads if head.split == name]
        wrong = [
            f"{mask or 'order'}: {', '.join(there[mask])} there, {', '.join(ids)} here"
            for mask, ids in ((m, [head.id for head in heads]) for m, heads in split.items())
            if mask in there and there[mask] != ids
        ]
        sensed = [key for key in (*SENSED, WRITTEN) if key in theirs]
        wrong += differing(theirs, source, sensed)
    except UserError as error:
        return {**told, "refused here": str(error).replace(str(file.parent), "")}
    return {**told, "differences": wrong, "findings": sorted({f.code for f in source.findings})}


def stores_compared(path: Path) -> dict[str, Any]:
    """What our reader of Zarr stores gives beside `replay_buffer`."""
    from worldeval.data.source import open_source
    from worldeval.errors import UserError

    episodes = list(replay_buffer(path))
    white = max(float(one[key].max()) for one in episodes for key in CAMERAS)
    theirs: dict[str, list[Any]] = {key: [] for key in ("actions", "state", *CAMERAS)}
    for one in episodes:
        for at in range(len(one["action"])):
            rows = window(at, len(one["action"]))
            theirs["actions"].append(one["action"][rows])
            theirs["state"].append(one["state"][rows])
            for key in CAMERAS:
                scaled = one[key][rows].astype(np.float32) * (255 if white <= 1 else 1)
                theirs[key].append(scaled.round().astype(np.uint8))
    told: dict[str, Any] = {"episodes": len(episodes), "windows": len(theirs["actions"])}
    try:
        source = open_source(path)
        wrong = differing({key: np.stack(all_) for key, all_ in theirs.items()}, source, ["state"])
    except UserError as error:
        return {**told, "refused here": str(error).replace(str(path.parent), "")}
    return {**told, "differences": wrong, "findings": sorted({f.code for f in source.findings})}


def differing(theirs: Mapping[str, Any], source: Any, sensed: Sequence[str]) -> list[str]:
    """Keys of which our windows differ from theirs, or whose pictures bear another frame's mark."""
    from tests.support.marked_frames import read_mark

    views = {key: view for view, key in source.spec.read_as.views.items()}
    wrong = [f"{key}: there is no view of it here" for key in CAMERAS if key not in views]
    posed = np.concatenate([theirs[key] for key in sensed], axis=-1)
    rows = [source.rows(index) for index in range(len(source))]
    places = [(i, window(t, head.length)) for i, head in enumerate(source.heads)
              for t in range(head.length)]  # fmt: skip
    wrong += _unequal("actions", theirs["actions"], [rows[i].actions[at] for i, at in places])
    wrong += _unequal("pose", posed, [rows[i].pose[at] for i, at in places])
    for camera, key in enumerate(CAMERAS):
        if key not in views:
            continue
        seen = [source.frames(i, views[key], at) for i, at in places]
        wrong += _unequal(key, theirs[key], seen)
        for (i, at), pictures in zip(places, seen, strict=True):
            marks = [tuple(read_mark(picture)) for picture in pictures if picture.any()]
            filmed = [(i, row, camera) for row, one in zip(at, pictures, strict=True) if one.any()]
            if marks != filmed:
                wrong.append(f"{key}: {marks} where {filmed} were filmed")
    return wrong


def window(at: int, length: int):
    """Rows of one window; beyond an episode its first or last row is repeated."""
    return np.clip(np.arange(at - EARLIER, at + LATER), 0, length - 1)


def write_demos(
    path: Path,
    *,
    lengths: Mapping[str, int] = UNEQUAL,
    masks: Mapping[str, Sequence[str]] | None = None,
    claimed: int = 0,
    packing: Mapping[str, Any] | None = None,
    floats: Sequence[str] = (),
) -> None:
    """A robomimic file; pictures are numbered by the place of their demo in order of number."""
    import h5py

    from tests.support.marked_frames import clip

    rng = np.random.default_rng(0)
    order = sorted(lengths, key=lambda name: int(name.removeprefix("demo_")))
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {}})
        for name, length in lengths.items():
            demo = data.create_group(name)
            demo.attrs["num_samples"] = length + claimed
            demo["actions"] = rng.normal(size=(length, 7))
            for key, width in SENSED.items():
                demo[f"obs/{key}"] = rng.normal(size=(length, width))
            for camera, (key, size) in enumerate(CAMERAS.items()):
                pictures = clip(order.index(name), length, camera, size=size)
                stored = pictures.astype(np.float32) if key in floats else pictures
                packed = dict(packing or {})
                if "chunks" in packed:
                    packed["chunks"] = (min(packed["chunks"], length), *size, 3)
                demo.create_dataset(f"obs/{key}", data=stored, **packed)
        for mask, names in (masks or {}).items():
            file[f"mask/{mask}"] = np.array(names, "S")


def write_store(
    path: Path,
    *,
    chunks: int,
    ends: Sequence[int] = ENDS,
    pictures: Any = np.uint8,
    white: int = 255,
    dark: bool = False,
    numbers: str = "<f4",
    order: str = "C",
    separator: str = ".",
    blosc: bool = False,
    zipped: bool = False,
    spare: int = 0,
) -> Path:
    """A Diffusion Policy store of Zarr v2, with `spare` rows after the last episode."""
    import numcodecs
    import zarr

    from tests.support.marked_frames import clip

    rng, rows = np.random.default_rng(0), ends[-1] + spare
    lengths = np.diff([0, *ends, rows] if spare else [0, *ends]).tolist()
    data = {
        "action": rng.normal(size=(rows, 2)).astype(numbers),
        "state": rng.normal(size=(rows, 5)).astype(numbers),
    }
    for camera, (key, size) in enumerate(CAMERAS.items()):
        filmed = np.concatenate([clip(i, n, camera, size=size) for i, n in enumerate(lengths)])
        if dark:
            filmed[[0, *ends[:-1], *(end - 1 for end in ends)]] = 0
        data[key] = (filmed / 255 * white if white != 255 else filmed).astype(pictures)
    root = zarr.open_group(path, mode="w", zarr_format=2)
    for name in ("data", "meta"):
        root.create_group(name)
    stored = {f"data/{key}": values for key, values in data.items()}
    for name, values in {**stored, "meta/episode_ends": np.array(ends)}.items():
        root.create_array(
            name,
            data=values,
            chunks=(chunks, *values.shape[1:]),
            order=order,
            compressors=numcodecs.Blosc("zstd", 5, numcodecs.Blosc.BITSHUFFLE) if blosc else None,
            chunk_key_encoding={"name": "v2", "separator": separator},
        )
    if not zipped:
        return path
    packed = path.with_suffix(".zarr.zip")
    with zipfile.ZipFile(packed, "w") as whole:
        for file in sorted(path.rglob("*")):
            whole.write(file, file.relative_to(path))
    return packed


def _content(path: Path) -> Callable[[str], bytes | None]:
    """What gives the bytes of a file of a store, None where there is none."""
    if path.is_dir():
        return lambda name: (path / name).read_bytes() if (path / name).is_file() else None
    with zipfile.ZipFile(path) as packed:
        files = {name: packed.read(name) for name in packed.namelist()}
    return files.get


def _unequal(key: str, theirs: Any, ours: Sequence[Any]) -> list[str]:
    """One line where windows differ; numbers are compared in single precision, as ours are."""
    mine = np.stack(ours)
    if mine.shape != theirs.shape:
        return [f"{key}: {theirs.shape} there, {mine.shape} here"]
    wrong = int((theirs.astype(mine.dtype) != mine).reshape(len(mine), -1).any(1).sum())
    return [f"{key}: {wrong} windows differ"] if wrong else []


if __name__ == "__main__":
    if sys.argv[1] == "read":
        for name in sys.argv[2:]:
            read(Path(name))
    else:
        main(Path(sys.argv[1]), sys.argv[2])
