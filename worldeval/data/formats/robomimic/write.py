# h5py types every item as a group, dataset or datatype.
# pyright: reportArgumentType=false
"""Write a robomimic HDF5 file, with images in the observations, compressed per frame."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, Bool, Float, UInt8
from worldeval.data.formats.robomimic.read import IMAGE
from worldeval.data.kept_meaning import COLUMNS, write_meaning
from worldeval.data.source import Head, Rows
from worldeval.data.writer import Shape, Value, Writer
from worldeval.errors import UserError
from worldeval.hdf5_heaps import open_hdf5
from worldeval.sealed_hdf5 import sealed_hdf5, verify_hdf5

TEXT = h5py.string_dtype()
ROBOSUITE = 1  # robomimic's number for the environment type


class RobomimicWriter(Writer):
    """Writer of `data/demo_i` with `actions`, `rewards`, `dones`, `obs` and `next_obs`.

    Actions are written unchanged: robomimic trains on [-1, 1], and documents how it scales others.
    The simulator's `states` are omitted, because recorded frames have none.
    """

    def __init__(self, out: Path, shape: Shape, *, origin: str = "", fresh: bool = False) -> None:
        if out.suffix not in (".hdf5", ".h5"):
            raise UserError(
                f"A robomimic dataset is a single file. Give a name such as {out}.hdf5."
            )
        described = {"format": "robomimic", **asdict(shape)}
        super().__init__(out, shape, description=described, origin=origin, fresh=fresh)

    def _stage(
        self,
        folder: Path,
        head: Head,
        rows: Rows,
        frames: Mapping[str, Iterable[UInt8[Array, "n h w 3"]]],
        columns: Mapping[str, Value],
    ) -> None:
        with sealed_hdf5(folder / "demo.hdf5") as file:
            demo = file.create_group("demo")
            last = np.arange(head.length) == head.length - 1
            demo["actions"] = rows.actions
            demo["rewards"] = _rewards(head, rows, last)
            demo["dones"] = last.astype(np.int64)
            observed = demo.create_group("obs")
            observed["pose"] = rows.pose
            following = demo.create_group("next_obs")
            following["pose"] = np.concatenate([rows.pose[1:], rows.pose[-1:]])
            for view, size in self.shape.views.items():
                shape = (head.length, *size, 3)
                # One frame per chunk, so that random access decompresses only that frame.
                kept = observed.create_dataset(
                    view + IMAGE,
                    shape,
                    np.uint8,
                    chunks=(1, *shape[1:]),
                    compression=1,
                    fletcher32=True,  # so that every reader notices a changed frame
                )
                begin = 0
                for block in frames[view]:
                    kept[begin : begin + len(block)] = block
                    begin += len(block)
            demo.attrs["num_samples"] = head.length
            demo.attrs["id"], demo.attrs["task"] = head.id, head.task
            demo.attrs["source"], demo.attrs["split"] = head.source, head.split
            demo.attrs["success"] = -1 if head.success is None else int(head.success)
            demo.attrs["ep_meta"] = json.dumps({"lang": head.task})
            for name, value in columns.items():
                demo.attrs[name] = "" if value is None else value

    def _assemble(self, staged: list[Path], draft: Path) -> None:
        names: dict[str, list[str]] = {"train": [], "valid": []}
        tasks: dict[str, None] = {}
        total = 0
        with sealed_hdf5(draft, verify=False) as file:
            data = file.create_group("data")
            for number, folder in enumerate(staged):
                name = f"demo_{number}"
                with open_hdf5(folder / "demo.hdf5") as part:
                    part.copy("demo", data, name)
                demo = data[name]
                assert isinstance(demo, h5py.Group)
                self._link_next(demo)
                total += int(demo.attrs["num_samples"])
                tasks[str(demo.attrs["task"])] = None
                names["train" if demo.attrs["split"] == "train" else "valid"].append(name)
            data.attrs["total"] = total
            data.attrs["action_names"] = list(self.shape.action_names)
            data.attrs["pose_names"] = list(self.shape.pose_names)
            meaning = write_meaning(self.shape.meaning)
            if meaning:
                file[COLUMNS] = np.array([meaning], TEXT)
            data.attrs["env_args"] = json.dumps(
                {
                    "env_name": next(iter(tasks)) if len(tasks) == 1 else "recorded",
                    "type": ROBOSUITE,
                    "env_kwargs": {"control_freq": self.shape.fps},
                }
            )
            for split, demos in names.items():
                if demos:
                    file[f"mask/{split}"] = np.array(demos, dtype="S")

    def _put(self, draft: Path, name: str, text: str) -> None:
        """Add a text as a dataset next to `data` and `mask`: one file is the whole dataset."""
        with sealed_hdf5(draft, "r+", verify=False) as file:
            file[name] = text

    def _check_whole(self, draft: Path) -> None:
        verify_hdf5(draft)

    def _link_next(self, demo: h5py.Group) -> None:
        """Link `next_obs` to the frames of `obs` one step later, without storing them twice."""
        for view in self.shape.views:
            seen = demo[f"obs/{view}{IMAGE}"]
            assert isinstance(seen, h5py.Dataset)
            source = h5py.VirtualSource(".", seen.name, shape=seen.shape, dtype=seen.dtype)
            layout = h5py.VirtualLayout(seen.shape, seen.dtype)
            layout[:-1] = source[1:]
            layout[-1:] = source[-1:]  # nothing was recorded after the last frame
            demo.create_virtual_dataset(f"next_obs/{view}{IMAGE}", layout)


def _rewards(head: Head, rows: Rows, last: Bool[Array, " t"]) -> Float[Array, " t"]:
    """Return 1 for success; all NaN if success is unknown, because 0 would mean failure."""
    if head.success is None:
        return np.full(head.length, np.nan)
    if rows.flags is not None and bool(rows.flags.any()) == head.success:
        return rows.flags.astype(np.float64)
    return (last & head.success).astype(np.float64)
