"""Episodes collected by this package (`data collect`), behind the `Source` protocol."""

from pathlib import Path

import h5py
import numpy as np

from worldeval.axes import Array, Int, UInt8
from worldeval.data.finding import DataError, DataFinding
from worldeval.data.formats.shards.read import UNKNOWN, Shards
from worldeval.data.names import numbered
from worldeval.data.source import Head, Rows, Source, SourceSpec


class CollectedSource(Source):
    """A folder of HDF5 shards."""

    def __init__(self, path: Path) -> None:
        try:
            self.shards = Shards(path)
        except (OSError, KeyError) as error:
            raise DataError(path, "shards", f"a shard cannot be read ({error}).") from error
        self.spec = SourceSpec(
            format="worldeval-shards",
            path=path,
            fps=self.shards.fps,
            views=dict.fromkeys(self.shards.views, self.shards.size),
            action_names=self.shards.action_names
            or numbered("action", self.shards.actions.shape[1]),
            pose_names=self.shards.pose_names or numbered("pose", self.shards.pose.shape[1]),
        )
        self.findings: list[DataFinding] = []
        table = self.shards.episodes
        self.heads = [
            Head(
                id=str(row["id"]),
                length=int(row["length"]),
                task=str(row["task"]),
                success=None if row["success"] == UNKNOWN else bool(row["success"]),
                source=str(row["source"]),
            )
            for row in table.to_dict("records")
        ]

    @staticmethod
    def detect(path: Path) -> bool:
        """A folder with a shard of ours in it."""
        first = next(iter(sorted(path.glob("*.h5"))), None) if path.is_dir() else None
        if first is None or not h5py.is_hdf5(first):
            return False
        with h5py.File(first) as file:
            return "episodes" in file and "fps" in file.attrs

    def rows(self, index: int) -> Rows:
        rows = self.shards.rows(index)
        return Rows(actions=self.shards.actions[rows], pose=self.shards.pose[rows])

    def frames(
        self, index: int, view: str, rows: Int[Array, " n"] | None = None
    ) -> UInt8[Array, "n h w 3"]:
        span = self.shards.rows(index)
        every = np.arange(span.start, span.stop)
        return self.shards.frames(view, every if rows is None else every[rows])
